//! The peer says how long its messages are; memory is only taken for what has come.

use std::io::Write;

use streampipe::{Budget, Bytes, RawChannel, RecvError, SeqPacket, Stream};
use streampipe_wire::{Header, Kind, MAX_PAYLOAD};

use crate::peak;
use crate::support::tests_alone;

/// The largest message that is taken.
const MOST: usize = 1 << 20;

/// What a frame takes.
const FRAME: usize = MAX_PAYLOAD as usize;

/// A frame that is looked at before it is known where it belongs, and what a channel itself is made of.
const BESIDE: usize = FRAME + (8 << 10);

/// One end writes its own bytes.
enum Peer {
    Packets(SeqPacket),
    Bytes(Stream),
}

impl Peer {
    fn put(&self, header: Header, payload: &[u8]) {
        let frame = [&header.to_bytes()[..], payload].concat();
        match self {
            Self::Packets(end) => assert_eq!(end.send(&frame).expect("room"), frame.len()),
            Self::Bytes(end) => (&mut &*end).write_all(&frame).expect("room"),
        }
    }
}

fn of_each_kind() -> [(Peer, RawChannel); 2] {
    let (a, b) = SeqPacket::pair().expect("a pair");
    let (c, d) = Stream::pair().expect("a pair");
    [(Peer::Packets(a), b.into()), (Peer::Bytes(c), d.into())]
}

fn begin(length: u32, rest: u64, rest_fds: u32) -> Header {
    Header { length, rest, rest_fds, ..Header::new(Kind::Message, 0) }
}

/// Lengths at every bound.
fn lengths() -> [u64; 9] {
    let most = MOST as u64;
    [0, 1, most - 1, most, most + 1, 1 << 31, u32::MAX.into(), 1 << 63, u64::MAX]
}

/// A header that claims one of these, and what really follows.
fn claim(round: usize) -> (Header, &'static [u8]) {
    let lengths = lengths();
    let rest = lengths[round % 9];
    let length = lengths[round / 9 % 9].try_into().unwrap_or(u32::MAX);
    if round % 2 == 0 { (begin(1, rest, 0), b"x") } else { (begin(length, rest, u32::MAX), b"") }
}

/// Memory that comes and goes with the test itself: the frame it makes.
const OWN: usize = 4 << 10;

tests_alone! {
    fn ten_thousand_claims_of_length_cost_no_more_than_two_frames() {
        for round in 0..10_000 {
            for (peer, ours) in of_each_kind() {
                ours.set_budget(Budget::small().message_bytes(MOST as u64));
                let (header, payload) = claim(round);
                let (received, most) = peak(|| {
                    peer.put(header, payload);
                    ours.try_recv()
                });
                let refused = matches!(received, Err(RecvError::Malformed(_) | RecvError::TooLarge(_)));
                let waits = matches!(received, Err(RecvError::Empty)) && header.rest <= MOST as u64;
                let is_whole = received.is_ok() && !header.has_more();
                assert!(refused || waits || is_whole, "{header:?}: {received:?}");
                // Of what is within the budget, the next frame is made room for.
                assert!(most <= BESIDE + FRAME + OWN, "{header:?} cost {most} bytes");
            }
        }
    }

    fn claims_of_one_peer_cost_nothing_however_many() {
        for (peer, ours) in of_each_kind() {
            ours.set_budget(Budget::small().message_bytes(MOST as u64));
            let ((), most) = peak(|| {
                for round in 0..10_000 {
                    // Not malformed, so that the channel goes on.
                    let rest = [1, MOST as u64 - 1, MOST as u64, 1 << 31, 1 << 63][round % 5];
                    peer.put(begin(1, rest, [0, 1, u32::MAX][round % 3]), b"x");
                    peer.put(Header::new(Kind::Withdrawal, 0), b"");
                    while !matches!(ours.try_recv(), Err(RecvError::Empty)) {}
                }
            });
            assert!(most <= BESIDE + FRAME + OWN, "they cost {most} bytes");
        }
    }

    /// The message itself; while it grows by doubling, half as much again; and a frame.
    fn a_message_as_large_as_may_be_costs_no_more_than_half_as_much_again() {
        for (peer, ours) in of_each_kind() {
            ours.set_budget(Budget::small().message_bytes(MOST as u64));
            let payload = vec![7; FRAME];
            let ((), most) = peak(|| {
                for _ in 0..3 {
                    let mut left = MOST;
                    while left > 0 {
                        let length = left.min(FRAME);
                        left -= length;
                        peer.put(begin(length as u32, left as u64, 0), &payload[..length]);
                        let received = ours.try_recv();
                        assert_eq!(received.is_ok(), left == 0, "{received:?}");
                    }
                }
            });
            let frame_of_ours = FRAME + 64;
            assert!(most <= MOST + MOST / 2 + BESIDE + frame_of_ours + OWN, "it cost {most} bytes");
        }
    }

    /// A peer that sends a large message before each small one must not make its receiver keep both.
    fn small_messages_that_are_kept_keep_no_large_memory() {
        for len in [1, 100, 5000, 20_000] {
            for (ours, theirs) in pairs() {
                let (kept, most) = peak(|| -> Vec<Bytes> {
                    let kept = (0..16).map(|_| kept_after_a_large_one(&ours, &theirs, len));
                    kept.collect()
                });
                drop(kept);
                // Four times what they are, or a page; and the large one is there once.
                let small = 16 * (4 * len).max(4096);
                let bound = MOST + MOST / 2 + 3 * BESIDE + small;
                assert!(most <= bound, "16 messages of {len} bytes keep {most}, not {bound}");
            }
        }
    }
}

fn pairs() -> [(RawChannel, RawChannel); 2] {
    let (a, b) = SeqPacket::pair().expect("a pair");
    let (c, d) = Stream::pair().expect("a pair");
    [(a.into(), b.into()), (c.into(), d.into())]
}

fn kept_after_a_large_one(ours: &RawChannel, theirs: &RawChannel, len: usize) -> Bytes {
    static LARGE: [u8; MOST] = [7; MOST];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            ours.send(&LARGE, &[]).expect("room");
            ours.send(&LARGE[..len], &[]).expect("room");
        });
        assert_eq!(theirs.recv().expect("the large one").bytes.len(), MOST);
        theirs.recv().expect("the small one").bytes
    })
}
