//! A stream cut at every byte: where a piece ends means nothing.
//!
//! The peer writes by hand. Descriptors ride on the first byte of the frame that brings them, wherever that frame is
//! cut after it.

use std::os::fd::BorrowedFd;

use streampipe::{Engine, RawChannel, RecvError};
use streampipe_wire::{MAX_PAYLOAD, Torn};

use super::peer::{
    Files, HEADER, Peer, are_same, expect_closed, expect_message, expect_nothing, pieces,
};
use crate::engines::{engine, tests_of_engines};
use crate::support::Descriptors;

/// A message by its size: which payload and which descriptors it has follows from its place.
#[derive(Clone, Copy, Debug)]
struct Shape {
    len: usize,
    fds: usize,
}

impl Shape {
    fn payload(self, place: usize) -> Vec<u8> {
        (0..self.len).map(|at| (at * 7 + place) as u8).collect()
    }

    fn fds(self, place: usize, files: &Files) -> Vec<BorrowedFd<'_>> {
        files.some(5 * place, self.fds)
    }
}

const PLAIN: Shape = Shape { len: 9, fds: 0 };
const WITH_FDS: Shape = Shape { len: 5, fds: 2 };
const FDS_ALONE: Shape = Shape { len: 0, fds: 1 };
const EMPTY: Shape = Shape { len: 0, fds: 0 };
const MANY: Shape = Shape { len: 1, fds: 300 };

/// Messages behind each other, as bytes, and at which byte which descriptors must be sent.
struct Wire<'files> {
    files: &'files Files,
    bytes: Vec<u8>,
    fds: Vec<(usize, Vec<BorrowedFd<'files>>)>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// Where each frame begins, and its length.
    frames: Vec<(usize, usize)>,
}

impl<'files> Wire<'files> {
    fn of(shapes: &[Shape], files: &'files Files) -> Self {
        let (bytes, fds, ends, frames) = Default::default();
        let mut wire = Self { files, bytes, fds, ends, frames };
        for (place, shape) in shapes.iter().enumerate() {
            let fds = shape.fds(place, files);
            for piece in pieces(&shape.payload(place), shape.fds) {
                let at = wire.bytes.len();
                wire.frames.push((at, piece.bytes.len()));
                if !piece.fds.is_empty() {
                    wire.fds.push((at, fds[piece.fds].to_vec()));
                }
                wire.bytes.extend(piece.bytes);
            }
            wire.ends.push(wire.bytes.len());
        }
        wire
    }

    /// Sends one range, in as few pieces as the descriptors allow.
    fn put(&self, peer: &Peer, range: std::ops::Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let here = self.fds.iter().find(|it| it.0 == at).map_or(&[][..], |it| &it.1);
            let next = self.fds.iter().map(|it| it.0).find(|&it| it > at).unwrap_or(range.end);
            let end = next.min(range.end);
            peer.put(&self.bytes[at..end], here);
            at = end;
        }
    }

    /// What the end of the stream behind so many bytes is called.
    fn end_at(&self, at: usize) -> Option<Torn> {
        if at == 0 || self.ends.contains(&at) {
            return None;
        }
        let (begin, len) = *self.frames.iter().rfind(|it| it.0 <= at).expect("not the beginning");
        let have = at - begin;
        let need = if have < HEADER { HEADER } else { len };
        Some(Torn { have: have as u64, need: need as u64 })
    }
}

/// Receives the messages of a wire, as soon as each is there and not before.
struct Reader<'test> {
    ours: &'test RawChannel,
    wire: &'test Wire<'test>,
    shapes: &'test [Shape],
    received: usize,
}

impl<'test> Reader<'test> {
    fn new(ours: &'test RawChannel, wire: &'test Wire<'test>, shapes: &'test [Shape]) -> Self {
        Self { ours, wire, shapes, received: 0 }
    }

    fn receive_until(&mut self, at: usize) {
        while self.wire.ends.get(self.received).is_some_and(|&end| end <= at) {
            let shape = self.shapes[self.received];
            expect_message(
                self.ours,
                &shape.payload(self.received),
                &shape.fds(self.received, self.wire.files),
            );
            self.received += 1;
        }
        expect_nothing(self.ours);
    }
}

/// Every way in which messages of different kinds follow each other.
fn neighbours() -> Vec<Vec<Shape>> {
    vec![
        vec![PLAIN, WITH_FDS, PLAIN],
        vec![WITH_FDS, WITH_FDS],
        vec![FDS_ALONE, FDS_ALONE, PLAIN],
        vec![EMPTY, WITH_FDS, EMPTY, FDS_ALONE, EMPTY],
        vec![PLAIN, MANY, PLAIN],
    ]
}

tests_of_engines! {
    fn a_stream_cut_at_any_byte_carries_the_same_messages() {
        let files = Files::new();
        for shapes in neighbours() {
            let wire = Wire::of(&shapes, &files);
            for cut in 0..=wire.bytes.len() {
                let (peer, ours) = Peer::of_bytes();
                let mut reader = Reader::new(&ours, &wire, &shapes);
                wire.put(&peer, 0..cut);
                reader.receive_until(cut);
                wire.put(&peer, cut..wire.bytes.len());
                reader.receive_until(wire.bytes.len());
                drop(peer);
                expect_closed(&ours);
            }
        }
    }

    fn a_stream_that_comes_byte_by_byte_carries_the_same_messages() {
        let files = Files::new();
        for shapes in neighbours() {
            let wire = Wire::of(&shapes, &files);
            let (peer, ours) = Peer::of_bytes();
            let mut reader = Reader::new(&ours, &wire, &shapes);
            for at in 0..wire.bytes.len() {
                wire.put(&peer, at..at + 1);
                reader.receive_until(at + 1);
            }
            // And all of them before the first receive.
            (0..wire.bytes.len().min(200)).for_each(|at| wire.put(&peer, at..at + 1));
            wire.put(&peer, wire.bytes.len().min(200)..wire.bytes.len());
            Reader::new(&ours, &wire, &shapes).receive_until(wire.bytes.len());
        }
    }

    fn a_stream_cut_at_random_carries_the_same_messages() {
        let files = Files::new();
        let all = [PLAIN, WITH_FDS, FDS_ALONE, EMPTY, MANY, Shape { len: 6000, fds: 1 }];
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let shapes: Vec<_> = (0..random.usize(1..8)).map(|_| all[random.usize(..6)]).collect();
            let wire = Wire::of(&shapes, &files);
            let (peer, ours) = Peer::of_bytes();
            let mut reader = Reader::new(&ours, &wire, &shapes);
            let mut at = 0;
            while at < wire.bytes.len() {
                let most = [2, 40, 100, 20_000][random.usize(..4)];
                let until = wire.bytes.len().min(at + random.usize(1..most));
                wire.put(&peer, at..until);
                at = until;
                if random.bool() {
                    reader.receive_until(at);
                }
            }
            reader.receive_until(at);
            assert_eq!(reader.received, shapes.len(), "seed {seed}");
        }
    }

    fn an_end_at_any_byte_is_told_with_its_place_and_leaves_no_descriptor() {
        let files = Files::new();
        for shapes in neighbours() {
            let wire = Wire::of(&shapes, &files);
            for cut in 0..=wire.bytes.len() {
                end_behind(&wire, &shapes, cut);
            }
        }
    }

    fn an_end_inside_of_a_long_message_is_told_with_its_place() {
        let files = Files::new();
        let most = MAX_PAYLOAD as usize;
        let shapes = [Shape { len: 2 * most + 100, fds: 254 }];
        let wire = Wire::of(&shapes, &files);
        let frames = wire.frames.iter().map(|it| it.0).chain([wire.bytes.len()]);
        for around in frames.flat_map(|at| [0, 1, 2, HEADER, HEADER + 1].map(|more| at + more)) {
            for cut in [around, around.saturating_sub(HEADER)] {
                end_behind(&wire, &shapes, cut.min(wire.bytes.len()));
            }
        }
    }

    fn descriptors_that_come_in_time_for_their_header_are_taken_and_later_ones_never() {
        let files = Files::new();
        let (fds, others) = (files.some(0, 2), files.some(7, 2));
        let [begin, bring] = <[_; 2]>::try_from(pieces(b"text", 2)).ok().expect("two frames");
        for cut in 1..HEADER {
            // The kernel glues bytes without descriptors to those with; a ring knows better.
            let (mut peer, mut ours) = Peer::of_bytes();
            peer.put(&begin.bytes, &[]);
            peer.put(&bring.bytes[..cut], &[]);
            peer.put(&bring.bytes[cut..], &fds);
            if engine() == Engine::Socket {
                expect_message(&ours, b"text", &fds);
            } else {
                expect_none_came(&ours);
                (peer, ours) = Peer::of_bytes();
            }
            // What comes after the first byte was seen is not asked for.
            peer.put(&begin.bytes, &[]);
            peer.put(&bring.bytes[..cut], &fds);
            expect_nothing(&ours);
            peer.put(&bring.bytes[cut..], &others);
            let received = ours.try_recv();
            let unexpected = matches!(received, Err(RecvError::UnexpectedFds { due: 2, came: 2 }));
            assert!(unexpected, "{received:?}");
            let (peer, ours) = Peer::of_bytes();
            peer.put(&begin.bytes, &[]);
            peer.put(&bring.bytes[..cut], &[]);
            expect_nothing(&ours);
            peer.put(&bring.bytes[cut..], &fds);
            expect_none_came(&ours);
        }
    }
}

/// The two descriptors that are due were not sent with the first byte of their frame.
fn expect_none_came(ours: &RawChannel) {
    let received = ours.try_recv();
    let unexpected = matches!(received, Err(RecvError::UnexpectedFds { due: 2, came: 0 }));
    assert!(unexpected, "{received:?}");
}

/// The stream ends behind so many bytes: whole messages, then how the last was torn, then the end.
fn end_behind(wire: &Wire<'_>, shapes: &[Shape], cut: usize) {
    let before = Descriptors::now();
    let (peer, ours) = Peer::of_bytes();
    wire.put(&peer, 0..cut);
    for (place, shape) in shapes.iter().enumerate().filter(|it| wire.ends[it.0] <= cut) {
        let message = ours.try_recv().expect("a whole message");
        assert!(message.bytes == shape.payload(place), "byte {cut}");
        assert!(are_same(&message.fds, &shape.fds(place, wire.files)), "byte {cut}");
    }
    drop(peer);
    if let Some(torn) = wire.end_at(cut) {
        let received = ours.try_recv();
        assert!(matches!(received, Err(RecvError::Torn(it)) if it == torn), "{torn}: {received:?}");
    }
    for _ in 0..2 {
        expect_closed(&ours);
    }
    let left = Descriptors::now().count() - before.count();
    assert_eq!(left, 1, "our end alone is open, after a message was torn at byte {cut}");
}
