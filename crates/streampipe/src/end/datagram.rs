use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::time::Duration;
use std::{fmt, io};

use super::ConvertError;
use super::core::End;
use super::handle::{handle_methods, handle_traits};
use super::packets::Ending;
use crate::call::Type;

const KIND: Type = Type::DGRAM;

/// An end of a pair that carries packets without an end.
///
/// Here because the call promises it. [`SeqPacket`](crate::SeqPacket) does the same without these
/// traps:
///
/// - **There is no end.** When the peer closes or dies, a blocked [`recv`](Self::recv) is not told
///   and waits for ever; use a [timeout](Self::set_read_timeout), or a
///   [`Child`](crate::Child) to ask.
/// - After the peer closed, the first [`send`](Self::send) fails with `ConnectionRefused`, later ones
///   with `NotConnected`. The peer's own `shutdown` is not told to a reader either.
/// - That first refused `send` also makes Linux throw away **what we have not received yet**.
/// - **A confined child can leave it**: whoever holds an end can send from it to any named socket it
///   can reach, and connect it elsewhere, even inside a `chroot`. Never give one to a process that
///   you do not trust.
///
/// A packet may have 0 bytes. The limits on its length are those of `SeqPacket`.
///
/// # Examples
///
/// ```
/// let (a, b) = streampipe::Datagram::pair()?;
/// a.send(b"")?;
/// a.send(b"two")?;
///
/// let mut buffer = [0; 64];
/// assert_eq!(b.recv(&mut buffer)?, 0); // a packet, not the end
/// assert_eq!(b.recv(&mut buffer)?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SOCK_DGRAM")]
#[doc(alias = "UnixDatagram")]
pub struct Datagram {
    end: End,
}

impl Datagram {
    handle_methods!(Datagram);

    /// Ends one or both directions, for all copies of this end.
    ///
    /// After `Read`, the peer's sends fail with `BrokenPipe`. After `Write`, ours do, and the peer
    /// is **not** told.
    ///
    /// # Errors
    ///
    /// None on a pair; doing it twice is no error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.end.shutdown(how)
    }

    /// Sends one packet, perhaps of 0 bytes; returns its length.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` for more than the send buffer holds; `ConnectionRefused` once, then
    /// `NotConnected`, if the peer is gone; `BrokenPipe` if it reads no more; `WouldBlock` or
    /// `TimedOut` if there is no room. Nothing was sent then.
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.end.send_packet(packet, &[], Ending::Never, self.end.modes.writing())
    }

    /// Receives one packet; returns its length, which may be 0.
    ///
    /// # Errors
    ///
    /// As [`SeqPacket::recv`](crate::SeqPacket::recv), without an end, a reset or `Empty`.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.recv_packet(buffer, Ending::Never, self.end.modes.reading())
    }

    /// Sends one packet with descriptors; returns the packet's length.
    ///
    /// Exactly once or not at all, as [`Stream::send_fds`](crate::Stream::send_fds).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send) and [`Stream::send_fds`](crate::Stream::send_fds).
    #[doc(alias = "SCM_RIGHTS")]
    pub fn send_fds(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.end.send_packet(packet, fds, Ending::Never, self.end.modes.writing())
    }

    /// Receives one packet and its descriptors, which the caller owns.
    ///
    /// # Errors
    ///
    /// As [`SeqPacket::recv_fds`](crate::SeqPacket::recv_fds), without an end, a reset or `Empty`.
    #[doc(alias = "SCM_RIGHTS")]
    pub fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.end.recv_packet_fds(buffer, Ending::Never, self.end.modes.reading())
    }
}

handle_traits!(Datagram, "SOCK_DGRAM");
