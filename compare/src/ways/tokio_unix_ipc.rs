//! The crate tokio-unix-ipc: typed messages by bincode, in tokio's runtime.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_unix_ipc::serde::{Handle, HandleRef};
use tokio_unix_ipc::{Receiver, Sender, channel_from_std, symmetric_channel};

use crate::ancillary::{look, passed_file};
use crate::exchange::{AsyncEnd, Driver, OnTokio, runtime, serve_async};
use crate::message::{Bytes, Order, Owned, Spare};
use crate::peer::{Kind, Peer, Task, inherited};
use crate::race::{Batch, each_on_tokio};
use crate::ways::Way;

/// A pair of streams, one of which the peer inherits; both directions on it.
pub struct TokioUnixIpc;

impl Way for TokioUnixIpc {
    fn name(&self) -> &'static str {
        "tokio-unix-ipc"
    }

    fn title(&self) -> &'static str {
        "tokio-unix-ipc"
    }

    fn beside(&self) -> &'static [&'static str] {
        &["tokio"]
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (ours, theirs) = UnixStream::pair()?;
        let peer = Peer::with_end(self, task, OwnedFd::from(theirs))?;
        let runtime = runtime()?;
        Ok(match task.kind {
            Kind::Messages => {
                let end = runtime.block_on(async { Typed::new(ours) })?;
                Box::new(OnTokio::new(end, runtime, peer))
            }
            Kind::Descriptors => {
                let end = runtime.block_on(async { Passing::new(ours) })?;
                Box::new(OnTokio::new(end, runtime, peer))
            }
        })
    }

    fn serve(&self, kind: Kind, _name: &str) -> io::Result<()> {
        let socket = UnixStream::from(inherited()?);
        runtime()?.block_on(async {
            match kind {
                Kind::Messages => serve_async(Typed::new(socket)?).await,
                Kind::Descriptors => serve_async(Passing::new(socket)?).await,
            }
        })
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        let make = || Ok((symmetric_channel::<Bytes>()?, symmetric_channel::<Bytes>()?));
        Some(each_on_tokio(make))
    }
}

/// A sender and a receiver of one socket; within a runtime.
fn halves<M: Serialize + DeserializeOwned>(
    socket: UnixStream,
) -> io::Result<(Sender<M>, Receiver<M>)> {
    // It registers what it is given as it is.
    socket.set_nonblocking(true)?;
    channel_from_std(socket)
}

struct Typed {
    sender: Sender<Bytes>,
    receiver: Receiver<Bytes>,
    spare: Spare,
}

impl Typed {
    fn new(socket: UnixStream) -> io::Result<Self> {
        let (sender, receiver) = halves(socket)?;
        Ok(Self { sender, receiver, spare: Spare::default() })
    }
}

impl AsyncEnd for Typed {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let payload = self.spare.take(order);
        self.sender.send(Bytes::new(order.sequence, payload)).await
    }

    async fn recv(&mut self) -> io::Result<Order> {
        let (sequence, payload) = self.receiver.recv().await?.parts();
        self.spare.put(sequence, payload)
    }
}

/// Its `Handle` would take our file with each message and leave it open; a `HandleRef` only looks.
enum Passed {
    Ours(RawFd),
    Theirs(OwnedFd),
}

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = match self {
            Self::Ours(number) => *number,
            Self::Theirs(descriptor) => descriptor.as_raw_fd(),
        };
        HandleRef(number).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::deserialize(deserializer).map(|handle| Self::Theirs(handle.into_inner()))
    }
}

#[derive(Serialize, Deserialize)]
struct Job {
    sequence: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
    descriptors: Vec<Passed>,
}

struct Passing {
    sender: Sender<Job>,
    receiver: Receiver<Job>,
    spare: Spare,
    file: File,
}

impl Passing {
    fn new(socket: UnixStream) -> io::Result<Self> {
        let (sender, receiver) = halves(socket)?;
        Ok(Self { sender, receiver, spare: Spare::default(), file: passed_file()? })
    }
}

impl AsyncEnd for Passing {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let payload = self.spare.take(order);
        let number = self.file.as_raw_fd();
        let descriptors = (0..order.descriptors).map(|_| Passed::Ours(number)).collect();
        self.sender.send(Job { sequence: order.sequence, payload, descriptors }).await
    }

    async fn recv(&mut self) -> io::Result<Order> {
        let job = self.receiver.recv().await?;
        let order = self.spare.put(job.sequence, job.payload)?;
        let owned = |passed| match passed {
            Passed::Theirs(descriptor) => Some(descriptor),
            Passed::Ours(_) => None,
        };
        let mut arrived = job.descriptors.into_iter().filter_map(owned).collect();
        Ok(Order { descriptors: look(&mut arrived)?, ..order })
    }
}
