//! Packets by hand with no serializer: one `send` and one `recv` a message.
//!
//! No way through a socket can be faster for what fits into a packet; the rows of the others are
//! read against it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::seqpacket::{pair, too_large};
use crate::exchange::{Blocking, Driver, End, serve};
use crate::frame::{Encoding, Frame, PREFIX};
use crate::message::{Order, wrong_bytes};
use crate::peer::{Kind, Peer, Task, inherited};
use crate::ways::Way;

/// A pair of packet sockets, one of which the peer inherits.
pub struct Packets;

impl Way for Packets {
    fn name(&self) -> &'static str {
        "packets-raw"
    }

    fn title(&self) -> &'static str {
        "SEQPACKET, raw bytes"
    }

    fn beside(&self) -> &'static [&'static str] {
        &["std-raw"]
    }

    fn takes_part(&self, kind: Kind) -> bool {
        kind == Kind::Messages
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (ours, theirs) = pair()?;
        let peer = Peer::with_end(self, task, theirs)?;
        Ok(Box::new(Blocking::new(PacketEnd::new(ours), peer)))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        serve(PacketEnd::new(inherited()?))
    }
}

struct PacketEnd {
    socket: OwnedFd,
    frame: Frame,
}

impl PacketEnd {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, frame: Frame::new(Encoding::Raw) }
    }
}

impl End for PacketEnd {
    fn send(&mut self, order: Order) -> io::Result<()> {
        // The packet says its length itself.
        let body = &self.frame.encode(order)?[PREFIX..];
        let (socket, data) = (self.socket.as_raw_fd(), body.as_ptr().cast());
        // SAFETY: the pointer and the length are those of a slice.
        let sent = unsafe { libc::send(socket, data, body.len(), libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(too_large(io::Error::last_os_error(), body.len())) } else { Ok(()) }
    }

    fn recv(&mut self) -> io::Result<Order> {
        let room = self.frame.room();
        let (socket, data) = (self.socket.as_raw_fd(), room.as_mut_ptr().cast());
        // SAFETY: the pointer and the length are those of a slice that nobody else has.
        let got = unsafe { libc::recv(socket, data, room.len(), libc::MSG_TRUNC) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        match got {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if got > room.len() => Err(wrong_bytes("a packet larger than the socket's buffer")),
            _ => self.frame.decode(got),
        }
    }
}
