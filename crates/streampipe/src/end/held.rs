//! What was received and could not be handed over yet.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

/// Bytes, and perhaps descriptors, that the next receive gets before the kernel is asked.
///
/// At most what one receive brought: no more bytes than the caller's buffer had, 253 descriptors.
#[derive(Debug)]
pub(super) struct Held {
    /// What is left of the bytes, never handed over before.
    pub(super) bytes: Vec<u8>,
    /// Descriptors that go with the first of the bytes.
    pub(super) fds: Vec<OwnedFd>,
}

impl Held {
    /// Copies the first `len` bytes out of the caller's buffers.
    pub(super) fn gather(buffers: &[IoSliceMut<'_>], len: usize, fds: Vec<OwnedFd>) -> Self {
        let mut bytes = Vec::with_capacity(len);
        for buffer in buffers {
            let take = buffer.len().min(len - bytes.len());
            bytes.extend_from_slice(&buffer[..take]);
        }
        Self { bytes, fds }
    }

    /// Moves bytes from the front into the buffers; returns how many.
    pub(super) fn scatter(&mut self, buffers: &mut [IoSliceMut<'_>]) -> usize {
        let mut moved = 0;
        for buffer in buffers {
            let take = buffer.len().min(self.bytes.len() - moved);
            buffer[..take].copy_from_slice(&self.bytes[moved..moved + take]);
            moved += take;
        }
        self.bytes.drain(..moved);
        moved
    }

    /// Whether there is nothing left to hand over.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.fds.is_empty()
    }
}
