//! What a header claims costs nothing (promise P8).

use std::hint::black_box;

use fastrand::Rng;
use streampipe_wire::{
    Decoder, Frames, HEADER_LEN, Header, Kind, MAX_FDS, MAX_PAYLOAD, Sequence, Totals, parse_packet,
};

use crate::counting::allocations;

const KINDS: [Kind; 5] =
    [Kind::Message, Kind::Request, Kind::Answer, Kind::NoAnswer, Kind::Withdrawal];

/// 0, 1, the most, one more, and what overflows, in each field that claims something.
fn claim(random: &mut Rng) -> Header {
    let most = u64::from(MAX_PAYLOAD);
    let length = [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 1 << 31, u32::MAX];
    let fds = [0, 1, MAX_FDS, MAX_FDS + 1, 1 << 15, u16::MAX];
    let rest_fds = [0, 1, MAX_FDS.into(), u32::from(MAX_FDS) + 1, 1 << 31, u32::MAX];
    let rest = [0, 1, most, most + 1, 1 << 31, u32::MAX.into(), u64::MAX - most, u64::MAX];
    Header {
        kind: KINDS[random.usize(..KINDS.len())],
        fds: if random.bool() { 0 } else { fds[random.usize(..fds.len())] },
        length: length[random.usize(..length.len())],
        rest_fds: rest_fds[random.usize(..rest_fds.len())],
        rest: rest[random.usize(..rest.len())],
        id: random.u64(..),
    }
}

/// All of the crate that sees what a peer claims; returns whether the claim was accepted.
fn hear(bytes: [u8; HEADER_LEN], payload: &[u8]) -> bool {
    let mut decoder = Decoder::new();
    for mut input in [&bytes[..5], &bytes[5..], payload] {
        while let Ok(Some(event)) = decoder.next(&mut input) {
            black_box(event);
        }
    }
    black_box((decoder.finish(), decoder.want(), decoder.fds_due(), decoder.is_inside())).0.ok();
    black_box(parse_packet(&bytes)).ok();
    let Ok(header) = Header::parse(bytes) else { return false };
    black_box(Sequence::new().accept(&header)).is_ok()
}

/// The first frames of as much as was claimed.
fn cut(header: &Header) {
    let bytes = header.rest.saturating_add(header.length.into());
    let totals = Totals { bytes, fds: header.rest_fds };
    let kind = if header.kind == Kind::Withdrawal { Kind::Message } else { header.kind };
    let frames = Frames::new(kind, 1, totals);
    assert!(black_box(frames.take(5).last()).is_some());
}

#[test]
fn no_claim_of_a_peer_allocates() {
    let mut random = Rng::with_seed(8);
    let claims: Vec<Header> = (0..10_000).map(|_| claim(&mut random)).collect();
    let payload = vec![0; 100];
    let mut accepted = 0;
    let count = allocations(|| {
        for header in &claims {
            accepted += usize::from(hear(header.to_bytes(), &payload));
            cut(header);
        }
    });
    assert_eq!(count, 0);
    assert!((500..9500).contains(&accepted), "{accepted} of 10000 were accepted");
}

#[test]
fn an_allocation_would_be_counted() {
    let count = allocations(|| {
        for len in [1, 100, 10_000] {
            black_box(Vec::<u8>::with_capacity(len));
        }
    });
    assert_eq!(count, 3);
}
