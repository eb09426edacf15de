use std::fmt;
use std::os::fd::BorrowedFd;

use streampipe_sys::process::own_id;
use streampipe_wire::Kind;

use crate::SendError;
use crate::message::{Arrived, Core, Message, Outbound};

/// A request that was received over a [`RawChannel`](crate::RawChannel), and the duty to answer it.
///
/// Dropped without an answer, it tells the caller so, who does not wait any longer.
///
/// # Examples
///
/// See [`RawChannel::call`](crate::RawChannel::call).
pub struct RawRequest<'channel> {
    message: Message,
    core: &'channel Core,
    id: u64,
    is_answered: bool,
    /// The process that received it; a fork of it has a copy, and no duty.
    owner: u32,
}

impl<'channel> RawRequest<'channel> {
    pub(crate) fn new(arrived: Arrived, core: &'channel Core) -> Self {
        let Arrived { id, bytes, fds, .. } = arrived;
        Self { message: Message { bytes, fds }, core, id, is_answered: false, owner: own_id() }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Notes that somebody else has sent the answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn forget(mut self) {
        self.is_answered = true;
    }

    /// Returns what was asked.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Takes out what was asked, the descriptors above all; an empty message stays.
    #[must_use]
    pub fn take_message(&mut self) -> Message {
        std::mem::take(&mut self.message)
    }

    /// Sends the answer.
    ///
    /// # Errors
    ///
    /// As [`RawChannel::send`](crate::RawChannel::send). The caller is told that there is no answer then, if it can be.
    pub fn answer(mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let answer = Outbound { kind: Kind::Answer, id: self.id, parts: &[bytes], fds: &fds };
        let sent = self.core.send(&answer, self.core.end().write_waiting());
        self.is_answered = sent.is_ok();
        sent.map_err(|reason| SendError::new((), reason))
    }
}

impl Drop for RawRequest<'_> {
    fn drop(&mut self) {
        if own_id() != self.owner {
            return;
        }
        if self.is_answered {
            self.core.end_duty();
        } else {
            self.core.regret(self.id);
        }
    }
}

impl fmt::Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRequest")
            .field("message", &self.message)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
