use std::fmt;
use std::os::fd::BorrowedFd;

use streampipe_wire::Kind;

use super::line::Line;
use crate::message::{Arrived, Outbound};
use crate::{Message, SendError};

/// A [`RawRequest`](crate::RawRequest) to be answered by a task.
///
/// Dropped without an answer, it tells the caller so.
pub struct RawRequest<'channel> {
    line: &'channel Line,
    /// `Some` until it is answered, or dropped.
    inner: Option<crate::RawRequest<'channel>>,
    message: Message,
}

impl<'channel> RawRequest<'channel> {
    pub(super) fn new(arrived: Arrived, line: &'channel Line) -> Self {
        let mut inner = crate::RawRequest::new(arrived, line.core());
        let message = inner.take_message();
        Self { line, inner: Some(inner), message }
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

    /// Sends the answer, as [`RawRequest::answer`](crate::RawRequest::answer).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the caller is told that there is no answer.
    pub async fn answer(mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let id = self.inner.as_ref().map_or(0, crate::RawRequest::id);
        let answer = Outbound { kind: Kind::Answer, id, parts: &[bytes], fds: &fds };
        self.line.send(&answer).await.map_err(|reason| SendError::new((), reason))?;
        if let Some(answered) = self.inner.take() {
            answered.forget();
        }
        Ok(())
    }
}

impl Drop for RawRequest<'_> {
    fn drop(&mut self) {
        if let Some(unanswered) = self.inner.take() {
            drop(unanswered);
            self.line.regret();
        }
    }
}

impl fmt::Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRequest").field("message", &self.message).finish_non_exhaustive()
    }
}
