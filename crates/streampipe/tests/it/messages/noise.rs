//! Random and half-right bytes, in pieces of any size, with descriptors where it pleases.

use std::os::fd::BorrowedFd;

use fastrand::Rng;
use streampipe::{Budget, RawChannel, RecvError};
use streampipe_wire::{Header, Kind};

use super::peer::{Files, Peer, pieces};
use crate::engines::tests_of_engines;
use crate::support::Descriptors;

const PIECES: usize = 100_000;

/// What was received until the end of each channel, so that it can be told whether anything was tested.
#[derive(Debug, Default)]
struct Tally {
    pieces: usize,
    messages: usize,
    descriptors: usize,
    malformed: usize,
    unexpected: usize,
    too_large: usize,
    torn: usize,
}

impl Tally {
    /// Receives all there is; whether there can be more.
    fn drain(&mut self, ours: &RawChannel, budget_fds: usize) -> bool {
        loop {
            match ours.try_recv() {
                Ok(message) => {
                    assert!(message.fds.len() <= budget_fds, "beyond the budget");
                    assert!(message.bytes.len() <= MOST_BYTES, "beyond the budget");
                    self.messages += 1;
                    self.descriptors += message.fds.len();
                }
                Err(RecvError::Empty) => return true,
                Err(RecvError::TooLarge(_)) => self.too_large += 1,
                Err(RecvError::Malformed(_)) => break self.malformed += 1,
                Err(RecvError::UnexpectedFds { .. }) => break self.unexpected += 1,
                Err(RecvError::Torn(_)) => break self.torn += 1,
                // Of requests, which nobody here takes.
                Err(RecvError::Closed | RecvError::Unclaimed { .. }) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        false
    }
}

const MOST_BYTES: usize = 5000;

fn number(random: &mut Rng) -> u32 {
    let near = [0, 1, 2, 16, 17, 253, 254, 5000, 5001, 73_728, 73_729, 1 << 31, u32::MAX];
    if random.bool() { near[random.usize(..near.len())] } else { random.u32(..40) }
}

fn header(random: &mut Rng) -> Header {
    let kinds = [Kind::Message, Kind::Request, Kind::Answer, Kind::NoAnswer, Kind::Withdrawal];
    let kind = if random.u8(..4) > 0 { Kind::Message } else { kinds[random.usize(..5)] };
    let rest = if random.u8(..8) == 0 { random.u64(..) } else { number(random).into() };
    let fds = if random.bool() { 0 } else { number(random) as u16 };
    let rest_fds = if random.bool() { 0 } else { number(random) };
    let length = random.u32(..40);
    Header { kind, id: u64::from(random.u8(..20) == 0), fds, length, rest, rest_fds }
}

/// Something that could be frames, and with how many descriptors.
fn noise(random: &mut Rng) -> Vec<(Vec<u8>, usize)> {
    match random.u8(..10) {
        0 => vec![((0..random.usize(1..80)).map(|_| random.u8(..)).collect(), 0)],
        1 | 2 => {
            let header = header(random);
            let mut bytes = header.to_bytes().to_vec();
            bytes.resize(bytes.len() + header.length as usize, 1);
            vec![(bytes, header.fds.min(253).into())]
        }
        _ => {
            let len = [0, 1, 32, 33, 2000, 5000, 5001][random.usize(..7)];
            let fds = [0, 0, 0, 0, 1, 3, 16, 17][random.usize(..8)]
                + 237 * usize::from(random.u8(..60) == 0);
            let whole = pieces(&vec![2; len], fds);
            whole.into_iter().map(|piece| (piece.bytes, piece.fds.len())).collect()
        }
    }
}

/// Makes some of it wrong.
fn spoil(random: &mut Rng, (bytes, fds): &mut (Vec<u8>, usize)) {
    match random.u8(..60) {
        0 => bytes.truncate(random.usize(1..=bytes.len())),
        1 => bytes.extend((0..random.usize(1..50)).map(|_| 3)),
        2 => {
            let at = random.usize(..bytes.len().min(40));
            bytes[at] ^= 1 << random.u8(..8);
        }
        3 => *fds = [0, 1, 2, 253][random.usize(..4)],
        _ => {}
    }
}

/// Sends it, cut where bytes follow each other.
fn put(random: &mut Rng, peer: &Peer, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let cut = if peer.is_stream() && random.u8(..4) == 0 { random.usize(..bytes.len()) } else { 0 };
    let (begin, end) = bytes.split_at(cut);
    if begin.is_empty() {
        peer.put(end, fds);
    } else {
        peer.put(begin, fds);
        peer.put(end, &[]);
    }
}

/// One channel until it has had enough.
fn one_channel(seed: u64, files: &Files, tally: &mut Tally) {
    let mut random = Rng::with_seed(seed);
    let mut each = Peer::of_each_kind();
    let (peer, ours) = each.swap_remove(random.usize(..each.len()));
    ours.set_budget(Budget::small().message_bytes(MOST_BYTES as u64).message_fds(16));
    for _ in 0..random.u8(1..30) {
        for mut piece in noise(&mut random) {
            spoil(&mut random, &mut piece);
            tally.pieces += 1;
            let first = random.usize(..24);
            put(&mut random, &peer, &piece.0, &files.some(first, piece.1));
            if random.u8(..3) > 0 && !tally.drain(&ours, 16) {
                return;
            }
        }
        if !tally.drain(&ours, 16) {
            return;
        }
    }
    drop(peer);
    assert!(!tally.drain(&ours, 16), "seed {seed}: no end");
}

tests_of_engines! {
    fn a_hundred_thousand_random_pieces_are_errors_or_messages() {
        let files = Files::new();
        let before = Descriptors::now();
        let mut tally = Tally::default();
        let mut seed = 0;
        while tally.pieces < PIECES {
            one_channel(seed, &files, &mut tally);
            if seed % 500 == 0 {
                assert_eq!(Descriptors::now(), before, "seed {seed}");
            }
            seed += 1;
        }
        let Tally { messages, descriptors, malformed, unexpected, too_large, torn, .. } = tally;
        let least = [messages, descriptors, malformed, unexpected, too_large, torn].into_iter().min();
        assert!(least >= Some(10), "hardly anything was tested: {tally:?}");
    }
}
