use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{fmt, io};

use super::RegisterError;
use super::readiness::{HasEnd, Readiness, unless_waiting};
use crate::end::{End, Waiting};

/// A [`SeqPacket`](crate::SeqPacket) for tasks, of which many may use it at once.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (a, b) = streampipe::tokio::SeqPacket::pair()?;
/// a.send(b"one").await?;
/// let mut buffer = [0; 64];
/// assert_eq!(b.recv(&mut buffer).await?, 3);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SeqPacket {
    ready: Readiness<crate::SeqPacket>,
}

impl HasEnd for crate::SeqPacket {
    fn end(&self) -> &End {
        self.as_end()
    }
}

impl SeqPacket {
    /// Makes both ends of a pair.
    ///
    /// # Errors
    ///
    /// Those of [`SeqPacket::pair`](crate::SeqPacket::pair), and of the runtime's registration.
    ///
    /// # Panics
    ///
    /// Outside of a runtime with input, output and time enabled.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = crate::SeqPacket::pair()?;
        Ok((a.try_into()?, b.try_into()?))
    }

    /// Sends one packet, as [`SeqPacket::send`](crate::SeqPacket::send).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was sent.
    pub async fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.send_fds(packet, &[]).await
    }

    /// Sends one packet with descriptors, as [`SeqPacket::send_fds`](crate::SeqPacket::send_fds).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was sent.
    pub async fn send_fds(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let end = self.ready.get();
        let attempt = || unless_waiting(end.send_within(packet, fds, Waiting::Never));
        self.ready.when_writable(attempt).await?
    }

    /// Receives one packet, as [`SeqPacket::recv`](crate::SeqPacket::recv); 0 is the end.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was received.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.ready.get();
        let attempt = || unless_waiting(end.recv_within(buffer, Waiting::Never));
        self.ready.when_readable(self.ready.haste(), attempt).await?
    }

    /// Receives one packet and its descriptors, as [`SeqPacket::recv_fds`](crate::SeqPacket::recv_fds).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped before it is done, nothing was received.
    pub async fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let end = self.ready.get();
        let attempt = || unless_waiting(end.recv_fds_within(buffer, Waiting::Never));
        self.ready.when_readable(self.ready.haste(), attempt).await?
    }

    /// Ends one or both directions, as [`SeqPacket::shutdown`](crate::SeqPacket::shutdown).
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.ready.get().shutdown(how)
    }

    /// Gives the end back.
    #[must_use]
    pub fn into_inner(self) -> crate::SeqPacket {
        self.ready.into_inner()
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back.
impl TryFrom<crate::SeqPacket> for SeqPacket {
    type Error = RegisterError<crate::SeqPacket>;

    fn try_from(end: crate::SeqPacket) -> Result<Self, Self::Error> {
        Ok(Self { ready: Readiness::new(end)? })
    }
}

impl AsFd for SeqPacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.get().as_fd()
    }
}

impl AsRawFd for SeqPacket {
    fn as_raw_fd(&self) -> RawFd {
        self.ready.get().as_raw_fd()
    }
}

impl fmt::Debug for SeqPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ready.get().fmt(f)
    }
}
