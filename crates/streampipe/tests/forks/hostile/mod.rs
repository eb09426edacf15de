//! Rings whose peer keeps to no rule. It is a process of its own, and has all of the memory.
//!
//! Whatever it does, a call makes progress or returns an error of a kind that is documented, within its deadline; nobody
//! panics, nobody is killed by a signal, nothing is left behind.

/// What is done while the victim works in place.
mod lending;
/// What comes over the lifeline, and how it is treated.
mod lifeline;
/// What is done to the memory, and to who sleeps on it.
mod memory;
/// All words and bytes at full speed.
mod scribble;

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal,
};
use streampipe::{Builder, Child, Engine, Poisoned, Stream, Wait};
use streampipe_ring::{Capacity, Consumer, Producer, Sleep, View, Words};
use streampipe_sys::futex;
use streampipe_sys::message::{self, Blocking};
use streampipe_sys::region::{Control, Owner};
use streampipe_wire::Note;

use crate::child::forked;
use crate::mapping::Mapping;

/// The tests of this room.
pub(crate) const TESTS: &[&[crate::Test]] =
    &[scribble::TESTS, memory::TESTS, lifeline::TESTS, lending::TESTS];

/// What takes many minutes.
pub(crate) const LONG: &[crate::Test] = scribble::LONG;

/// What a call may take beyond its deadline on a machine that is busy with other things; what hangs takes longer.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// A deadline for calls that must come to one.
pub(crate) const SHORT: Duration = Duration::from_millis(40);

pub(crate) const CAPACITY: usize = 4096;

/// The second end of a ring, without the library: the lifeline, the memory, and the rules as far as it likes.
pub(crate) struct Peer {
    pub(crate) lifeline: OwnedFd,
    pub(crate) memory: Mapping,
    pub(crate) producer: Producer,
    pub(crate) consumer: Consumer,
}

/// A ring, and the peer's side of it by hand.
pub(crate) fn ring(capacity: usize) -> (Stream, Peer) {
    let make = || Builder::new().engine(Engine::Ring).capacity(capacity).pair().expect("a pair");
    let ((ours, theirs), memory) = Mapping::of(make);
    let lifeline = OwnedFd::from(theirs);
    // That a handle was closed just now, which nobody is to know.
    memory.control(Owner::Second).over.closings.store(0, Relaxed);
    let capacity = Capacity::holding(memory.capacity()).expect("it was made");
    let (producer, consumer) = (Producer::new(capacity), Consumer::new(capacity));
    (ours, Peer { lifeline, memory, producer, consumer })
}

/// Forks: the child is the peer and nothing else, until it exits or is killed; this process keeps the other end, and a
/// look at the memory.
pub(crate) fn with_peer(
    (ours, peer): (Stream, Peer),
    body: impl FnOnce(Peer),
) -> (Stream, Mapping, Child) {
    let (parent, mut both) = (getpid(), Some((ours, peer)));
    let (stream, child) = forked(|stream| {
        drop(stream);
        let (ours, peer) = both.take().expect("taken once in the child");
        drop(ours);
        die_with(parent);
        body(peer);
        0
    });
    drop(stream);
    let (ours, peer) = both.take().expect("taken once in the parent");
    (ours, peer.memory, child)
}

impl Peer {
    /// What the peer writes by right.
    pub(crate) fn own(&self) -> &Control {
        self.memory.control(Owner::Second)
    }

    /// What the victim writes.
    pub(crate) fn victims(&self) -> &Control {
        self.memory.control(Owner::First)
    }

    /// Both, as the rules see them from the peer's side.
    pub(crate) fn view(&self) -> View<'_, AtomicU64> {
        view_of(&self.memory)
    }

    /// Sends bytes over the lifeline, with descriptors; whether there was room.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let bytes = &[std::io::IoSlice::new(bytes)];
        message::send_with_fds(self.lifeline.as_fd(), bytes, fds, Blocking::Never).is_ok()
    }

    /// How much room there is, at least so much if there is.
    pub(crate) fn room(&mut self, wanted: u64) -> u64 {
        let room = self.producer.space(wanted, &view_of(&self.memory));
        room.expect("the victim is honest")
    }

    /// Copies bytes to where they go, and says nothing of them.
    pub(crate) fn copy_in(&self, bytes: &[u8]) {
        let ring = self.memory.ring(Owner::Second);
        for (at, &byte) in bytes.iter().enumerate() {
            let place = (self.producer.tail() as usize + at) % self.memory.capacity();
            // Nobody else writes there, so that nothing is lost between the two.
            let (word, shift) = (&ring[place / 8], 8 * (place % 8));
            let others = word.load(Relaxed) & !(0xff << shift);
            word.store(others | u64::from(byte) << shift, Relaxed);
        }
    }

    /// Sends descriptors for the bytes that come next, and says nothing of them.
    pub(crate) fn send_fds(&mut self, fds: &[BorrowedFd<'_>]) {
        let number = self.producer.begin_note(&view_of(&self.memory));
        let count = u8::try_from(fds.len()).expect("few");
        let note = Note::Fds { count, at: self.producer.tail() }.numbered(number);
        assert!(self.send(&note.to_bytes(), fds));
    }

    /// Says that a batch of descriptors was sent with the bytes that come next.
    pub(crate) fn note_batch(&mut self) {
        self.producer.note_batch(&view_of(&self.memory));
    }

    /// Says of so many bytes that they are there; whom to wake.
    pub(crate) fn publish(&mut self, bytes: u64) -> Option<Sleep> {
        let woken = self.producer.publish(bytes, &view_of(&self.memory));
        woken.expect("no more than there is room for")
    }

    /// What there is to read, at most so much, copied.
    pub(crate) fn copy_out(&mut self, most: usize) -> Vec<u8> {
        let there =
            self.consumer.available(1, &view_of(&self.memory)).expect("the victim is honest");
        let ring = self.memory.ring(Owner::First);
        let from = self.consumer.head() as usize;
        let places = (from..).map(|place| place % self.memory.capacity());
        let bytes = places.map(|place| (ring[place / 8].load(Relaxed) >> (8 * (place % 8))) as u8);
        bytes.take(most.min(there as usize)).collect()
    }

    /// Gives so many bytes back; whom to wake.
    pub(crate) fn release(&mut self, bytes: u64) -> Option<Sleep> {
        let woken = self.consumer.release(bytes, &view_of(&self.memory));
        woken.expect("no more than there is")
    }

    /// Wakes who waits for bytes.
    pub(crate) fn wake_reader(&self, sleep: Option<Sleep>) {
        match sleep {
            Some(Sleep::OnFutex) => futex::wake(&self.own().written.tail),
            Some(Sleep::AtLifeline) => drop(self.send(&Note::Bell.to_bytes(), &[])),
            None => {}
        }
    }

    /// Wakes who waits for room.
    pub(crate) fn wake_writer(&self, sleep: Option<Sleep>) {
        match sleep {
            Some(Sleep::OnFutex) => futex::wake(&self.own().read.head),
            Some(Sleep::AtLifeline) => drop(self.send(&Note::Bell.to_bytes(), &[])),
            None => {}
        }
    }
}

fn view_of(memory: &Mapping) -> View<'_, AtomicU64> {
    View { own: words(memory.control(Owner::Second)), peer: words(memory.control(Owner::First)) }
}

fn words(control: &Control) -> Words<'_, AtomicU64> {
    Words {
        tail: &control.written.tail,
        batches: &control.written.batches,
        notes: &control.written.notes,
        head: &control.read.head,
        taken: &control.read.taken,
        handed: &control.read.handed,
        ended: &control.over.ended,
        closings: &control.over.closings,
        data_arm: &control.data_arm.0,
        space_arm: &control.space_arm.0,
        processor: &control.processor.0,
        marks: &control.marks.0,
    }
}

/// How a handle can wait.
pub(crate) const WAITS: [Wait; 3] = [Wait::Adaptive, Wait::Spin, Wait::Block];

/// Gives a victim deadlines.
pub(crate) fn patient(stream: &Stream, wait: Wait) {
    stream.set_wait(wait);
    stream.set_read_timeout(Some(SHORT)).expect("not zero");
    stream.set_write_timeout(Some(SHORT)).expect("not zero");
}

/// A peer that goes on for ever does so only while the process lives that forked it.
pub(crate) fn die_with(parent: Pid) {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a signal");
    // It can have died before that.
    if getppid() != Some(parent) {
        die();
    }
}

/// Ends this process here, as if somebody else had.
pub(crate) fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    unreachable!("nobody survives that")
}

/// Runs a call that has a deadline, and fails if it takes much longer.
pub(crate) fn in_time<T>(deadline: Duration, what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = call();
    let took = start.elapsed();
    assert!(took < deadline + MARGIN, "{what} took {took:?}");
    done
}

/// The reason why nothing of the ring is believed any more.
pub(crate) fn poisoned(error: &std::io::Error) -> Option<Poisoned> {
    let poisoned = error.get_ref()?.downcast_ref::<Poisoned>()?;
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    Some(*poisoned)
}
