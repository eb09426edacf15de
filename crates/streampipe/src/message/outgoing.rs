//! How a message goes out: frame by frame, and back if it cannot.
//!
//! Rules of this file:
//!
//! 1. A message goes out whole, or the peer is told that it is withdrawn and hands nothing of it over.
//! 2. Descriptors go with the first byte of their frame, once.
//! 3. A send that may give up early makes its last frame small enough to be taken as a whole or not at all: up to
//!    there everything can be withdrawn. A frame that was begun is completed with zeros then.
//! 4. What is owed of an earlier message goes first.
//! 5. A future that has sent a part of its message holds nothing while it is not polled. If there is room and it is not
//!    polled for its grace period, another sender may withdraw its message; its next poll sends the message anew. Each
//!    time that happens the grace period of the message doubles, so that two senders that are both polled do not go on
//!    withdrawing each other's messages.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use streampipe_sys::process::own_id;
use streampipe_wire::{Frames, HEADER_LEN, Header, Kind, Totals};

use super::SendReason;
use super::carrier::{Carrier, Carries};
use crate::end::Waiting;
use crate::{FdError, FdPolicy, RefusedFd};

/// Up to this size header and payload are copied together: cheaper than a send from two places (measured: 3 % of a
/// round trip up to 4 KiB, the other way round from 16 KiB on).
const SMALL: usize = 4096 + HEADER_LEN;

/// Fewer parts than this are listed without an allocation: a value with one payload that is not copied has three.
const FEW: usize = 4;

/// A frame with so much payload is taken as a whole: the kernel puts it into one buffer, even of the smallest
/// socket (`SO_SNDBUF` 4,608), and a pipe takes 4,096 bytes at once.
const TAIL: u32 = 1024;

const ZEROS: [u8; 4096] = [0; 4096];

/// How many bytes a send goes on with whose deadline has passed, as long as there is room: as many as there ever is room
/// for at once. A peer that reads on and on must not keep it longer.
const AFTER_THE_DEADLINE: usize = 512 << 10;

/// How long descriptors are borrowed at a time while a frame with them waits for room: longer than [`Carrier::send`] asks a
/// system that is short of memory.
const BORROWED: Duration = Duration::from_millis(500);

/// How long a future that has sent a part of its message may leave room unused before another sender withdraws it.
#[cfg(feature = "tokio")]
const GRACE: Duration = Duration::from_millis(1);

/// How often that time doubles at most: to about a second.
#[cfg(feature = "tokio")]
const DOUBLINGS: u32 = 10;

/// The state between two sends.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    owed: Option<Owed>,
    small: Vec<u8>,
    #[cfg(feature = "tokio")]
    unfinished: Option<Unfinished>,
    /// Which send was the last that a future began.
    #[cfg(feature = "tokio")]
    last_ticket: u64,
}

/// A message of which a future has sent a part.
#[cfg(feature = "tokio")]
#[derive(Debug)]
struct Unfinished {
    /// Which send it is.
    ticket: u64,
    /// How often that was polled since it began.
    polls: u64,
    grace: Duration,
    /// What is owed if it is withdrawn now; `None` if it cannot be.
    owed: Option<Owed>,
}

/// Whether a future may begin to send.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    /// Another message is unfinished, and there is no room to go on with it.
    Full,
    /// Another message is unfinished, though there is room. If that is still so after this time, it is withdrawn.
    Behind(Duration),
}

/// What a sender has seen of a message in its way.
#[cfg(feature = "tokio")]
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// Which send, and how often it had been polled.
    of: Option<(u64, u64)>,
    /// Whether its grace period has passed since.
    is_over: bool,
}

#[cfg(feature = "tokio")]
impl Suspicion {
    /// Notes that the time of [`Way::Behind`] has passed.
    pub(crate) fn has_waited(&mut self) {
        self.is_over = true;
    }
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
    pub(crate) fds: &'message dyn FdSource,
}

/// The descriptors of a message, which are borrowed for one attempt to send a frame at a time.
///
/// Between two attempts the owner may take a descriptor away; the send fails then.
pub(crate) trait FdSource: fmt::Debug + Sync {
    fn count(&self) -> usize;

    /// Calls with the descriptors of this range.
    fn borrow(
        &self,
        range: Range<usize>,
        call: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize>;
}

/// Descriptors that are borrowed for the whole send.
impl FdSource for &[BorrowedFd<'_>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn borrow(
        &self,
        range: Range<usize>,
        call: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        call(&self[range])
    }
}

/// For messages without descriptors.
pub(super) const NO_FDS: &dyn FdSource = &(&[] as &[BorrowedFd<'static>]);

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
    /// Where its payload begins in the message's.
    first_byte: u64,
    fds: Range<usize>,
    sent: usize,
}

impl Outbound<'_> {
    /// How long the payload is: longer than memory, if its parts are the same bytes.
    pub(crate) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// Checks that the descriptors may be sent.
    pub(super) fn check_fds(&self, policy: &FdPolicy) -> Result<(), SendReason> {
        if self.fds.count() == 0 {
            return Ok(());
        }
        let mut checked: Result<(), RefusedFd> = Ok(());
        let borrowed = self.fds.borrow(0..self.fds.count(), &mut |fds| {
            checked = policy.check_outgoing(fds);
            Ok(0)
        });
        borrowed.map_err(SendReason::from_end)?;
        checked.map_err(SendReason::RefusedFd)
    }
}

impl Posting {
    pub(super) fn new(message: &Outbound<'_>, carries: Carries, waiting: Waiting) -> Self {
        let fds = u32::try_from(message.fds.count()).unwrap_or(u32::MAX);
        let totals = Totals { bytes: message.len(), fds };
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
        let mut left = AFTER_THE_DEADLINE;
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.frames.next() {
                    Some(frame) => {
                        let first_byte = frame.first_byte(message.len());
                        Begun { header: frame.header, first_byte, fds: frame.fds, sent: 0 }
                    }
                    None => return Ok(()),
                },
            };
            let frame = self.frame.insert(frame);
            if left == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let sent = frame.send(carrier, outgoing, message, waiting);
            let sent = sent.map_err(|error| placed(error, frame.fds.start))?;
            frame.sent += sent;
            self.has_begun = true;
            if frame.sent == frame.len() {
                self.frame = None;
            }
            if waiting.is_over() {
                left = left.saturating_sub(sent);
            }
        }
    }

    /// Gives up: what was sent of the message is withdrawn, with the next send if not now.
    pub(super) fn withdraw(self, carrier: &Carrier, outgoing: &mut Outgoing) {
        if !self.has_begun {
            return;
        }
        let Some(owed) = self.owed() else {
            let _ = carrier.end.shutdown(Shutdown::Write);
            return;
        };
        outgoing.owed = Some(owed);
        let _ = outgoing.settle(carrier, Waiting::Never);
    }

    /// Whether a part of the message was sent.
    #[cfg(feature = "tokio")]
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What withdraws the message, a part of which was sent. `None` inside of the last frame: it cannot be completed with
    /// anything but the message.
    fn owed(&self) -> Option<Owed> {
        let withdrawal = Header::new(Kind::Withdrawal, self.id).to_bytes();
        let begun = self.frame.as_ref().filter(|frame| frame.sent > 0);
        Some(match begun {
            Some(frame) if !frame.header.has_more() => return None,
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
        })
    }
}

impl Begun {
    fn len(&self) -> usize {
        HEADER_LEN + self.header.length as usize
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
        let from = self.first_byte + self.sent.saturating_sub(HEADER_LEN) as u64;
        let payload = from..self.first_byte + u64::from(self.header.length);
        if self.sent == 0 && !self.fds.is_empty() {
            return self.send_fds(carrier, message, waiting);
        }
        let fds = &[];
        if self.len() <= SMALL {
            let small = &mut outgoing.small;
            small.clear();
            small.extend_from_slice(unsent_header);
            for part in cut(message.parts, payload) {
                small.extend_from_slice(part);
            }
            return carrier.send(&[IoSlice::new(small)], fds, waiting);
        }
        if let [payload_part] = message.parts {
            // Within the one part, so within memory.
            let payload = &payload_part[payload.start as usize..payload.end as usize];
            let parts = [IoSlice::new(unsent_header), IoSlice::new(payload)];
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

    /// Sends a frame with descriptors, which has no payload.
    fn send_fds(
        &self,
        carrier: &Carrier,
        message: &Outbound<'_>,
        waiting: Waiting,
    ) -> io::Result<usize> {
        let header = self.header.to_bytes();
        let parts = [IoSlice::new(&header)];
        loop {
            let slice = match waiting {
                Waiting::Never => Waiting::Never,
                _ => {
                    let end = Instant::now() + BORROWED;
                    Waiting::Until(waiting.deadline().map_or(end, |deadline| deadline.min(end)))
                }
            };
            let send = &mut |fds: &[BorrowedFd<'_>]| carrier.send(&parts, fds, slice);
            match message.fds.borrow(self.fds.clone(), send) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !waiting.is_over() => {}
                done => return done,
            }
        }
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
    range: Range<u64>,
) -> impl Iterator<Item = &'parts [u8]> {
    let mut before = 0;
    parts.iter().filter_map(move |part| {
        let after = before + part.len() as u64;
        let [start, end] =
            [range.start, range.end].map(|at| (at.clamp(before, after) - before) as usize);
        before = after;
        (start < end).then(|| &part[start..end])
    })
}

/// For futures.
#[cfg(feature = "tokio")]
impl Outgoing {
    /// A number for a send.
    pub(super) fn new_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Whether this is the send that has begun a message and not finished it.
    pub(super) fn is_unfinished(&self, ticket: u64) -> bool {
        self.unfinished.as_ref().is_some_and(|it| it.ticket == ticket)
    }

    /// Whether a send may begin. A message in its way that nobody goes on with is withdrawn.
    pub(super) fn make_way(&mut self, carrier: &Carrier, suspicion: &mut Suspicion) -> Way {
        let Some(unfinished) = &mut self.unfinished else { return Way::Free };
        if !carrier.end.has_room() {
            *suspicion = Suspicion::default();
            return Way::Full;
        }
        let seen = Some((unfinished.ticket, unfinished.polls));
        if suspicion.of != seen {
            *suspicion = Suspicion { of: seen, is_over: false };
        }
        if !suspicion.is_over || unfinished.owed.is_none() {
            return Way::Behind(unfinished.grace);
        }
        self.withdraw_unfinished();
        Way::Free
    }

    /// Notes that a future has sent a part of its message, which was withdrawn so often before.
    pub(super) fn note_unfinished(&mut self, ticket: u64, posting: &Posting, withdrawn: u32) {
        let before = self.unfinished.take().filter(|it| it.ticket == ticket);
        let polls = before.map_or(0, |it| it.polls + 1);
        let grace = GRACE * (1 << withdrawn.min(DOUBLINGS));
        self.unfinished = Some(Unfinished { ticket, polls, grace, owed: posting.owed() });
    }

    /// Notes that a future has sent its message, or gives it up.
    pub(super) fn note_finished(&mut self, ticket: u64) {
        self.unfinished.take_if(|it| it.ticket == ticket);
    }

    /// From now on, the message that a future has not finished is one that is given up.
    fn withdraw_unfinished(&mut self) {
        if let Some(owed) = self.unfinished.take_if(|it| it.owed.is_some()).and_then(|it| it.owed) {
            self.owed = Some(owed);
        }
    }
}

impl Outgoing {
    /// Whether all was sent that was begun.
    pub(super) fn is_between_messages(&self) -> bool {
        #[cfg(feature = "tokio")]
        if self.unfinished.is_some() {
            return false;
        }
        self.owed.is_none()
    }

    /// Whether a future has sent a part of a message.
    pub(super) fn has_unfinished(&self) -> bool {
        #[cfg(feature = "tokio")]
        return self.unfinished.is_some();
        #[cfg(not(feature = "tokio"))]
        false
    }

    /// Sends what is owed before the end, if that takes no waiting and it is this process that owes it.
    pub(super) fn settle_at_the_end(&mut self, carrier: &Carrier) {
        #[cfg(feature = "tokio")]
        self.withdraw_unfinished();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With few bytes of memory, of which a payload has many copies.
    #[test]
    fn a_payload_longer_than_32_bits_can_say_is_cut_where_it_should_be() {
        let large = vec![0; 1 << 28];
        let mut parts = vec![&large[..]; 16];
        parts.push(b"behind 4 GiB");
        let message = Outbound { kind: Kind::Message, id: 0, parts: &parts, fds: NO_FDS };
        assert_eq!(message.len(), (1 << 32) + 12);
        let behind: Vec<_> = cut(&parts, (1 << 32) - 1..(1 << 32) + 6).collect();
        assert_eq!(behind, [&b"\0"[..], b"behind"]);
        assert_eq!(cut(&parts, (1 << 32) + 12..(1 << 32) + 12).count(), 0);
    }
}
