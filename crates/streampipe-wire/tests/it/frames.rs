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

/// What is read back, is legal where it comes, and adds up until here.
fn check(header: &Header, sequence: &mut Sequence, ledger: &mut Ledger, is_first: bool) {
    assert_eq!(Header::parse(header.to_bytes()), Ok(*header));
    let place = sequence.accept(header).expect("what we send is legal");
    assert_eq!(place, if is_first { Place::First } else { Place::Next });
    ledger.enter(header, place);
}

/// All frames of a message of this size.
fn check_all(mut frames: Frames, totals: Totals) {
    let (mut sequence, mut ledger) = (Sequence::new(), Ledger::default());
    let (mut bytes, mut fds, mut count) = (0, 0, 0);
    assert!(!frames.is_inside());
    while let Some(frame) = frames.next() {
        check(&frame.header, &mut sequence, &mut ledger, count == 0);
        assert_eq!((frame.bytes.start, frame.bytes.len()), (bytes, frame.header.length as usize));
        assert_eq!((frame.fds.start, frame.fds.len()), (fds, frame.header.fds.into()));
        (bytes, fds, count) = (frame.bytes.end, frame.fds.end, count + 1);
        assert_eq!(frames.is_inside(), frame.header.has_more());
        // Full, if more of the same follows.
        let all_payload = bytes as u64 == totals.bytes;
        assert!(all_payload || frame.header.length == MAX_PAYLOAD);
        assert!(frame.fds.is_empty() || fds as u32 == totals.fds || frame.header.fds == MAX_FDS);
    }
    assert!(ledger.is_settled() && !sequence.is_inside() && !frames.is_inside());
    assert_eq!((bytes as u64, fds as u32), (totals.bytes, totals.fds));
    let fewest = totals.bytes.div_ceil(MAX_PAYLOAD.into()).max(1);
    assert_eq!(count, fewest + u64::from(totals.fds.div_ceil(MAX_FDS.into())));
    assert_eq!(frames.next(), None);
}

#[test]
fn frames_of_any_size_are_legal_and_add_up() {
    for bytes in BYTES {
        for fds in FDS {
            let totals = Totals { bytes, fds };
            check_all(Frames::new(Kind::Request, 4, totals), totals);
        }
    }
}

#[test]
fn the_largest_totals_do_not_overflow() {
    for bytes in [u64::MAX, u64::MAX - 1, u64::MAX - u64::from(MAX_PAYLOAD), 1 << 63, 1 << 32] {
        for fds in [0, 1, u32::MAX - 1, u32::MAX] {
            let (mut sequence, mut ledger) = (Sequence::new(), Ledger::default());
            let mut taken = 0;
            let frames = Frames::new(Kind::Answer, u64::MAX, Totals { bytes, fds });
            for (at, frame) in frames.take(5).enumerate() {
                check(&frame.header, &mut sequence, &mut ledger, at == 0);
                taken += u64::from(frame.header.length);
                assert_eq!(frame.header.rest, bytes - taken);
                assert_eq!((frame.header.rest_fds, frame.fds), (fds, 0..0));
            }
            assert_eq!(taken, 5 * u64::from(MAX_PAYLOAD));
        }
    }
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
