//! A peer whose words say something else at each look, which is the most that one can do who writes while we read.
//!
//! Whatever they say: no more is there, or free, than the capacity; a position goes only where it can go; a claim that is
//! refused is told as it was made, and changes nothing; and a call looks at each word once, so it cannot see two things.
//! (But `release`, which looks possibly without a fence and then really behind one, and believes the second look.)

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use streampipe_ring::{
    Capacity, Consumer, Corrupt, Half, Outlook, Producer, Sleep, View, Word, closings, end,
    note_closing, sleepers,
};

use crate::memory::Control;

const CAPACITY: u64 = 4096;

/// What is said to who may believe all of it, in particular where it begins at 0.
const SAYINGS: [u64; 9] = [0, 1, 2, 4095, 4096, 4097, 1 << 62, 1 << 63, u64::MAX];

/// Says what the words hold.
enum Liar {
    /// These, one after the other, then 0.
    Script(Vec<u64>),
    /// Anything, but mostly numbers near to this.
    Random(fastrand::Rng, u64),
}

impl Liar {
    fn say(&mut self) -> u64 {
        match self {
            Self::Script(sayings) => sayings.pop().unwrap_or(0),
            Self::Random(random, near) => match random.u8(0..8) {
                0 => random.u64(..),
                1 => SAYINGS[random.usize(..SAYINGS.len())],
                2 => (near.wrapping_add(random.u64(..CAPACITY)) << 2) | random.u64(..4),
                _ => near.wrapping_sub(16).wrapping_add(random.u64(..CAPACITY)),
            },
        }
    }
}

thread_local! {
    static LIAR: RefCell<Liar> = const { RefCell::new(Liar::Script(Vec::new())) };
}

/// A word that holds nothing: each load is told something.
#[derive(Debug, Default)]
struct Told {
    loads: Cell<u32>,
    last: Cell<u64>,
}

impl Word for Told {
    fn load(&self, _: Ordering) -> u64 {
        self.loads.set(self.loads.get() + 1);
        self.last.set(LIAR.with_borrow_mut(Liar::say));
        self.last.get()
    }

    fn store(&self, _: u64, _: Ordering) {}

    fn set_bits(&self, _: u64, _: Ordering) {}

    fn add(&self, _: u64, _: Ordering) {}

    fn fence() {}
}

/// Both ends' words, none of which can be believed.
#[derive(Default)]
struct Memory([Control<Told>; 2]);

impl Memory {
    /// Makes a call, and counts how often it looks at each word.
    #[track_caller]
    fn call<T>(&self, call: impl FnOnce(&View<'_, Told>) -> T) -> T {
        for word in self.words() {
            word.loads.set(0);
        }
        let done = call(&self.0[0].view(&self.0[1]));
        for word in self.words() {
            assert!(word.loads.get() <= 1, "a word was looked at {} times", word.loads.get());
        }
        done
    }

    /// Makes a call to `release`, which may look at one word twice.
    #[track_caller]
    fn release(&self, consumer: &mut Consumer, bytes: u64) {
        let looked = &self.0[1].space_arm.loads;
        self.call(|view| {
            let _ = consumer.release(bytes, view).expect("as many as are there");
            assert!((1..=2).contains(&looked.get()), "{} times", looked.get());
            looked.set(1);
        });
    }

    fn words(&self) -> impl Iterator<Item = &Told> {
        self.0.iter().flat_map(|it| {
            let positions = [&it.tail, &it.batches, &it.notes, &it.head, &it.taken, &it.handed];
            let others = [&it.ended, &it.closings, &it.data_arm, &it.space_arm, &it.processor];
            positions.into_iter().chain(others).chain(&it.marks)
        })
    }
}

/// Whether a position is between these two, going up.
fn is_between(position: u64, (least, most): (u64, u64)) -> bool {
    position.wrapping_sub(least) <= most.wrapping_sub(least)
}

// --- the reader ---

/// How far it has read, and has seen the peer to have written.
fn reader_positions(consumer: &Consumer) -> (u64, u64) {
    (consumer.head(), consumer.waitpoint().position())
}

/// Looks, in one of two ways, and checks what came of it.
fn look(consumer: &mut Consumer, memory: &Memory, only_if_empty: bool) {
    let (head, seen) = reader_positions(consumer);
    let looked = memory.call(|view| {
        if only_if_empty { consumer.available(1, view).map(|_| ()) } else { consumer.look(view) }
    });
    let (still, tail) = reader_positions(consumer);
    let possible = (seen, head.wrapping_add(CAPACITY));
    assert_eq!(still, head, "looking reads nothing");
    match looked {
        Ok(()) => assert!(is_between(tail, possible), "{tail}, possible {possible:?}"),
        Err(Corrupt::Tail { claimed, possible: told }) => {
            assert_eq!((claimed, told, tail), (memory.0[1].tail.last.get(), possible, seen));
            assert!(!is_between(claimed, possible), "{claimed}, possible {possible:?}");
        }
        Err(other) => panic!("{other:?} of a tail"),
    }
    assert!(tail.wrapping_sub(head) <= CAPACITY, "{tail} is far from {head}");
}

/// Gives back what is there, less so much.
fn release(consumer: &mut Consumer, memory: &Memory, less: u64) {
    let (head, tail) = reader_positions(consumer);
    let there = tail.wrapping_sub(head);
    let bytes = there - less.min(there);
    memory.release(consumer, bytes);
    assert_eq!(reader_positions(consumer), (head.wrapping_add(bytes), tail));
}

fn resume_reading(consumer: &mut Consumer, memory: &Memory) {
    let before = reader_positions(consumer);
    let resumed = memory.call(|view| consumer.resume(view));
    let (head, tail) = reader_positions(consumer);
    match resumed {
        Ok(_) => assert!(tail.wrapping_sub(head) <= CAPACITY, "{tail} is far from {head}"),
        Err(Corrupt::Tail { claimed, possible }) => {
            assert_eq!(((head, tail), claimed), (before, memory.0[1].tail.last.get()));
            assert!(!is_between(claimed, possible), "{claimed}, possible {possible:?}");
            assert!(possible.1.wrapping_sub(possible.0) <= CAPACITY, "{possible:?}");
        }
        Err(other) => panic!("{other:?} of a tail"),
    }
}

fn read(consumer: &mut Consumer, memory: &Memory) {
    look(consumer, memory, true);
    release(consumer, memory, 1);
    look(consumer, memory, false);
    release(consumer, memory, 4000);
    memory.call(|view| consumer.arm(Sleep::AtLifeline, view));
    look(consumer, memory, true);
    release(consumer, memory, 0);
}

// --- the writer ---

/// How far it has seen the peer to have read, and has written.
fn writer_positions(producer: &Producer) -> (u64, u64) {
    (producer.waitpoint(1).position(), producer.tail())
}

/// Looks for so much space, and checks what came of it.
fn space(producer: &mut Producer, memory: &Memory, wanted: u64) {
    let (seen, tail) = writer_positions(producer);
    let space = memory.call(|view| producer.space(wanted, view));
    let (head, still) = writer_positions(producer);
    let possible = (seen, tail);
    assert_eq!(still, tail, "looking writes nothing");
    match space {
        Ok(space) => {
            assert!(is_between(head, possible), "{head}, possible {possible:?}");
            assert_eq!(space, producer.free());
        }
        Err(Corrupt::Head { claimed, possible: told }) => {
            assert_eq!((claimed, told, head), (memory.0[1].head.last.get(), possible, seen));
            assert!(!is_between(claimed, possible), "{claimed}, possible {possible:?}");
        }
        Err(other) => panic!("{other:?} of a head"),
    }
    assert!(producer.free() <= CAPACITY, "{head} is far from {tail}");
}

/// Writes what there is room for, less so much.
fn publish(producer: &mut Producer, memory: &Memory, less: u64) {
    let (head, tail) = writer_positions(producer);
    let bytes = producer.free() - less.min(producer.free());
    let _ = memory.call(|view| producer.publish(bytes, view)).expect("as many as are free");
    assert_eq!(writer_positions(producer), (head, tail.wrapping_add(bytes)));
}

fn resume_writing(producer: &mut Producer, memory: &Memory) {
    let before = writer_positions(producer);
    let resumed = memory.call(|view| producer.resume(view));
    let (head, tail) = writer_positions(producer);
    match resumed {
        Ok(_) => assert!(tail.wrapping_sub(head) <= CAPACITY, "{head} is far from {tail}"),
        Err(Corrupt::Head { claimed, possible }) => {
            assert_eq!(((head, tail), claimed), (before, memory.0[1].head.last.get()));
            assert!(!is_between(claimed, possible), "{claimed}, possible {possible:?}");
            assert!(possible.1.wrapping_sub(possible.0) <= CAPACITY, "{possible:?}");
        }
        Err(other) => panic!("{other:?} of a head"),
    }
}

fn write(producer: &mut Producer, memory: &Memory) {
    publish(producer, memory, 1);
    space(producer, memory, 2);
    publish(producer, memory, 0);
    for wanted in [1, CAPACITY, u64::MAX] {
        memory.call(|view| producer.arm(wanted, Sleep::OnFutex, view));
        memory.call(|view| producer.waitpoint(wanted).is_reached(view.peer.head));
        space(producer, memory, wanted);
    }
    publish(producer, memory, 100);
}

// --- what they are told ---

/// Plays a game with every script of so many sayings.
fn every_script(length: u32, game: impl Fn(&Memory)) {
    let memory = Memory::default();
    let count = SAYINGS.len();
    for number in (0..count.pow(length)).step_by(if cfg!(miri) { 9973 } else { 1 }) {
        let saying = |place| SAYINGS[number / count.pow(place) % count];
        LIAR.set(Liar::Script((0..length).map(saying).collect()));
        game(&memory);
    }
}

#[test]
fn a_reader_is_told_every_short_lie() {
    every_script(5, |memory| read(&mut Consumer::new(Capacity::LEAST), memory));
}

#[test]
fn a_writer_is_told_every_short_lie() {
    every_script(5, |memory| write(&mut Producer::new(Capacity::LEAST), memory));
}

#[test]
fn a_fork_is_told_every_short_lie() {
    every_script(5, |memory| {
        let mut consumer = Consumer::new(Capacity::LEAST);
        resume_reading(&mut consumer, memory);
        look(&mut consumer, memory, false);
        release(&mut consumer, memory, 1);
    });
    every_script(5, |memory| {
        let mut producer = Producer::new(Capacity::LEAST);
        resume_writing(&mut producer, memory);
        space(&mut producer, memory, CAPACITY);
        publish(&mut producer, memory, 1);
    });
}

#[test]
fn both_sides_are_told_random_lies_for_long() {
    let memory = Memory::default();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..if cfg!(miri) { 1 } else { 30_000 } {
        let mut consumer = Consumer::new(Capacity::LEAST);
        let mut producer = Producer::new(Capacity::LEAST);
        for _ in 0..10 {
            let near = if random.bool() { consumer.head() } else { producer.tail() };
            LIAR.set(Liar::Random(random.fork(), near));
            match random.u8(0..16) {
                0 => resume_reading(&mut consumer, &memory),
                1 => resume_writing(&mut producer, &memory),
                2..=8 => read(&mut consumer, &memory),
                _ => write(&mut producer, &memory),
            }
        }
    }
}

#[test]
fn every_other_question_looks_once_as_well() {
    every_script(3, |memory| {
        memory.call(|view| end(Half::Reading, view));
        memory.call(note_closing);
        memory.call(closings);
        memory.call(|view| Half::Writing.is_ended(&view.peer));
        let outlook = memory.call(Outlook::of);
        memory.call(|view| outlook.has_ended_since(view));
        memory.call(|view| outlook.has_closed_since(view));
        memory.call(|view| view.is_reader_due());
        memory.call(|view| view.is_writer_due(CAPACITY));
        memory.call(|view| view.has_written_beyond(u64::MAX));
        memory.call(|view| view.is_all_read(Some(7)));
        memory.call(sleepers);
        memory.call(|view| view.show_processor(Some(u32::MAX)));
        memory.call(|view| view.is_on_one_processor());
        memory.call(|view| view.is_on_two_processors());
    });
}
