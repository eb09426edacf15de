//! Messages that stand for the others.

use std::ops::Range;

use streampipe_wire::{Frames, Header, Kind, MAX_PAYLOAD, Totals};

/// A message as bytes.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) wire: Vec<u8>,
    /// Where each frame is in them.
    pub(crate) frames: Vec<Range<usize>>,
}

impl Sample {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), wire: Vec::new(), frames: Vec::new() }
    }

    /// Appends frames; their payload counts up.
    pub(crate) fn push(&mut self, headers: impl IntoIterator<Item = Header>) {
        for header in headers {
            let start = self.wire.len();
            self.wire.extend(header.to_bytes());
            self.wire.extend((0..header.length).map(|at| (at % 251) as u8));
            self.frames.push(start..self.wire.len());
        }
    }

    /// All places in a short message; in a long one, those around the beginnings and ends of frames.
    pub(crate) fn places(&self) -> Vec<usize> {
        let is_near = |at: usize| {
            self.frames.iter().any(|it| at.abs_diff(it.start) < 40 || at.abs_diff(it.end) < 40)
        };
        let all = 0..=self.wire.len();
        all.filter(|&at| self.wire.len() < 2000 || is_near(at)).collect()
    }
}

/// Of each number of bytes and descriptors; withdrawn; with a tail; of several frames that are not full.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    for bytes in [0, 1, 31, u64::from(MAX_PAYLOAD) + 1] {
        for fds in [0, 1, 253, 254, 1000] {
            let mut sample = Sample::new(format!("{bytes} bytes and {fds} descriptors"));
            sample.push(headers(Frames::new(Kind::Request, 7, Totals { bytes, fds })));
            samples.push(sample);
        }
    }
    for (name, bytes, fds) in [("payload", 100_000, 0), ("descriptors", 3, 300)] {
        let mut sample = Sample::new(format!("withdrawn while {name} were due"));
        let begun = headers(Frames::new(Kind::Answer, 9, Totals { bytes, fds }));
        let most = begun.len() - 1;
        sample.push(begun.into_iter().take(most));
        sample.push([Header::new(Kind::Withdrawal, 9)]);
        samples.push(sample);
    }
    let mut sample = Sample::new("with a tail");
    let totals = Totals { bytes: 90, fds: 0 };
    sample.push(headers(Frames::new(Kind::Message, 5, totals).with_tail(8)));
    samples.push(sample);
    let mut sample = Sample::new("in small frames");
    sample.push(in_small_frames(Header::new(Kind::Message, 3), &[5, 1, 40], 255));
    samples.push(sample);
    samples
}

/// Frames of these lengths, and behind them the descriptors: a peer may send less than would fit.
pub(crate) fn in_small_frames(header: Header, lengths: &[u32], fds: u32) -> Vec<Header> {
    let mut rest: u64 = lengths.iter().map(|&it| u64::from(it)).sum();
    let mut headers = Vec::new();
    for &length in lengths {
        rest -= u64::from(length);
        headers.push(Header { length, rest, rest_fds: fds, ..header });
    }
    let mut rest_fds = fds;
    while rest_fds > 0 {
        let fds = rest_fds.min(253);
        rest_fds -= fds;
        headers.push(Header { fds: fds as u16, rest_fds, ..header });
    }
    headers
}

fn headers(frames: Frames) -> Vec<Header> {
    frames.map(|it| it.header).collect()
}
