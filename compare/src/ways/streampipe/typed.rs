use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streampipe::{Bytes, Channel, Fd};

use super::over::{Over, inherited};
use super::spare::Spare;
use crate::ancillary::{look, passed_file};
use crate::exchange::{Blocking, Driver, End, serve};
use crate::message::{Order, check};
use crate::peer::{Kind, Task};
use crate::race::{Batch, each};
use crate::ways::Way;

/// Values over packets.
pub const TYPED: StreampipeTyped = StreampipeTyped {
    name: "streampipe",
    title: "streampipe, typed",
    over: Over::Packets,
    busy_poll: Duration::ZERO,
    beside: &["packets-raw", "ipc-typed"],
};
/// The same by ends that ask again for a while before they sleep: for two processors.
pub const TYPED_BUSY: StreampipeTyped = StreampipeTyped {
    name: "streampipe-busy",
    title: "streampipe, typed, busy poll of 50 µs",
    over: Over::Packets,
    busy_poll: Duration::from_micros(50),
    beside: &["ipc-typed"],
};
/// The same over a stream.
pub const TYPED_STREAM: StreampipeTyped = StreampipeTyped {
    name: "streampipe-stream",
    title: "streampipe, typed, over a stream",
    over: Over::Bytes,
    busy_poll: Duration::ZERO,
    beside: &["ipc-typed"],
};

/// A [`Channel`], one end of which the peer inherits.
pub struct StreampipeTyped {
    name: &'static str,
    title: &'static str,
    over: Over,
    busy_poll: Duration,
    beside: &'static [&'static str],
}

impl Way for StreampipeTyped {
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
        Ok(match task.kind {
            Kind::Messages => {
                channel.set_busy_poll(self.busy_poll);
                Box::new(Blocking::new(Typed::new(channel.into()), peer))
            }
            Kind::Descriptors => Box::new(Blocking::new(Passing::new(channel.into())?, peer)),
        })
    }

    fn serve(&self, kind: Kind, _name: &str) -> io::Result<()> {
        let channel = inherited()?;
        match kind {
            Kind::Messages => {
                channel.set_busy_poll(self.busy_poll);
                serve(Typed::new(channel.into()))
            }
            Kind::Descriptors => serve(Passing::new(channel.into())?),
        }
    }

    fn takes_part(&self, kind: Kind) -> bool {
        self.busy_poll.is_zero() || matches!(kind, Kind::Messages)
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        if !self.busy_poll.is_zero() {
            return None;
        }
        let over = self.over;
        Some(Ok(each(move || {
            let (ours, theirs) = over.both()?;
            Ok((Channel::<Message, Message>::from(ours), Channel::<Message, Message>::from(theirs)))
        })))
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
    fn new(channel: Channel<Message, Message>) -> Self {
        Self { channel, spare: Spare::default() }
    }
}

impl End for Typed {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let message = Message { sequence: order.sequence, payload: self.spare.take(order) };
        self.channel.send(&message)?;
        self.spare.put(message.payload);
        Ok(())
    }

    fn recv(&mut self) -> io::Result<Order> {
        self.spare.free();
        let Message { sequence, payload } = self.channel.recv()?;
        check(&payload, sequence)?;
        let size = payload.len();
        self.spare.put(payload);
        Ok(Order { sequence, size, descriptors: 0 })
    }
}

#[derive(Serialize, Deserialize)]
struct Job {
    sequence: u64,
    payload: Bytes,
    descriptors: Vec<Fd>,
}

/// The same with descriptors, which stay ours, too.
struct Passing {
    channel: Channel<Job, Job>,
    spare: Spare,
    file: File,
    /// What was passed last; as many are passed again.
    passed: Vec<Fd>,
    arrived: Vec<OwnedFd>,
}

impl Passing {
    fn new(channel: Channel<Job, Job>) -> io::Result<Self> {
        let (spare, file) = (Spare::default(), passed_file()?);
        Ok(Self { channel, spare, file, passed: Vec::new(), arrived: Vec::new() })
    }

    fn passed(&mut self, count: usize) -> io::Result<Vec<Fd>> {
        let mut passed = std::mem::take(&mut self.passed);
        while passed.len() < count {
            passed.push(self.file.try_clone()?.into());
        }
        passed.truncate(count);
        Ok(passed)
    }
}

impl End for Passing {
    fn send(&mut self, order: Order) -> io::Result<()> {
        let descriptors = self.passed(order.descriptors)?;
        let payload = self.spare.take(order);
        let job = Job { sequence: order.sequence, payload, descriptors };
        self.channel.send(&job)?;
        self.spare.put(job.payload);
        self.passed = job.descriptors;
        Ok(())
    }

    fn recv(&mut self) -> io::Result<Order> {
        self.spare.free();
        let Job { sequence, payload, descriptors } = self.channel.recv()?;
        check(&payload, sequence)?;
        let size = payload.len();
        self.spare.put(payload);
        self.arrived.extend(descriptors.into_iter().map(OwnedFd::from));
        let descriptors = look(&mut self.arrived)?;
        Ok(Order { sequence, size, descriptors })
    }
}
