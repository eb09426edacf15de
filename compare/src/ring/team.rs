//! A way with its two processes: this one, and a fork that does what it is ordered to.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::block::Block;
use super::clock;
use super::forked::{Forked, hear, tell};
use super::order::{Deed, Order, Report};
use super::shared::Shared;
use super::usage::Usage;
use super::ways::{End, Opener, Way};
use crate::place::{Place, pin};

/// How long the other process has to say what it knows when this one has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// A way, both of whose ends are open.
pub struct Team {
    /// Which way.
    pub way: &'static Way,
    end: Option<Box<dyn End>>,
    opener: Option<Opener>,
    other: Forked,
    sequence: u64,
}

/// What one work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Nanoseconds from the first send to the last receive.
    pub time: u64,
    /// Both processes.
    pub usage: Usage,
}

impl Team {
    /// Makes both ends and forks; the fork runs where the place has it.
    ///
    /// # Errors
    ///
    /// The way's, and the kernel's.
    pub fn start(
        way: &'static Way,
        most: usize,
        place: Place,
        notes: Arc<Shared>,
    ) -> io::Result<Self> {
        let (ours, theirs) = (way.make)(most)?;
        let mut ours = Some(ours);
        let other = Forked::start(|mut control| {
            drop(ours.take());
            if let Some(number) = place.theirs {
                pin(number)?;
            }
            hear(&mut control)?;
            let end = theirs()?;
            tell(&mut control)?;
            serve(end, &mut control, &notes)
        })?;
        Ok(Self { way, end: None, opener: ours, other, sequence: 0 })
    }

    /// Opens both ends; after this, no more teams are started, for some ways start threads.
    ///
    /// # Errors
    ///
    /// The way's.
    pub fn open(&mut self) -> io::Result<()> {
        tell(self.other.control())?;
        if let Some(opener) = self.opener.take() {
            self.end = Some(opener()?);
        }
        hear(self.other.control())
    }

    fn next(&mut self, block: Block, blocks: usize) -> Block {
        let block = block.starting_at(self.sequence);
        self.sequence += (block.count * blocks) as u64;
        block
    }

    /// Has the other process do this with so many blocks, while this one does its part.
    fn work(
        &mut self,
        deed: Deed,
        block: Block,
        blocks: usize,
        part: impl FnOnce(&mut dyn End, Block) -> io::Result<()>,
    ) -> io::Result<Took> {
        let block = self.next(block, blocks);
        Order { deed, block, blocks }.give(self.other.control())?;
        hear(self.other.control())?;
        let before = Usage::of_process();
        let started = clock::now();
        let end = self.end.as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        let done = part(end, block);
        let usage = Usage::of_process() - before;
        if done.is_err() {
            // It may wait for ever for what did not come; if it does not, it knows more.
            self.other.control().set_read_timeout(Some(PATIENCE))?;
        }
        let report = match (Report::take(self.other.control()), done) {
            (Ok(Report { error: Some(error), .. }), _) => {
                return Err(io::Error::other(format!("the other process: {error}")));
            }
            (_, Err(error)) | (Err(error), _) => return Err(error),
            (Ok(report), Ok(())) => report,
        };
        let time = report.finished.saturating_sub(started);
        Ok(Took { time, usage: usage + report.usage })
    }

    /// Sends so many blocks, which the other process receives.
    ///
    /// # Errors
    ///
    /// The way's.
    pub fn one_way(&mut self, block: Block, blocks: usize) -> io::Result<Took> {
        self.work(Deed::Receive, block, blocks, |end, mut block| {
            for _ in 0..blocks {
                end.send(block)?;
                block = block.next();
            }
            Ok(())
        })
    }

    /// Sends so many blocks, each of which comes back; notes how long each took.
    ///
    /// # Errors
    ///
    /// The way's.
    pub fn round_trips(
        &mut self,
        block: Block,
        blocks: usize,
        times: &mut Vec<u64>,
    ) -> io::Result<Took> {
        self.work(Deed::Echo, block, blocks, |end, mut block| {
            let mut started = clock::now();
            for _ in 0..blocks {
                end.send(block)?;
                end.receive(block)?;
                let now = clock::now();
                times.push(now - started);
                started = now;
                block = block.next();
            }
            Ok(())
        })
    }

    /// Sends a block at each of these intervals; how late each came is in the notes.
    ///
    /// # Errors
    ///
    /// The way's.
    pub fn paced(
        &mut self,
        block: Block,
        blocks: usize,
        interval: u64,
        notes: &Shared,
    ) -> io::Result<Took> {
        clock::exact_timers();
        self.work(Deed::Note, block, blocks, |end, mut block| {
            let first = clock::now() + interval;
            for at in 0..blocks {
                let due = first + at as u64 * interval;
                notes[at].store(due, Relaxed);
                clock::sleep_until(due);
                end.send(block)?;
                block = block.next();
            }
            Ok(())
        })
    }
}

fn serve(mut end: Box<dyn End>, control: &mut UnixStream, notes: &Shared) -> io::Result<()> {
    while let Some(order) = Order::take(control)? {
        tell(control)?;
        let before = Usage::of_process();
        let done = obey(&mut *end, order, notes);
        let finished = clock::now();
        let usage = Usage::of_process() - before;
        let error = done.err().map(|error| error.to_string());
        let failed = error.is_some();
        Report { finished, usage, error }.give(control)?;
        if failed {
            // Our end is closed, which whoever waits at the other one hears.
            break;
        }
    }
    Ok(())
}

fn obey(end: &mut dyn End, order: Order, notes: &Shared) -> io::Result<()> {
    let mut block = order.block;
    for at in 0..order.blocks {
        end.receive(block)?;
        match order.deed {
            Deed::Receive => {}
            Deed::Echo => end.send(block)?,
            Deed::Note => {
                let late = clock::now().saturating_sub(notes[at].load(Relaxed));
                notes[at].store(late, Relaxed);
            }
        }
        block = block.next();
    }
    Ok(())
}
