use core::ops::Range;

use crate::{Header, Kind, MAX_FDS, MAX_PAYLOAD};

/// How much there is of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The payload in bytes.
    pub bytes: u64,
    /// How many descriptors.
    pub fds: u32,
}

/// One frame of a message: its header, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What goes before the payload.
    pub header: Header,
    /// Which bytes of the message's payload follow the header.
    pub bytes: Range<usize>,
    /// Which of the message's descriptors come with the frame.
    pub fds: Range<usize>,
}

/// Cuts a message into frames: the encoder.
///
/// First the payload, in frames of at most [`MAX_PAYLOAD`] bytes, at least one; then the descriptors, in frames
/// of at most [`MAX_FDS`].
#[derive(Clone, Debug)]
pub struct Frames {
    kind: Kind,
    id: u64,
    totals: Totals,
    /// How much of the payload is in frames already, and whether any frame was made.
    bytes: u64,
    fds: u32,
    has_begun: bool,
    in_file: bool,
}

impl Frames {
    /// The frames of a message whose payload comes with them.
    #[must_use]
    pub const fn new(kind: Kind, id: u64, totals: Totals) -> Self {
        Self { kind, id, totals, bytes: 0, fds: 0, has_begun: false, in_file: false }
    }

    /// The frames of a message whose payload is in a file: the first of its descriptors, which are counted with it.
    #[must_use]
    pub const fn in_file(kind: Kind, id: u64, totals: Totals) -> Self {
        Self { in_file: true, ..Self::new(kind, id, totals) }
    }

    /// Whether a frame has been taken, and not all of them.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.has_begun && !self.is_done()
    }

    const fn is_done(&self) -> bool {
        let payload_is = self.in_file || self.bytes == self.totals.bytes;
        self.has_begun && payload_is && self.fds == self.totals.fds
    }
}

impl Iterator for Frames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.is_done() {
            return None;
        }
        let left = self.totals.bytes - self.bytes;
        let left_fds = self.totals.fds - self.fds;
        let length = if self.in_file { 0 } else { left.min(u64::from(MAX_PAYLOAD)) };
        // Only behind all of the payload, and never in the first frame.
        let fds = if self.has_begun && length == 0 { left_fds.min(u32::from(MAX_FDS)) } else { 0 };
        let file_follows = self.in_file && !self.has_begun;
        let header = Header {
            kind: self.kind,
            in_file: file_follows,
            fds: fds as u16,
            length: length as u32,
            rest_fds: left_fds - fds,
            rest: if self.in_file && !file_follows { 0 } else { left - length },
            id: self.id,
        };
        let frame = Frame {
            header,
            bytes: self.bytes as usize..(self.bytes + length) as usize,
            fds: self.fds as usize..(self.fds + fds) as usize,
        };
        self.bytes += length;
        self.fds += fds;
        self.has_begun = true;
        Some(frame)
    }
}
