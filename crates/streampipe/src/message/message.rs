use std::os::fd::OwnedFd;

use super::Bytes;

/// A message as it was received: its payload, and the descriptors that belong to it.
///
/// The descriptors are the caller's, in the order they were sent, close-on-exec, never 0, 1 or 2.
#[derive(Debug, Default)]
pub struct Message {
    /// The payload.
    pub bytes: Bytes,
    /// The descriptors; those that are still here close with the message.
    pub fds: Vec<OwnedFd>,
}
