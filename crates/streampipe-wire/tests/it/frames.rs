//! The encoder, at the bounds.

use std::panic::catch_unwind;

use streampipe_wire::{Frames, Header, Kind, MAX_FDS, MAX_PAYLOAD, Place, Sequence, Totals};

use crate::oracle::Ledger;

const BYTES: [u64; 10] = {
    let most = MAX_PAYLOAD as u64;
    [0, 1, 31, most - 1, most, most + 1, 2 * most - 1, 2 * most, 2 * most + 1, 9 * most + 5]
};

const FDS: [u32; 11] = {
    let most = MAX_FDS as u32;
    [0, 1, 2, most - 1, most, most + 1, 2 * most - 1, 2 * most, 2 * most + 1, 1000, 10 * most]
};

const TAILS: [u32; 10] = {
    let most = MAX_PAYLOAD;
    [0, 1, 2, 31, 4096, most - 1, most, most + 1, 2 * most + 3, u32::MAX]
};

/// What is read back, is legal where it comes, and adds up until here.
fn check(header: &Header, sequence: &mut Sequence, ledger: &mut Ledger, is_first: bool) {
    assert_eq!(Header::parse(header.to_bytes()), Ok(*header));
    let place = sequence.accept(header).expect("what we send is legal");
    assert_eq!(place, if is_first { Place::First } else { Place::Next });
    ledger.enter(header, place);
}

/// All frames of a message of this size, which are legal and add up; how much payload is in each that has some.
fn check_all(mut frames: Frames, totals: Totals) -> Vec<u32> {
    let (mut sequence, mut ledger) = (Sequence::new(), Ledger::default());
    let (mut bytes, mut fds, mut count) = (0, 0, 0);
    let mut lengths = Vec::new();
    assert!(!frames.is_inside());
    while let Some(frame) = frames.next() {
        check(&frame.header, &mut sequence, &mut ledger, count == 0);
        assert_eq!((frame.bytes.start, frame.bytes.len()), (bytes, frame.header.length as usize));
        assert_eq!(frame.first_byte(totals.bytes), frame.bytes.start as u64);
        assert_eq!((frame.fds.start, frame.fds.len()), (fds, frame.header.fds.into()));
        (bytes, fds, count) = (frame.bytes.end, frame.fds.end, count + 1);
        assert_eq!(frames.is_inside(), frame.header.has_more());
        // Full, if more of the same follows.
        assert!(frame.fds.is_empty() || fds as u32 == totals.fds || frame.header.fds == MAX_FDS);
        lengths.extend((frame.header.length > 0).then_some(frame.header.length));
    }
    assert!(ledger.is_settled() && !sequence.is_inside() && !frames.is_inside());
    assert_eq!((bytes as u64, fds as u32), (totals.bytes, totals.fds));
    assert_eq!(count, lengths.len().max(1) + totals.fds.div_ceil(MAX_FDS.into()) as usize);
    assert_eq!(frames.next(), None);
    lengths
}

#[test]
fn frames_of_any_size_are_legal_and_add_up() {
    for bytes in BYTES {
        for fds in FDS {
            let totals = Totals { bytes, fds };
            let lengths = check_all(Frames::new(Kind::Request, 4, totals), totals);
            assert_eq!(lengths.len() as u64, bytes.div_ceil(MAX_PAYLOAD.into()));
            let before = lengths.split_last().map_or(&[][..], |(_, before)| before);
            assert!(before.iter().all(|&it| it == MAX_PAYLOAD), "{lengths:?}");
        }
    }
}

/// Sizes at the bounds, and those at which one more frame is needed for a tail.
fn sizes_around(tail: u32) -> impl Iterator<Item = u64> {
    let full = (0..4).map(|count| count * u64::from(MAX_PAYLOAD));
    let around = full.map(move |full| full + u64::from(tail.min(3 * MAX_PAYLOAD)));
    BYTES.into_iter().chain(around.flat_map(|it| [it.saturating_sub(1), it, it + 1]))
}

#[test]
fn frames_with_a_tail_are_legal_and_add_up() {
    for tail in TAILS {
        for bytes in sizes_around(tail) {
            let totals = Totals { bytes, fds: 0 };
            let lengths = check_all(Frames::new(Kind::Request, 4, totals).with_tail(tail), totals);
            assert!(lengths.iter().all(|it| (1..=MAX_PAYLOAD).contains(it)), "{lengths:?}");
            let tail = tail.max(1);
            assert!(lengths.last().is_none_or(|&last| last <= tail), "{tail}: {lengths:?}");
            // As few as there can be, in front of the tail and in it.
            let in_tail = bytes.min(tail.into());
            let fewest = [bytes - in_tail, in_tail].map(|it| it.div_ceil(MAX_PAYLOAD.into()));
            assert_eq!(lengths.len() as u64, fewest[0] + fewest[1], "{tail}: {lengths:?}");
        }
    }
}

#[test]
fn a_tail_of_nothing_is_one_of_a_byte() {
    for bytes in sizes_around(1) {
        let frames = Frames::new(Kind::Message, 4, Totals { bytes, fds: 0 });
        // A wrong one could go on for ever.
        let nothing = frames.clone().with_tail(0).take(20);
        assert_eq!(nothing.clone().last().map(|it| it.header.length), Some((bytes > 0).into()));
        assert!(nothing.eq(frames.with_tail(1).take(20)), "{bytes}");
    }
}

#[test]
fn a_tail_that_descriptors_follow_changes_nothing() {
    for tail in TAILS {
        for bytes in sizes_around(tail) {
            for fds in FDS.into_iter().filter(|&it| it > 0) {
                let frames = Frames::new(Kind::Answer, 4, Totals { bytes, fds });
                assert!(frames.clone().with_tail(tail).eq(frames), "{tail}: {bytes} and {fds}");
            }
        }
    }
}

#[test]
fn the_largest_totals_do_not_overflow() {
    for bytes in [u64::MAX, u64::MAX - 1, u64::MAX - u64::from(MAX_PAYLOAD), 1 << 63, 1 << 33] {
        for fds in [0, 1, u32::MAX - 1, u32::MAX] {
            let frames = Frames::new(Kind::Answer, u64::MAX, Totals { bytes, fds });
            check_first_five(frames.clone(), bytes, fds);
            for tail in TAILS {
                check_first_five(frames.clone().with_tail(tail), bytes, fds);
            }
        }
    }
}

fn check_first_five(frames: Frames, bytes: u64, fds: u32) {
    let (mut sequence, mut ledger) = (Sequence::new(), Ledger::default());
    let mut taken = 0;
    for (at, frame) in frames.take(5).enumerate() {
        check(&frame.header, &mut sequence, &mut ledger, at == 0);
        taken += u64::from(frame.header.length);
        assert_eq!(frame.header.rest, bytes - taken);
        assert_eq!((frame.header.rest_fds, frame.fds), (fds, 0..0));
    }
    assert_eq!(taken, 5 * u64::from(MAX_PAYLOAD));
}

#[test]
fn the_most_descriptors_do_not_overflow() {
    let totals = Totals { bytes: 1, fds: u32::MAX };
    let (mut sequence, mut ledger) = (Sequence::new(), Ledger::default());
    let mut fds = 0;
    for (at, frame) in Frames::new(Kind::Message, 0, totals).take(1000).enumerate() {
        check(&frame.header, &mut sequence, &mut ledger, at == 0);
        fds += u32::from(frame.header.fds);
        assert_eq!(frame.header.rest_fds, u32::MAX - fds);
    }
    assert_eq!(fds, 999 * 253);
}

#[test]
fn a_withdrawal_that_carries_something_is_not_encoded() {
    let nothing = Totals { bytes: 0, fds: 0 };
    assert_eq!(Frames::new(Kind::Withdrawal, 1, nothing).count(), 1);
    for (bytes, fds) in [(1, 0), (0, 1), (u64::MAX, u32::MAX)] {
        let frames = || Frames::new(Kind::Withdrawal, 1, Totals { bytes, fds });
        catch_unwind(frames).expect_err("a withdrawal that carries something");
    }
}
