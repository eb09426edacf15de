use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::{fmt, io};

use streampipe_wire::Kind;

use super::RawRequest;
use super::RegisterError;
use super::line::Line;
use crate::message::{Arrived, Outbound, Want};
use crate::{Budget, CallError, FdPolicy, Message, RecvError, SendError, SeqPacket, Stream};

/// A [`RawChannel`](crate::RawChannel) for tasks, of which many may use it at once.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (ours, theirs) = streampipe::tokio::RawChannel::pair()?;
/// ours.send(b"hello", &[]).await?;
/// assert_eq!(theirs.recv().await?.bytes, b"hello");
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawChannel {
    line: Line,
}

impl RawChannel {
    /// Makes both ends of a channel.
    ///
    /// # Errors
    ///
    /// Those of [`RawChannel::pair`](crate::RawChannel::pair), and of the runtime's registration.
    ///
    /// # Panics
    ///
    /// Outside of a runtime with input, output and time enabled.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = crate::RawChannel::pair()?;
        Ok((a.try_into()?, b.try_into()?))
    }

    /// Sends a message, as [`RawChannel::send`](crate::RawChannel::send).
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the message is withdrawn as a whole.
    pub async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let message = Outbound { kind: Kind::Message, id: 0, parts: &[bytes], fds: &fds };
        self.line.send(&message).await.map_err(|reason| SendError::new((), reason))
    }

    /// Receives the next message, as [`RawChannel::recv`](crate::RawChannel::recv).
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub async fn recv(&self) -> Result<Message, RecvError> {
        let Arrived { bytes, fds, .. } = self.line.receive(Want::Message).await?;
        Ok(Message { bytes, fds })
    }

    /// Sends a request, and waits for its answer, as [`RawChannel::call`](crate::RawChannel::call).
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before the request is sent, it is withdrawn; after that, the answer is dropped when it comes, and
    /// [counted](Self::late_answers).
    pub async fn call(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Message, CallError> {
        let call = self.line.core().open_call();
        let request = Outbound { kind: Kind::Request, id: call.id, parts: &[bytes], fds: &fds };
        let arrived = match self.line.call(call.id, self.line.send(&request)).await {
            Ok(arrived) => arrived,
            Err(reason) => {
                call.cancel();
                return Err(CallError::NotSent(SendError::new((), reason)));
            }
        };
        let Arrived { kind, bytes, fds, .. } = arrived.map_err(CallError::NotReceived)?;
        if kind == Kind::NoAnswer { Err(CallError::NoAnswer) } else { Ok(Message { bytes, fds }) }
    }

    /// Receives the next request, as [`RawChannel::recv_request`](crate::RawChannel::recv_request).
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no request is lost.
    pub async fn recv_request(&self) -> Result<RawRequest<'_>, RecvError> {
        Ok(RawRequest::new(self.line.receive(Want::Request).await?, &self.line))
    }

    /// Returns how many answers, and notes that there is none, came that nobody waited for any more.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.line.core().late_answers()
    }

    /// Sets what this end is willing to take, as [`RawChannel::set_budget`](crate::RawChannel::set_budget).
    pub fn set_budget(&self, budget: Budget) {
        self.line.core().set_budget(budget);
    }

    /// Returns what this end is willing to take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.line.core().budget()
    }

    /// Keeps descriptors out, as [`RawChannel::refuse_fds`](crate::RawChannel::refuse_fds).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn refuse_fds(&self) -> io::Result<()> {
        self.line.core().end().refuse_fds()
    }

    /// Sets which descriptors are accepted and may be sent, as
    /// [`RawChannel::set_policy`](crate::RawChannel::set_policy).
    pub fn set_policy(&self, policy: FdPolicy) {
        self.line.core().set_policy(policy);
    }

    /// Ends one or both directions, as [`RawChannel::shutdown`](crate::RawChannel::shutdown).
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.line.shutdown(how)
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back.
impl TryFrom<crate::RawChannel> for RawChannel {
    type Error = RegisterError<crate::RawChannel>;

    fn try_from(channel: crate::RawChannel) -> Result<Self, Self::Error> {
        let line = Line::new(channel.into_core());
        let line = line.map_err(|error| error.map(crate::RawChannel::from_core))?;
        Ok(Self { line })
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back as a channel.
impl TryFrom<Stream> for RawChannel {
    type Error = RegisterError<crate::RawChannel>;

    fn try_from(stream: Stream) -> Result<Self, Self::Error> {
        crate::RawChannel::from(stream).try_into()
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back as a channel.
impl TryFrom<SeqPacket> for RawChannel {
    type Error = RegisterError<crate::RawChannel>;

    fn try_from(end: SeqPacket) -> Result<Self, Self::Error> {
        crate::RawChannel::from(end).try_into()
    }
}

impl AsFd for RawChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.core().as_fd()
    }
}

impl AsRawFd for RawChannel {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for RawChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawChannel").field("fd", &self.as_raw_fd()).finish()
    }
}
