use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::time::Duration;
use std::{fmt, io};

use super::ConvertError;
use super::core::End;
use super::handle::{handle_methods, handle_traits};
use super::modes::Waiting;
use super::packets::Ending;
use crate::call::Type;
use crate::message::{Carries, Core};

const KIND: Type = Type::SEQPACKET;

/// An end of a pair that carries packets: whole, in order, with an end.
///
/// Each [`send`](Self::send) is one [`recv`](Self::recv), never torn, not even by a `SIGKILL` in the
/// middle of it. What messages want.
///
/// Traps first:
///
/// - A packet is at most the send buffer less 32 bytes (212,960 with Linux's defaults); a longer
///   one fails with `EMSGSIZE`. The receiver's buffer must hold the whole packet, for what does not
///   fit is lost, with an error that says both lengths.
/// - A packet of 0 bytes is refused, because 0 bytes mean the end. One that a peer without this
///   library sends is an error, or passed over if the peer has hung up since, and never taken for an
///   end that has not come.
/// - If the peer closes with our packets unread, Linux reports the reset *before* the packets it
///   sent. Here they come first, then `ConnectionReset` once, then the end.
///
/// # Examples
///
/// ```
/// let (a, b) = streampipe::SeqPacket::pair()?;
/// a.send(b"one")?;
/// a.send(b"two")?;
/// drop(a);
///
/// let mut buffer = [0; 64];
/// assert_eq!(b.recv(&mut buffer)?, 3);
/// assert_eq!(b.recv(&mut buffer)?, 3);
/// assert_eq!(b.recv(&mut buffer)?, 0); // the end
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SOCK_SEQPACKET")]
pub struct SeqPacket {
    end: End,
}

impl SeqPacket {
    handle_methods!(SeqPacket);

    /// What a channel over these packets is made of.
    pub(crate) fn into_core(self) -> Core {
        Core::new(self.end, Carries::Packets)
    }

    /// Receives a packet as [`recv`](Self::recv), within a bound of its own.
    pub(crate) fn recv_within(&self, buffer: &mut [u8], waiting: Waiting) -> io::Result<usize> {
        self.end.recv_packet(buffer, Ending::Reported, waiting)
    }

    /// Receives a packet as [`recv_fds`](Self::recv_fds), within a bound of its own.
    #[cfg(feature = "tokio")]
    pub(crate) fn recv_fds_within(
        &self,
        buffer: &mut [u8],
        waiting: Waiting,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.end.recv_packet_fds(buffer, Ending::Reported, waiting)
    }

    /// Sends a packet as [`send_fds`](Self::send_fds), within a bound of its own.
    #[cfg(feature = "tokio")]
    pub(crate) fn send_within(
        &self,
        packet: &[u8],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        self.end.send_packet(packet, fds, Ending::Reported, waiting)
    }

    /// Ends one or both directions, for all copies of this end.
    ///
    /// As [`Stream::shutdown`](crate::Stream::shutdown).
    ///
    /// # Errors
    ///
    /// None on a pair; doing it twice is no error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.end.shutdown(how)
    }

    /// Sends one packet; returns its length.
    ///
    /// # Errors
    ///
    /// [`PacketError::Empty`](crate::PacketError::Empty) inside `InvalidInput` for 0 bytes;
    /// `EMSGSIZE` for more than the send buffer holds; `BrokenPipe` if the peer is gone or reads no
    /// more; `ConnectionReset`, once, if it went with packets of ours unread; `WouldBlock` or
    /// `TimedOut` if there is no room. Nothing was sent then.
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.end.send_packet(packet, &[], Ending::Reported, self.end.modes.writing())
    }

    /// Receives one packet; returns its length, or 0 for the end.
    ///
    /// # Errors
    ///
    /// [`PacketError`](crate::PacketError) inside `InvalidData`: `TooLong` for a packet longer than
    /// the buffer, `Empty` for a packet of 0 bytes.
    /// [`FdError::Waiting`](crate::FdError::Waiting) for a packet with descriptors: take it with
    /// [`recv_fds`](Self::recv_fds). `WouldBlock`, `TimedOut`; `ConnectionReset`, once, after the
    /// last packet.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.recv_packet(buffer, Ending::Reported, self.end.modes.reading())
    }

    /// Sends one packet with descriptors; returns the packet's length.
    ///
    /// Exactly once or not at all, as [`Stream::send_fds`](crate::Stream::send_fds). With at least
    /// one descriptor the packet may have 0 bytes.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send) and [`Stream::send_fds`](crate::Stream::send_fds).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// let (a, b) = streampipe::SeqPacket::pair()?;
    /// a.send_fds(b"stderr", &[std::io::stderr().as_fd()])?;
    /// let (n, fds) = b.recv_fds(&mut [0; 64])?;
    /// assert_eq!((n, fds.len()), (6, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SCM_RIGHTS")]
    pub fn send_fds(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.end.send_packet(packet, fds, Ending::Reported, self.end.modes.writing())
    }

    /// Receives one packet and its descriptors, which the caller owns; `(0, [])` is the end.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv); [`FdError::Lost`](crate::FdError::Lost) if this process had no room
    /// for all the descriptors: those that arrived are closed, the packet waits for the next call.
    /// With `TooLong`, too, those that came are closed, and counted.
    #[doc(alias = "SCM_RIGHTS")]
    pub fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.end.recv_packet_fds(buffer, Ending::Reported, self.end.modes.reading())
    }
}

handle_traits!(SeqPacket, "SOCK_SEQPACKET");
