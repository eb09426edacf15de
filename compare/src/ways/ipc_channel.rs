//! The crate ipc-channel: its typed channels, and its channels of bytes.

use std::io;
use std::marker::PhantomData;

use ipc_channel::IpcError;
use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
};
use serde::{Deserialize, Serialize};

use crate::exchange::{Blocking, Driver, End, serve};
use crate::message::{self, Order, Owned, Plain, Spare, check, fill, wrong_bytes};
use crate::peer::{Kind, Peer, Task};
use crate::race::{Batch, each};
use crate::ways::Way;

/// A struct with a `Vec<u8>`, as one writes it first.
pub const TYPED: IpcTyped<Plain> =
    IpcTyped { name: "ipc-typed", title: "ipc-channel, typed", message: PhantomData };
/// The same by one who knows of `serde_bytes`.
pub const SERDE_BYTES: IpcTyped<message::Bytes> = IpcTyped {
    name: "ipc-serde-bytes",
    title: "ipc-channel, typed, serde_bytes",
    message: PhantomData,
};

/// Two channels, one for each direction.
type Channels<S, R> = (S, R);

/// A channel of structs each way.
pub struct IpcTyped<M> {
    name: &'static str,
    title: &'static str,
    message: PhantomData<fn() -> M>,
}

impl<M: Owned + 'static> Way for IpcTyped<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn takes_part(&self, kind: Kind) -> bool {
        kind == Kind::Messages || self.name == TYPED.name
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        Ok(match task.kind {
            Kind::Messages => {
                let (peer, (sender, receiver)) = accepted(self, task)?;
                Box::new(Blocking::new(Typed::<M>::new(sender, receiver), peer))
            }
            Kind::Descriptors => {
                let (peer, (sender, receiver)) = accepted(self, task)?;
                Box::new(Blocking::new(Passing::new(sender, receiver)?, peer))
            }
        })
    }

    fn serve(&self, kind: Kind, name: &str) -> io::Result<()> {
        match kind {
            Kind::Messages => {
                let (sender, receiver) = connected(name, ipc::channel, ipc::channel)?;
                serve(Typed::<M>::new(sender, receiver))
            }
            Kind::Descriptors => {
                let (sender, receiver) = connected(name, ipc::channel, ipc::channel)?;
                serve(Passing::new(sender, receiver)?)
            }
        }
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        let make = || Ok((ipc::channel::<M>()?, ipc::channel::<M>()?));
        (self.name == TYPED.name).then(|| Ok(each(make)))
    }
}

/// A channel of bytes each way.
pub struct IpcBytes;

impl Way for IpcBytes {
    fn name(&self) -> &'static str {
        "ipc-bytes"
    }

    fn title(&self) -> &'static str {
        "ipc-channel, bytes"
    }

    fn beside(&self) -> &'static [&'static str] {
        &["std-raw"]
    }

    fn takes_part(&self, kind: Kind) -> bool {
        kind == Kind::Messages
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (peer, (sender, receiver)) = accepted(self, task)?;
        Ok(Box::new(Blocking::new(Bytes { sender, receiver, buffer: Vec::new() }, peer)))
    }

    fn serve(&self, _kind: Kind, name: &str) -> io::Result<()> {
        let (sender, receiver) = connected(name, ipc::bytes_channel, ipc::bytes_channel)?;
        serve(Bytes { sender, receiver, buffer: Vec::new() })
    }
}

/// Starts the peer, and is given a sender and a receiver by it.
fn accepted<S, R>(way: &dyn Way, task: Task) -> io::Result<(Peer, Channels<S, R>)>
where
    Channels<S, R>: Serialize + for<'de> Deserialize<'de>,
{
    let (server, name) = IpcOneShotServer::<Channels<S, R>>::new()?;
    let peer = Peer::with_name(way, task, &name)?;
    let (_, channels) = server.accept().map_err(io::Error::other)?;
    Ok((peer, channels))
}

/// Connects to the other process, and gives it a sender and a receiver; the other two ends are ours.
fn connected<S1, R1, S2, R2>(
    name: &str,
    to_us: impl FnOnce() -> io::Result<(S1, R1)>,
    to_them: impl FnOnce() -> io::Result<(S2, R2)>,
) -> io::Result<(S2, R1)>
where
    Channels<S1, R2>: Serialize + for<'de> Deserialize<'de>,
{
    let server = IpcSender::<Channels<S1, R2>>::connect(name.to_owned())?;
    let ((sender_to_us, receiver), (sender, receiver_of_theirs)) = (to_us()?, to_them()?);
    server.send((sender_to_us, receiver_of_theirs)).map_err(io::Error::other)?;
    Ok((sender, receiver))
}

/// Says an end of file as the others do.
fn io_error(error: IpcError) -> io::Error {
    match error {
        IpcError::Disconnected => io::ErrorKind::UnexpectedEof.into(),
        error => io::Error::other(error),
    }
}

struct Typed<M> {
    sender: IpcSender<M>,
    receiver: IpcReceiver<M>,
    spare: Spare,
}

impl<M> Typed<M> {
    fn new(sender: IpcSender<M>, receiver: IpcReceiver<M>) -> Self {
        Self { sender, receiver, spare: Spare::default() }
    }
}

impl<M: Owned> End for Typed<M> {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let payload = self.spare.take(order);
        self.sender.send(M::new(order.sequence, payload)).map_err(io_error)
    }

    fn recv(&mut self) -> io::Result<Order> {
        let (sequence, payload) = self.receiver.recv().map_err(io_error)?.parts();
        self.spare.put(sequence, payload)
    }
}

struct Bytes {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
    /// The sequence, then the payload.
    buffer: Vec<u8>,
}

impl End for Bytes {
    fn send(&mut self, order: Order) -> io::Result<()> {
        self.buffer.resize(8 + order.size, 0);
        self.buffer[..8].copy_from_slice(&order.sequence.to_le_bytes());
        fill(&mut self.buffer[8..], order.sequence);
        self.sender.send(&self.buffer)
    }

    fn recv(&mut self) -> io::Result<Order> {
        self.buffer = self.receiver.recv().map_err(io_error)?;
        let split = self.buffer.split_first_chunk();
        let (sequence, payload) = split.ok_or_else(|| wrong_bytes("no sequence"))?;
        let sequence = u64::from_le_bytes(*sequence);
        check(payload, sequence)?;
        Ok(Order { sequence, size: payload.len(), descriptors: 0 })
    }
}

/// What it passes are its own channels, no other descriptors; it looks at each with `fstat` itself.
#[derive(Serialize, Deserialize)]
struct Job {
    sequence: u64,
    payload: Vec<u8>,
    channels: Vec<IpcSender<()>>,
}

struct Passing {
    sender: IpcSender<Job>,
    receiver: IpcReceiver<Job>,
    spare: Spare,
    passed: IpcSender<()>,
}

impl Passing {
    fn new(sender: IpcSender<Job>, receiver: IpcReceiver<Job>) -> io::Result<Self> {
        let (passed, _) = ipc::channel()?;
        Ok(Self { sender, receiver, spare: Spare::default(), passed })
    }
}

impl End for Passing {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let payload = self.spare.take(order);
        let channels = vec![self.passed.clone(); order.descriptors];
        self.sender.send(Job { sequence: order.sequence, payload, channels }).map_err(io_error)
    }

    fn recv(&mut self) -> io::Result<Order> {
        let job = self.receiver.recv().map_err(io_error)?;
        let order = self.spare.put(job.sequence, job.payload)?;
        Ok(Order { descriptors: job.channels.len(), ..order })
    }
}
