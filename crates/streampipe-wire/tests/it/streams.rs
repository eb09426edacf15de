//! A million streams that were valid once, or never (promise P9).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use fastrand::Rng;
use streampipe_wire::{Frames, Header, Kind, Malformed, Totals};

use crate::oracle::{self, End, Found};
use crate::samples::{Sample, in_small_frames};

const STREAMS: usize = 1_000_000;

/// Each batch has its own seed, so that it does not matter which thread takes it.
const BATCHES: usize = 100;

/// How many streams ended each way: clean, torn, and by each error but `Length`, which streams do not have.
type Ends = [usize; 6];

#[test]
fn a_million_mangled_streams_say_the_same_wherever_they_are_cut() {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let ends: Ends = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(|| take_batches(&next))).collect();
        let all = started.into_iter().map(|it| it.join().expect("no stream makes it panic"));
        all.fold(Ends::default(), added)
    });
    assert_eq!(ends.iter().sum::<usize>(), STREAMS);
    // Else they were too tame, or too wild, to test much.
    assert!(ends.iter().all(|&it| it > STREAMS / 100), "{ends:?}");
}

fn added(mut ends: Ends, more: Ends) -> Ends {
    ends.iter_mut().zip(more).for_each(|(sum, it)| *sum += it);
    ends
}

fn take_batches(next: &AtomicUsize) -> Ends {
    let messages = messages();
    let mut ends = Ends::default();
    loop {
        let batch = next.fetch_add(1, Relaxed);
        if batch >= BATCHES {
            return ends;
        }
        ends = added(ends, run_batch(batch, &messages));
    }
}

fn run_batch(batch: usize, messages: &[Vec<u8>]) -> Ends {
    let mut random = Rng::with_seed(batch as u64);
    let (mut ends, mut wire, mut frames) = (Ends::default(), Vec::new(), Vec::new());
    for _ in 0..STREAMS / BATCHES {
        make(&mut random, messages, &mut wire);
        let end = oracle::decode(&wire, &mut frames);
        cut(&mut random, &wire, &frames, end);
        ends[way(end)] += 1;
    }
    ends
}

fn cut(random: &mut Rng, wire: &[u8], frames: &[Found], end: End) {
    let most = [3, 33, 60, 200, 1000][random.usize(..5)];
    oracle::compare(wire, frames, end, || random.usize(1..=most));
}

fn way(end: End) -> usize {
    match end {
        End::Clean => 0,
        End::Torn(_) => 1,
        End::Malformed(Malformed::Magic { .. }) => 2,
        End::Malformed(Malformed::Unknown { .. }) => 3,
        End::Malformed(Malformed::Counts { .. }) => 4,
        End::Malformed(_) => 5,
    }
}

/// Short ones: where the bytes are few, more of the damage hits a header.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut push = |headers: &mut dyn Iterator<Item = Header>| {
        let mut sample = Sample::new("");
        sample.push(headers);
        messages.push(sample.wire);
    };
    for (bytes, fds) in [(0, 0), (1, 0), (40, 0), (0, 1), (9, 253), (0, 254), (3, 600)] {
        push(&mut Frames::new(Kind::Message, 0, Totals { bytes, fds }).map(|it| it.header));
    }
    for (kind, lengths, fds) in [
        (Kind::Message, &[1, 1][..], 0),
        (Kind::Request, &[2, 9, 4], 1),
        (Kind::Answer, &[1, 30], 300),
        (Kind::NoAnswer, &[0], 3),
    ] {
        let frames = in_small_frames(Header::new(kind, 2), lengths, fds);
        push(&mut frames.iter().copied());
        let withdrawal = Header::new(Kind::Withdrawal, 2);
        push(&mut frames[..frames.len() - 1].iter().copied().chain([withdrawal]));
    }
    messages
}

/// Some messages, or nothing but noise, and then some damage.
fn make(random: &mut Rng, messages: &[Vec<u8>], wire: &mut Vec<u8>) {
    wire.clear();
    if random.u8(..16) == 0 {
        wire.resize(random.usize(..80), 0);
        random.fill(wire);
    } else {
        for _ in 0..random.usize(1..4) {
            wire.extend(random.choice(messages).expect("there are some"));
        }
    }
    for _ in 0..random.usize(..4) {
        damage(random, messages, wire);
    }
}

fn damage(random: &mut Rng, messages: &[Vec<u8>], wire: &mut Vec<u8>) {
    let at = random.usize(..=wire.len());
    let until = at + random.usize(..40).min(wire.len() - at);
    match random.u8(..7) {
        0 if at < wire.len() => wire[at] ^= 1 << random.u8(..8),
        1 if at < wire.len() => wire[at] = [0, 1, 5, 0x7f, 0x80, 0xff][random.usize(..6)],
        2 => drop(wire.drain(at..until)),
        3 => drop(wire.splice(at..at, (0..until - at).map(|_| random.u8(..)))),
        4 => {
            let other = random.choice(messages).expect("there are some");
            let from = random.usize(..other.len());
            drop(wire.splice(at..until, other[from..].iter().copied()));
        }
        5 => wire.extend_from_within(at..until),
        _ => wire.truncate(at),
    }
}
