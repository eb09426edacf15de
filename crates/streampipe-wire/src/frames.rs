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
    ///
    /// For a payload in one slice. In parts it can be longer than any slice, where a `usize` has 32 bits: then this is
    /// beyond any slice, and [`first_byte`](Self::first_byte) says where the frame begins.
    pub bytes: Range<usize>,
    /// Which of the message's descriptors come with the frame.
    pub fds: Range<usize>,
}

impl Frame {
    /// At which byte of the message's payload, of so many in all, the frame begins.
    #[must_use]
    #[inline]
    pub const fn first_byte(&self, total: u64) -> u64 {
        total - self.header.rest - self.header.length as u64
    }
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
    /// The most payload of the last frame.
    tail: u64,
}

impl Frames {
    /// The frames of a message of this size.
    ///
    /// # Panics
    ///
    /// If it is a withdrawal that carries something: no frame can say so.
    #[must_use]
    #[inline]
    pub const fn new(kind: Kind, id: u64, totals: Totals) -> Self {
        let carries_something = totals.bytes > 0 || totals.fds > 0;
        assert!(!matches!(kind, Kind::Withdrawal) || !carries_something, "a withdrawal is empty");
        Self { kind, id, totals, bytes: 0, fds: 0, has_begun: false, tail: u64::MAX }
    }

    /// Makes the last frame with payload one of at most so many bytes, at least 1 (unless there are none), if no
    /// descriptors follow it.
    ///
    /// A sender that may have to give up inside of a frame can then complete it with anything and withdraw the
    /// message, except inside of the last frame; and one that is small enough is taken as a whole or not at all.
    #[must_use]
    #[inline]
    pub const fn with_tail(self, bytes: u32) -> Self {
        let tail = if bytes == 0 { 1 } else { bytes as u64 };
        Self { tail, ..self }
    }

    /// Whether a frame has been taken, and not all of them.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.has_begun && !self.is_done()
    }

    #[inline]
    const fn is_done(&self) -> bool {
        self.has_begun && self.bytes == self.totals.bytes && self.fds == self.totals.fds
    }
}

impl Iterator for Frames {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        if self.is_done() {
            return None;
        }
        let left = self.totals.bytes - self.bytes;
        let left_fds = self.totals.fds - self.fds;
        let keeps_tail = self.totals.fds == 0 && left > self.tail;
        let until = if keeps_tail { left - self.tail } else { left };
        let length = until.min(u64::from(MAX_PAYLOAD));
        // Only behind all of the payload, and never in the first frame.
        let fds = if self.has_begun && length == 0 { left_fds.min(u32::from(MAX_FDS)) } else { 0 };
        let header = Header {
            kind: self.kind,
            fds: fds as u16,
            length: length as u32,
            rest_fds: left_fds - fds,
            rest: left - length,
            id: self.id,
        };
        let frame = Frame {
            header,
            bytes: position(self.bytes)..position(self.bytes + length),
            fds: self.fds as usize..(self.fds + fds) as usize,
        };
        self.bytes += length;
        self.fds += fds;
        self.has_begun = true;
        Some(frame)
    }
}

/// The position as one in a slice.
#[inline]
fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
