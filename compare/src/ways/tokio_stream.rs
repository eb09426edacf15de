//! tokio's `UnixStream` by hand, in a runtime of one thread: what tokio ways are set against.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::ancillary::{self, look, passed_file};
use crate::exchange::{AsyncEnd, Driver, OnTokio, runtime, serve_async};
use crate::frame::{Encoding, Frame, PREFIX};
use crate::message::Order;
use crate::peer::{Kind, Peer, Task, inherited};
use crate::race::{Batch, each_on_tokio};
use crate::ways::Way;

/// A pair of streams, one of which the peer inherits; a length, then a struct by postcard.
pub struct TokioStream;

impl Way for TokioStream {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn title(&self) -> &'static str {
        "tokio UnixStream, postcard"
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let peer = Peer::with_end(self, task, OwnedFd::from(theirs))?;
        let runtime = runtime()?;
        let socket = runtime.block_on(async { registered(ours) })?;
        Ok(match task.kind {
            Kind::Messages => Box::new(OnTokio::new(Stream::new(socket), runtime, peer)),
            Kind::Descriptors => Box::new(OnTokio::new(Passing::new(socket)?, runtime, peer)),
        })
    }

    fn serve(&self, kind: Kind, _name: &str) -> io::Result<()> {
        runtime()?.block_on(async {
            let socket = registered(inherited()?.into())?;
            match kind {
                Kind::Messages => serve_async(Stream::new(socket)).await,
                Kind::Descriptors => serve_async(Passing::new(socket)?).await,
            }
        })
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        Some(each_on_tokio(UnixStream::pair))
    }
}

fn registered(socket: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// One write for length and body, two reads.
struct Stream {
    socket: UnixStream,
    frame: Frame,
}

impl Stream {
    fn new(socket: UnixStream) -> Self {
        Self { socket, frame: Frame::new(Encoding::Postcard) }
    }

    async fn body(&mut self, prefix: [u8; PREFIX]) -> io::Result<Order> {
        let body = self.frame.body(prefix)?;
        let length = body.len();
        self.socket.read_exact(body).await?;
        self.frame.decode(length)
    }
}

impl AsyncEnd for Stream {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        self.socket.write_all(self.frame.encode(order)?).await
    }

    async fn recv(&mut self) -> io::Result<Order> {
        let mut prefix = [0; PREFIX];
        self.socket.read_exact(&mut prefix).await?;
        self.body(prefix).await
    }
}

/// The same with descriptors beside the length.
struct Passing {
    stream: Stream,
    file: File,
    arrived: Vec<OwnedFd>,
}

impl Passing {
    fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { stream: Stream::new(socket), file: passed_file()?, arrived: Vec::new() })
    }
}

impl AsyncEnd for Passing {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let Stream { socket, frame } = &mut self.stream;
        let bytes = frame.encode(order)?;
        let numbers = [self.file.as_raw_fd(); ancillary::MAX_DESCRIPTORS];
        let send = || ancillary::send(socket.as_fd(), bytes, &numbers[..order.descriptors]);
        let sent = socket.async_io(Interest::WRITABLE, send).await?;
        socket.write_all(&bytes[sent..]).await
    }

    async fn recv(&mut self) -> io::Result<Order> {
        let mut prefix = [0; PREFIX];
        let (socket, arrived) = (&mut self.stream.socket, &mut self.arrived);
        let recv = || ancillary::recv(socket.as_fd(), &mut prefix, arrived);
        let got = socket.async_io(Interest::READABLE, recv).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        socket.read_exact(&mut prefix[got..]).await?;
        let order = self.stream.body(prefix).await?;
        Ok(Order { descriptors: look(&mut self.arrived)?, ..order })
    }
}
