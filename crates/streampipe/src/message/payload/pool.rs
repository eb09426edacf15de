use std::sync::{Mutex, PoisonError};

/// How many buffers are kept.
const BUFFERS: usize = 8;

/// How much memory is kept beside the largest buffer.
const BESIDE_THE_LARGEST: usize = 16 << 20;

/// So much memory, a page, is not worth saving.
const LITTLE: usize = 4096;

/// Whether a buffer of this size may be kept for so many bytes: at most three quarters of it are idle.
pub(in crate::message) fn is_worth(buffer: usize, len: usize) -> bool {
    buffer <= LITTLE || buffer / 4 <= len
}

/// Buffers that were used and will be again, so that a channel in steady use allocates nothing.
///
/// All bytes of a buffer in here are initialized: its length is all that it can be used for.
#[derive(Debug, Default)]
pub(in crate::message) struct Pool {
    /// The last that was given back is the last.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// Takes the smallest buffer that holds so many bytes and is worth it; or else the largest of those that do not, to
    /// be grown.
    ///
    /// Not a larger one: somebody may keep what is in it, and a peer that sends a long message before each short one
    /// would make them keep the memory of the long ones.
    pub(in crate::message) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffers = self.lock();
        let sizes = || buffers.iter().map(Vec::len).enumerate();
        let fits = sizes().filter(|it| it.1 >= len && is_worth(it.1, len)).min_by_key(|it| it.1);
        let best = fits.or_else(|| sizes().filter(|it| it.1 < len).max_by_key(|it| it.1));
        best.map_or_else(Vec::new, |(at, _)| buffers.remove(at))
    }

    /// Keeps a buffer. If there are too many, or too much beside the largest, those go which have not been used for the
    /// longest time.
    pub(in crate::message) fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.lock();
        if buffers.capacity() == 0 {
            buffers.reserve_exact(BUFFERS + 1);
        }
        buffers.push(buffer);
        while let Some(at) = too_much(&buffers) {
            let gone = buffers.remove(at);
            drop(buffers);
            drop(gone);
            buffers = self.lock();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which buffer goes, if one has to.
fn too_much(buffers: &[Vec<u8>]) -> Option<usize> {
    let sizes = || buffers.iter().map(Vec::len).enumerate();
    let (largest, size) = sizes().max_by_key(|it| it.1)?;
    let others = sizes().map(|it| it.1).sum::<usize>() - size;
    let has_to = buffers.len() > BUFFERS || others > BESIDE_THE_LARGEST;
    (has_to && buffers.len() > 1).then_some(usize::from(largest == 0))
}
