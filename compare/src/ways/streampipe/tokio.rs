use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use streampipe::Bytes;
use streampipe::tokio::{Channel, RawChannel};

use super::over::{Over, inherited};
use super::spare::Spare;
use crate::ancillary::{MAX_DESCRIPTORS, look, passed_file};
use crate::exchange::{AsyncEnd, Driver, OnTokio, runtime, serve_async};
use crate::message::{Order, check, fill, wrong_bytes};
use crate::peer::{Kind, Task};
use crate::race::{Batch, each_on_tokio};
use crate::ways::Way;

/// Values over packets, in a runtime of one thread.
pub struct TokioTyped;

/// Messages of bytes over packets, in a runtime of one thread.
pub struct TokioRaw;

impl Way for TokioTyped {
    fn name(&self) -> &'static str {
        "streampipe-tokio"
    }

    fn title(&self) -> &'static str {
        "streampipe, tokio, typed"
    }

    fn beside(&self) -> &'static [&'static str] {
        &["tokio", "tokio-unix-ipc"]
    }

    fn takes_part(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Messages)
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (channel, peer) = Over::Packets.start(self, task)?;
        let runtime = runtime()?;
        let end = runtime.block_on(async { Typed::new(channel) })?;
        Ok(Box::new(OnTokio::new(end, runtime, peer)))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        runtime()?.block_on(async { serve_async(Typed::new(inherited()?)?).await })
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        Some(each_on_tokio(streampipe::tokio::channel::<Message, Message>))
    }
}

impl Way for TokioRaw {
    fn name(&self) -> &'static str {
        "streampipe-tokio-raw"
    }

    fn title(&self) -> &'static str {
        "streampipe, tokio, raw"
    }

    fn beside(&self) -> &'static [&'static str] {
        &["tokio"]
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (channel, peer) = Over::Packets.start(self, task)?;
        let runtime = runtime()?;
        let end = runtime.block_on(async { Raw::new(channel) })?;
        Ok(Box::new(OnTokio::new(end, runtime, peer)))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        runtime()?.block_on(async { serve_async(Raw::new(inherited()?)?).await })
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        Some(each_on_tokio(RawChannel::pair))
    }
}

#[derive(Serialize, Deserialize)]
struct Message {
    sequence: u64,
    payload: Bytes,
}

struct Typed {
    channel: Channel<Message, Message>,
    spare: Spare,
}

impl Typed {
    fn new(channel: streampipe::RawChannel) -> io::Result<Self> {
        let channel = streampipe::Channel::from(channel).try_into()?;
        Ok(Self { channel, spare: Spare::default() })
    }
}

impl AsyncEnd for Typed {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let message = Message { sequence: order.sequence, payload: self.spare.take(order) };
        self.channel.send(&message).await?;
        self.spare.put(message.payload);
        Ok(())
    }

    async fn recv(&mut self) -> io::Result<Order> {
        self.spare.free();
        let Message { sequence, payload } = self.channel.recv().await?;
        check(&payload, sequence)?;
        let size = payload.len();
        self.spare.put(payload);
        Ok(Order { sequence, size, descriptors: 0 })
    }
}

/// The same with and without descriptors.
struct Raw {
    channel: RawChannel,
    /// The sequence, then the payload.
    spare: Spare,
    file: File,
}

impl Raw {
    fn new(channel: streampipe::RawChannel) -> io::Result<Self> {
        Ok(Self { channel: channel.try_into()?, spare: Spare::default(), file: passed_file()? })
    }
}

impl AsyncEnd for Raw {
    async fn send(&mut self, order: Order) -> io::Result<()> {
        let mut bytes = self.spare.room(8 + order.size);
        let (sequence, payload) = bytes.make_mut().split_at_mut(8);
        sequence.copy_from_slice(&order.sequence.to_le_bytes());
        fill(payload, order.sequence);
        let files = [self.file.as_fd(); MAX_DESCRIPTORS];
        self.channel.send(&bytes, &files[..order.descriptors]).await?;
        self.spare.put(bytes);
        Ok(())
    }

    async fn recv(&mut self) -> io::Result<Order> {
        self.spare.free();
        let mut message = self.channel.recv().await?;
        let split = message.bytes.split_first_chunk();
        let (sequence, payload) = split.ok_or_else(|| wrong_bytes("no sequence"))?;
        let sequence = u64::from_le_bytes(*sequence);
        check(payload, sequence)?;
        let size = payload.len();
        self.spare.put(message.bytes);
        Ok(Order { sequence, size, descriptors: look(&mut message.fds)? })
    }
}
