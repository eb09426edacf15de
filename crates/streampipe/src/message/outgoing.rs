//! How a message goes out: frame by frame, and back if it cannot.
//!
//! Rules of this file:
//!
//! 1. A message goes out whole, or the peer is told that it is withdrawn and hands nothing of it over.
//! 2. Descriptors go with the first byte of their frame, once.
//! 3. A send that may give up early makes its last frame small enough to be taken as a whole or not at all: up to
//!    there everything can be withdrawn. A frame that was begun is completed with zeros then.
//! 4. What is owed of an earlier message goes first.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use streampipe_sys::process::own_id;
use streampipe_wire::{Frames, HEADER_LEN, Header, Kind, Totals};

use super::carrier::{Carrier, Carries};
use crate::FdError;
use crate::end::Waiting;

/// Up to this size header and payload are copied together: cheaper than a send from two places (measured: 3 % of a
/// round trip up to 4 KiB, the other way round from 16 KiB on).
const SMALL: usize = 4096 + HEADER_LEN;

/// Fewer parts than this are listed without an allocation: a value with one payload that is not copied has three.
const FEW: usize = 4;

/// A frame with so much payload is taken as a whole: the kernel puts it into one buffer, even of the smallest
/// socket (`SO_SNDBUF` 4,608), and a pipe takes 4,096 bytes at once.
const TAIL: u32 = 1024;

const ZEROS: [u8; 4096] = [0; 4096];

/// The state between two sends.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    owed: Option<Owed>,
    small: Vec<u8>,
}

/// What must be said before anything else can be.
#[derive(Debug)]
struct Owed {
    /// The frame that was begun.
    header: [u8; HEADER_LEN],
    /// How much of it was sent, and how much there is.
    sent: usize,
    len: usize,
    /// Withdraws its message, if it has to be.
    withdrawal: Option<[u8; HEADER_LEN]>,
    /// The process that owes it; a fork of it has a copy, and does not.
    owner: u32,
}

/// What a message consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound<'message> {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// The payload, in order.
    pub(crate) parts: &'message [&'message [u8]],
    pub(crate) fds: &'message [BorrowedFd<'message>],
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Posting {
    frames: Frames,
    frame: Option<Begun>,
    id: u64,
    has_begun: bool,
}

/// The frame that is being sent.
#[derive(Debug)]
struct Begun {
    header: Header,
    bytes: Range<usize>,
    fds: Range<usize>,
    sent: usize,
}

impl Outbound<'_> {
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl Posting {
    pub(super) fn new(message: &Outbound<'_>, carries: Carries, waiting: Waiting) -> Self {
        let fds = u32::try_from(message.fds.len()).unwrap_or(u32::MAX);
        let totals = Totals { bytes: message.len() as u64, fds };
        let frames = Frames::new(message.kind, message.id, totals);
        let gives_up = carries == Carries::Bytes && waiting != Waiting::Forever;
        let frames = if gives_up { frames.with_tail(TAIL) } else { frames };
        Self { frames, frame: None, id: message.id, has_begun: false }
    }

    /// Sends what is left. After `WouldBlock` it can be called again, with the same message.
    pub(super) fn advance(
        &mut self,
        carrier: &Carrier,
        outgoing: &mut Outgoing,
        message: &Outbound<'_>,
        waiting: Waiting,
    ) -> io::Result<()> {
        if !self.has_begun {
            outgoing.settle(carrier, waiting)?;
        }
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.frames.next() {
                    Some(frame) => {
                        Begun { header: frame.header, bytes: frame.bytes, fds: frame.fds, sent: 0 }
                    }
                    None => return Ok(()),
                },
            };
            let frame = self.frame.insert(frame);
            let sent = frame.send(carrier, outgoing, message, waiting);
            frame.sent += sent.map_err(|error| placed(error, frame.fds.start))?;
            self.has_begun = true;
            if frame.sent == frame.len() {
                self.frame = None;
            } else if waiting.is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Gives up: what was sent of the message is withdrawn, with the next send if not now.
    pub(super) fn withdraw(self, carrier: &Carrier, outgoing: &mut Outgoing) {
        let Self { frame, id, has_begun, .. } = self;
        if !has_begun {
            return;
        }
        let withdrawal = Header::new(Kind::Withdrawal, id).to_bytes();
        let begun = frame.filter(|frame| frame.sent > 0);
        outgoing.owed = Some(match begun {
            // The last frame: it cannot be completed with anything but the message, which was not sent.
            Some(frame) if !frame.header.has_more() => {
                let _ = carrier.end.shutdown(Shutdown::Write);
                return;
            }
            Some(frame) => Owed {
                header: frame.header.to_bytes(),
                sent: frame.sent,
                len: frame.len(),
                withdrawal: Some(withdrawal),
                owner: own_id(),
            },
            None => Owed {
                header: withdrawal,
                sent: 0,
                len: HEADER_LEN,
                withdrawal: None,
                owner: own_id(),
            },
        });
        let _ = outgoing.settle(carrier, Waiting::Never);
    }
}

impl Begun {
    fn len(&self) -> usize {
        HEADER_LEN + self.bytes.len()
    }

    fn send(
        &self,
        carrier: &Carrier,
        outgoing: &mut Outgoing,
        message: &Outbound<'_>,
        waiting: Waiting,
    ) -> io::Result<usize> {
        let header = self.header.to_bytes();
        let unsent_header = &header[self.sent.min(HEADER_LEN)..];
        let from = self.bytes.start + self.sent.saturating_sub(HEADER_LEN);
        let payload = from..self.bytes.end;
        let fds = if self.sent == 0 { &message.fds[self.fds.clone()] } else { &[] };
        if fds.is_empty() && self.len() <= SMALL {
            let small = &mut outgoing.small;
            small.clear();
            small.extend_from_slice(unsent_header);
            for part in cut(message.parts, payload) {
                small.extend_from_slice(part);
            }
            return carrier.send(&[IoSlice::new(small)], fds, waiting);
        }
        if let [payload_part] = message.parts {
            let parts = [IoSlice::new(unsent_header), IoSlice::new(&payload_part[payload])];
            return carrier.send(&parts, fds, waiting);
        }
        if message.parts.len() < FEW {
            let mut few = [IoSlice::new(&[]); FEW];
            few[0] = IoSlice::new(unsent_header);
            let mut count = 1;
            for part in cut(message.parts, payload) {
                few[count] = IoSlice::new(part);
                count += 1;
            }
            return carrier.send(&few[..count], fds, waiting);
        }
        let mut parts = vec![IoSlice::new(unsent_header)];
        parts.extend(cut(message.parts, payload).map(IoSlice::new));
        carrier.send(&parts, fds, waiting)
    }
}

/// An error about a frame's descriptor, with its place among the message's.
fn placed(error: io::Error, first: usize) -> io::Error {
    match error.get_ref().and_then(|inside| inside.downcast_ref()) {
        Some(FdError::OverItself { index }) => FdError::OverItself { index: first + index }.into(),
        _ => error,
    }
}

/// The parts of the parts that make up this range of the whole.
fn cut<'parts>(
    parts: &'parts [&'parts [u8]],
    range: Range<usize>,
) -> impl Iterator<Item = &'parts [u8]> {
    let mut before = 0;
    parts.iter().filter_map(move |part| {
        let start = range.start.clamp(before, before + part.len()) - before;
        let end = range.end.clamp(before, before + part.len()) - before;
        before += part.len();
        (start < end).then(|| &part[start..end])
    })
}

impl Outgoing {
    pub(super) fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// Sends what is owed before the end, if that takes no waiting and it is this process that owes it.
    pub(super) fn settle_at_the_end(&mut self, carrier: &Carrier) {
        if self.owed.as_ref().is_some_and(|owed| owed.owner == own_id()) {
            let _ = self.settle(carrier, Waiting::Never);
        }
    }

    /// Sends what is owed.
    fn settle(&mut self, carrier: &Carrier, waiting: Waiting) -> io::Result<()> {
        while let Some(owed) = &mut self.owed {
            while owed.sent < owed.len {
                let zeros = (owed.len - owed.sent.max(HEADER_LEN)).min(ZEROS.len());
                let header = &owed.header[owed.sent.min(HEADER_LEN)..];
                let parts = [IoSlice::new(header), IoSlice::new(&ZEROS[..zeros])];
                owed.sent += carrier.send(&parts, &[], waiting)?;
                if owed.sent < owed.len && waiting.is_over() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            self.owed = owed.withdrawal.take().map(|header| Owed {
                header,
                sent: 0,
                len: HEADER_LEN,
                withdrawal: None,
                owner: owed.owner,
            });
        }
        Ok(())
    }
}
