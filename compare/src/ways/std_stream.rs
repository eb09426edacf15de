//! std's `UnixStream` by hand, as a good programmer would: the base of all ratios.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::ancillary::{self, look, passed_file};
use crate::exchange::{Blocking, Driver, End, serve};
use crate::frame::{Encoding, Frame, PREFIX};
use crate::message::Order;
use crate::peer::{Kind, Peer, Task, inherited};
use crate::race::{Batch, each};
use crate::ways::Way;

/// A length of four bytes, then a struct by postcard.
pub const POSTCARD: StdStream = StdStream {
    name: "std-postcard",
    title: "std UnixStream, postcard",
    encoding: Encoding::Postcard,
};
/// A length of four bytes, then the bytes.
pub const RAW: StdStream =
    StdStream { name: "std-raw", title: "std UnixStream, raw bytes", encoding: Encoding::Raw };

/// A pair of streams, one of which the peer inherits.
pub struct StdStream {
    name: &'static str,
    title: &'static str,
    encoding: Encoding,
}

impl Way for StdStream {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn takes_part(&self, kind: Kind) -> bool {
        kind == Kind::Messages || self.encoding == Encoding::Postcard
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (ours, theirs) = UnixStream::pair()?;
        let peer = Peer::with_end(self, task, OwnedFd::from(theirs))?;
        let frame = Frame::new(self.encoding);
        Ok(match task.kind {
            Kind::Messages => Box::new(Blocking::new(Stream { socket: ours, frame }, peer)),
            Kind::Descriptors => Box::new(Blocking::new(Passing::new(ours, frame)?, peer)),
        })
    }

    fn serve(&self, kind: Kind, _name: &str) -> io::Result<()> {
        let socket = UnixStream::from(inherited()?);
        let frame = Frame::new(self.encoding);
        match kind {
            Kind::Messages => serve(Stream { socket, frame }),
            Kind::Descriptors => serve(Passing::new(socket, frame)?),
        }
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        (self.encoding == Encoding::Postcard).then(|| Ok(each(UnixStream::pair)))
    }
}

/// One write for length and body, two reads.
struct Stream {
    socket: UnixStream,
    frame: Frame,
}

impl End for Stream {
    fn send(&mut self, order: Order) -> io::Result<()> {
        self.socket.write_all(self.frame.encode(order)?)
    }

    fn recv(&mut self) -> io::Result<Order> {
        let mut prefix = [0; PREFIX];
        self.socket.read_exact(&mut prefix)?;
        let body = self.frame.body(prefix)?;
        let length = body.len();
        self.socket.read_exact(body)?;
        self.frame.decode(length)
    }
}

/// The same with descriptors beside the length.
struct Passing {
    socket: UnixStream,
    frame: Frame,
    file: File,
    arrived: Vec<OwnedFd>,
}

impl Passing {
    fn new(socket: UnixStream, frame: Frame) -> io::Result<Self> {
        Ok(Self { socket, frame, file: passed_file()?, arrived: Vec::new() })
    }
}

impl End for Passing {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let bytes = self.frame.encode(order)?;
        let numbers = [self.file.as_raw_fd(); ancillary::MAX_DESCRIPTORS];
        let sent = ancillary::send(self.socket.as_fd(), bytes, &numbers[..order.descriptors])?;
        self.socket.write_all(&bytes[sent..])
    }

    fn recv(&mut self) -> io::Result<Order> {
        let mut prefix = [0; PREFIX];
        let got = ancillary::recv(self.socket.as_fd(), &mut prefix, &mut self.arrived)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.socket.read_exact(&mut prefix[got..])?;
        let body = self.frame.body(prefix)?;
        let length = body.len();
        self.socket.read_exact(body)?;
        let order = self.frame.decode(length)?;
        Ok(Order { descriptors: look(&mut self.arrived)?, ..order })
    }
}
