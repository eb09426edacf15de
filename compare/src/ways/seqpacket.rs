//! Packets of JSON with descriptors beside them, after the idea of crosvm's `Tube`.
//!
//! The receiver asks how large the next packet is, makes a buffer for it, and takes it. A message
//! that does not fit into one packet cannot be sent: the socket's send buffer is the limit, and a
//! byte takes up to four in JSON.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use serde::{Deserialize, Serialize};

use crate::ancillary::{self, look, passed_file};
use crate::exchange::{Blocking, Driver, End, serve};
use crate::message::{Order, Spare, wrong_bytes};
use crate::peer::{Kind, Peer, Task, inherited};
use crate::race::{Batch, each};
use crate::ways::Way;

/// A pair of packet sockets, one of which the peer inherits.
pub struct SeqPacketJson;

impl Way for SeqPacketJson {
    fn name(&self) -> &'static str {
        "seqpacket-json"
    }

    fn title(&self) -> &'static str {
        "SEQPACKET and JSON, as crosvm"
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (ours, theirs) = pair()?;
        let peer = Peer::with_end(self, task, theirs)?;
        Ok(Box::new(Blocking::new(Tube::new(ours)?, peer)))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        serve(Tube::new(inherited()?)?)
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        Some(Ok(each(pair)))
    }
}

/// Two packet sockets, connected.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut numbers = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the array has room for two.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, numbers.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us and to nobody else.
    let first = unsafe { OwnedFd::from_raw_fd(numbers[0]) };
    // SAFETY: as above.
    let second = unsafe { OwnedFd::from_raw_fd(numbers[1]) };
    Ok((first, second))
}

/// Puts the number into the error about a message that no packet can hold.
pub(super) fn too_large(error: io::Error, length: usize) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => io::Error::other(format!("{length} bytes exceed a packet")),
        _ => error,
    }
}

/// A descriptor is its place among those that came beside the bytes.
#[derive(Serialize, Deserialize)]
struct Message {
    sequence: u64,
    payload: Vec<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    descriptors: Vec<usize>,
}

struct Tube {
    socket: OwnedFd,
    spare: Spare,
    file: File,
    arrived: Vec<OwnedFd>,
}

impl Tube {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket, spare: Spare::default(), file: passed_file()?, arrived: Vec::new() })
    }

    /// Waits for a packet and leaves it there.
    fn next_size(&self) -> io::Result<usize> {
        let flags = libc::MSG_PEEK | libc::MSG_TRUNC;
        // SAFETY: no buffer, of no bytes.
        let size = unsafe { libc::recv(self.socket.as_raw_fd(), ptr::null_mut(), 0, flags) };
        usize::try_from(size).map_err(|_| io::Error::last_os_error())
    }
}

impl End for Tube {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let message = Message {
            sequence: order.sequence,
            payload: self.spare.take(order),
            descriptors: (0..order.descriptors).collect(),
        };
        let bytes = serde_json::to_vec(&message)?;
        let numbers = [self.file.as_raw_fd(); ancillary::MAX_DESCRIPTORS];
        let sent = ancillary::send(self.socket.as_fd(), &bytes, &numbers[..order.descriptors]);
        sent.map(drop).map_err(|error| too_large(error, bytes.len()))
    }

    fn recv(&mut self) -> io::Result<Order> {
        let mut bytes = vec![0; self.next_size()?];
        if ancillary::recv(self.socket.as_fd(), &mut bytes, &mut self.arrived)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message: Message = serde_json::from_slice(&bytes)?;
        let order = self.spare.put(message.sequence, message.payload)?;
        let descriptors = look(&mut self.arrived)?;
        if descriptors != message.descriptors.len() {
            return Err(wrong_bytes("descriptors are missing"));
        }
        Ok(Order { descriptors, ..order })
    }
}
