use std::sync::{Mutex, PoisonError};

/// How many buffers are kept.
const BUFFERS: usize = 8;

/// Buffers that were used and will be again, so that a channel in steady use allocates nothing.
///
/// All bytes of a buffer in here are initialized: its length is all that it can be used for.
#[derive(Debug, Default)]
pub(in crate::message) struct Pool {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// Takes the smallest buffer that holds so many bytes, or else the largest, to be grown.
    pub(in crate::message) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffers = self.lock();
        let fits = |buffer: &Vec<u8>| if buffer.len() >= len { buffer.len() } else { usize::MAX };
        let best = (0..buffers.len())
            .min_by_key(|&at| (fits(&buffers[at]), usize::MAX - buffers[at].len()));
        best.map_or_else(Vec::new, |at| buffers.swap_remove(at))
    }

    /// Keeps a buffer. If there are too many, the smallest goes.
    pub(in crate::message) fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.lock();
        if buffers.capacity() == 0 {
            buffers.reserve_exact(BUFFERS + 1);
        }
        buffers.push(buffer);
        if buffers.len() > BUFFERS {
            let smallest = (0..buffers.len()).min_by_key(|&at| buffers[at].len());
            let gone = smallest.map(|at| buffers.swap_remove(at));
            drop(buffers);
            drop(gone);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
