use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use ::tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use ::tokio::time::Sleep;

use super::RegisterError;
use super::readiness::{HasEnd, Haste, Readiness, unless_waiting};
use crate::end::{End, Waiting};

/// How much one poll reads at most into memory that has to be cleared first.
const READ: usize = 64 << 10;

/// Makes a stream pipe for tasks.
///
/// # Errors
///
/// Those of [`pair`](crate::pair), and of the runtime's registration.
///
/// # Panics
///
/// Outside of a runtime with input, output and time enabled.
///
/// # Examples
///
/// See [the module](crate::tokio).
pub fn pair() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}

/// A [`Stream`](crate::Stream) for tasks.
///
/// It implements `AsyncRead` and `AsyncWrite`, whose extension traits have the usual methods and say which of them are
/// cancel safe; `tokio::io::split` makes halves. `poll_shutdown` ends our direction. Descriptors are sent and received
/// by methods of their own; a read that meets some fails and loses nothing, as [`Stream`](crate::Stream)'s.
pub struct Stream {
    ready: Readiness<crate::Stream>,
    /// A read and a write that must be tried again after some time.
    pauses: [Option<Pin<Box<Sleep>>>; 2],
}

impl HasEnd for crate::Stream {
    fn end(&self) -> &End {
        &self.end
    }
}

impl Stream {
    /// Makes both ends of a stream pipe.
    ///
    /// # Errors
    ///
    /// As [`pair`].
    ///
    /// # Panics
    ///
    /// As [`pair`].
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = crate::pair()?;
        Ok((a.try_into()?, b.try_into()?))
    }

    /// Sends bytes with descriptors on the first of them; returns how many bytes were taken, at least 1 of them, if
    /// there are any.
    ///
    /// The descriptors went with the first byte; the rest of the bytes is for `write_all`.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::send_fds`](crate::Stream::send_fds).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was sent.
    pub async fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let end = self.ready.get().end();
        let attempt = || unless_waiting(end.send_fds(bytes, fds, Waiting::Never));
        self.ready.when_writable(attempt).await?
    }

    /// Receives bytes and the descriptors that came with them, as [`Stream::recv_fds`](crate::Stream::recv_fds).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was received.
    pub async fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let end = self.ready.get().end();
        // An empty buffer is an error, for which nothing has to come.
        let haste = if buffer.is_empty() { Haste::Now } else { self.ready.haste() };
        let attempt = || unless_waiting(end.recv_fds(buffer, Waiting::Never));
        self.ready.when_readable(haste, attempt).await?
    }

    /// Ends one or both directions at once, as [`Stream::shutdown`](crate::Stream::shutdown).
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn end_direction(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.ready.forget_outlet();
        }
        self.ready.get().shutdown(how)?;
        self.ready.tell_of_end();
        Ok(())
    }

    /// Gives the end back.
    #[must_use]
    pub fn into_inner(self) -> crate::Stream {
        self.ready.into_inner()
    }

    /// Polls until it is done, or the task will be woken.
    fn poll_patiently<R>(
        &mut self,
        interest: Interest,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&Readiness<crate::Stream>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let pause = &mut self.pauses[usize::from(interest.is_writable())];
        loop {
            if let Poll::Ready(done) = poll(&self.ready, context) {
                *pause = None;
                return Poll::Ready(done);
            }
            let Some(time) = self.ready.pause(interest) else { return Poll::Pending };
            let waiting = pause.get_or_insert_with(|| Box::pin(self.ready.sleep(time)));
            if waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            *pause = None;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            // As without tasks: nothing has to come for that.
            return Poll::Ready(Ok(()));
        }
        self.poll_patiently(Interest::READABLE, context, |ready, context| {
            let len = buffer
                .remaining()
                .min(READ.max(buffer.initialized().len() - buffer.filled().len()));
            let room = buffer.initialize_unfilled_to(len);
            let read =
                ready.poll_readable(context, || ready.get().end().read(room, Waiting::Never));
            read.map_ok(|len| buffer.advance(len))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(Interest::WRITABLE, context, |ready, context| {
            ready.poll_writable(context, || ready.get().end().write(bytes, Waiting::Never))
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(Interest::WRITABLE, context, |ready, context| {
            ready.poll_writable(context, || ready.get().end().write_vectored(bytes, Waiting::Never))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end_direction(Shutdown::Write))
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back.
impl TryFrom<crate::Stream> for Stream {
    type Error = RegisterError<crate::Stream>;

    fn try_from(stream: crate::Stream) -> Result<Self, Self::Error> {
        Ok(Self { ready: Readiness::new(stream)?, pauses: [None, None] })
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back as a channel.
#[cfg(feature = "serde")]
impl<A, B> TryFrom<Stream> for super::Channel<A, B> {
    type Error = RegisterError<crate::Channel<A, B>>;

    fn try_from(stream: Stream) -> Result<Self, Self::Error> {
        stream.into_inner().try_into()
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.get().as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.ready.get().as_raw_fd()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ready.get().fmt(f)
    }
}
