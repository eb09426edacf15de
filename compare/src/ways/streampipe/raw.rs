use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use streampipe::RawChannel;

use super::over::{Over, inherited};
use super::spare::Spare;
use crate::ancillary::{MAX_DESCRIPTORS, look, passed_file};
use crate::exchange::{Blocking, Driver, End, serve};
use crate::message::{Order, check, fill, wrong_bytes};
use crate::peer::{Kind, Task};
use crate::race::{Batch, each};
use crate::ways::Way;

/// Messages of bytes over packets.
pub const RAW: StreampipeRaw = StreampipeRaw {
    name: "streampipe-raw",
    title: "streampipe, raw",
    over: Over::Packets,
    beside: &["std-raw", "packets-raw", "ipc-typed"],
};
/// The same over a stream.
pub const RAW_STREAM: StreampipeRaw = StreampipeRaw {
    name: "streampipe-raw-stream",
    title: "streampipe, raw, over a stream",
    over: Over::Bytes,
    beside: &["std-raw", "ipc-typed"],
};
/// A [`RawChannel`], one end of which the peer inherits.
pub struct StreampipeRaw {
    name: &'static str,
    title: &'static str,
    over: Over,
    beside: &'static [&'static str],
}

impl Way for StreampipeRaw {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn beside(&self) -> &'static [&'static str] {
        self.beside
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let (channel, peer) = self.over.start(self, task)?;
        Ok(Box::new(Blocking::new(Raw::new(channel)?, peer)))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        serve(Raw::new(inherited()?)?)
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        let over = self.over;
        Some(Ok(each(move || over.both())))
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
    fn new(channel: RawChannel) -> io::Result<Self> {
        Ok(Self { channel, spare: Spare::default(), file: passed_file()? })
    }
}

impl End for Raw {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let mut bytes = self.spare.room(8 + order.size);
        let (sequence, payload) = bytes.make_mut().split_at_mut(8);
        sequence.copy_from_slice(&order.sequence.to_le_bytes());
        fill(payload, order.sequence);
        let files = [self.file.as_fd(); MAX_DESCRIPTORS];
        self.channel.send(&bytes, &files[..order.descriptors])?;
        self.spare.put(bytes);
        Ok(())
    }

    fn recv(&mut self) -> io::Result<Order> {
        self.spare.free();
        let mut message = self.channel.recv()?;
        let split = message.bytes.split_first_chunk();
        let (sequence, payload) = split.ok_or_else(|| wrong_bytes("no sequence"))?;
        let sequence = u64::from_le_bytes(*sequence);
        check(payload, sequence)?;
        let size = payload.len();
        self.spare.put(message.bytes);
        Ok(Order { sequence, size, descriptors: look(&mut message.fds)? })
    }
}
