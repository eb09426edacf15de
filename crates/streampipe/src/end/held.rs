//! What was received and could not be handed over yet.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

use streampipe_sys::message::Sender;

/// Bytes, and perhaps descriptors, that the next receive gets before the kernel is asked.
///
/// At most what one receive brought: no more bytes than the caller's buffer had, 253 descriptors.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// How many of the bytes have been handed over.
    start: usize,
    /// Descriptors that go with the first of the bytes.
    pub(super) fds: Vec<OwnedFd>,
    /// Who sent all of the bytes, if [`Stream::recv_hello`](super::Stream::recv_hello) put them back.
    pub(super) sender: Option<Box<Sender>>,
}

impl Held {
    /// Copies the first `len` bytes out of the caller's buffers.
    pub(super) fn gather(buffers: &[IoSliceMut<'_>], len: usize, fds: Vec<OwnedFd>) -> Self {
        let mut bytes = Vec::with_capacity(len);
        for buffer in buffers {
            let take = buffer.len().min(len - bytes.len());
            bytes.extend_from_slice(&buffer[..take]);
        }
        Self::new(bytes, fds)
    }

    pub(super) fn new(bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Self {
        Self { bytes, start: 0, fds, sender: None }
    }

    pub(super) fn nothing() -> Self {
        Self::new(Vec::new(), Vec::new())
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Moves bytes from the front into the buffers; returns how many.
    pub(super) fn scatter(&mut self, buffers: &mut [IoSliceMut<'_>]) -> usize {
        let before = self.start;
        for buffer in buffers {
            let take = buffer.len().min(self.len());
            buffer[..take].copy_from_slice(&self.bytes[self.start..self.start + take]);
            self.start += take;
        }
        self.start - before
    }

    /// Adds the bytes of another one, which are copied only if there are others before them.
    pub(super) fn append(&mut self, other: Self) {
        if self.is_empty() {
            (self.bytes, self.start) = (other.bytes, other.start);
        } else {
            self.bytes.extend_from_slice(&other.bytes[other.start..]);
        }
    }

    /// Adds bytes. `wanted` more than are held so far will come at most, if all goes well.
    ///
    /// Memory is asked for once for all of them: it costs nothing before it is used. It is not insisted on.
    pub(super) fn push(&mut self, bytes: &[u8], wanted: usize) {
        let _ = self.bytes.try_reserve_exact(wanted);
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes that are left.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }

    /// Whether there is nothing left to hand over.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.fds.is_empty()
    }
}
