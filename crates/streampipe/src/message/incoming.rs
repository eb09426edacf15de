//! What has come of the next message, and how it goes on.
//!
//! Rules of this file:
//!
//! 1. What the peer says is checked by the decoder before it is used, and against the budget before memory or
//!    descriptors are taken for it. Memory grows with what has come.
//! 2. Descriptors are taken only for a frame for which they were announced, exactly as many as were, and after
//!    a look for room. The kernel closes all others.
//! 3. A receive that ends early leaves everything here for the next one.
//! 4. A read never reaches beyond a frame behind which descriptors are announced: they would come with it.

use std::io::{self, IoSliceMut};
use std::sync::Arc;

use streampipe_sys::message::Received;
use streampipe_sys::open::numbers;
use streampipe_sys::table;
use streampipe_wire::{Decoder, Event, HEADER_LEN, Header, Malformed, Place, Want};

use super::assembly::{Arrived, Assembly};
use super::carrier::{Carrier, Carries};
use super::payload::Pool;
use super::{Budget, RecvError};
use crate::PacketError;
use crate::end::Waiting;

/// How many frames or parts of one, or messages that somebody else wants, a call takes that does not wait, or whose
/// deadline has passed.
pub(super) const STEPS: u32 = 1024;

/// The state between two receives.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    decoder: Decoder,
    assembly: Assembly,
    /// The last header.
    current: Option<Header>,
    /// Bytes of the next header that came with a payload, and how many.
    spill: [u8; HEADER_LEN],
    spilled: usize,
    /// What came with the first byte of a header that is not complete.
    early: Option<Received>,
    over: Option<Over>,
}

/// How many steps a call may still take that does not wait, or whose deadline has passed.
///
/// A message takes several steps, so a call takes all that are there. The number is limited: a peer that always sends a
/// little more must not keep the call longer than it takes to empty a socket.
#[derive(Debug)]
pub(super) struct Effort {
    left: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: STEPS }
    }
}

impl Effort {
    /// For a task, which lets others have a turn in between.
    #[cfg(feature = "tokio")]
    pub(super) fn brief() -> Self {
        Self { left: 16 }
    }

    /// Counts one step; an error says that it was the last.
    pub(super) fn spend(&mut self, waiting: Waiting) -> Result<(), RecvError> {
        if !waiting.is_hurried() {
            return Ok(());
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { Err(RecvError::TimedOut) } else { Ok(()) }
    }
}

/// What a receive needs beside the state.
pub(super) struct Inlet<'channel> {
    pub(super) carrier: &'channel Carrier,
    pub(super) pool: &'channel Arc<Pool>,
    pub(super) budget: Budget,
}

/// Why nothing can be received any more, and nothing is asked for.
#[derive(Clone, Copy, Debug)]
enum Over {
    Malformed(Malformed),
    Fds { due: usize, came: usize },
    Torn,
}

impl Incoming {
    /// Receives until a message is whole, or it is known that it will not be handed over.
    pub(super) fn advance(
        &mut self,
        inlet: &Inlet<'_>,
        waiting: Waiting,
        effort: &mut Effort,
    ) -> Result<Arrived, RecvError> {
        self.check_over()?;
        let error = loop {
            let step = match inlet.carrier.carries {
                Carries::Packets => self.take_packet(inlet, waiting),
                Carries::Bytes => self.take_bytes(inlet, waiting),
            };
            match step {
                Ok(Some(arrived)) => return Ok(arrived),
                Ok(None) => match effort.spend(waiting) {
                    Ok(()) => {}
                    Err(error) => break error,
                },
                Err(error) => match (error, &self.current) {
                    (why @ (RecvError::TooLarge(_) | RecvError::FdsLost { .. }), Some(header)) => {
                        return Ok(Arrived::spoiled(header, why));
                    }
                    (error, _) => break error,
                },
            }
        };
        let error = self.or_torn(error);
        self.over = match error {
            RecvError::Malformed(malformed) => Some(Over::Malformed(malformed)),
            RecvError::UnexpectedFds { due, came } => Some(Over::Fds { due, came }),
            RecvError::Torn(_) => Some(Over::Torn),
            _ => None,
        };
        if error.is_final() {
            // Nobody asks for the rest: what there is of the message, descriptors above all, goes now.
            (self.assembly, self.early) = (Assembly::default(), None);
        }
        Err(error)
    }

    /// A reset inside of a message is an end inside of it, and says more like that.
    fn or_torn(&self, error: RecvError) -> RecvError {
        match (error, self.decoder.finish()) {
            (RecvError::Reset, Err(torn)) => RecvError::Torn(torn),
            (error, _) => error,
        }
    }

    /// Whether nothing has come of the next message.
    pub(super) fn is_between_messages(&self) -> bool {
        !self.decoder.is_inside() && self.spilled == 0
    }

    /// Whether there is something to say without another look at the socket.
    #[cfg(feature = "tokio")]
    pub(super) fn has_something(&self) -> bool {
        self.spilled > 0 || self.over.is_some()
    }

    fn check_over(&self) -> Result<(), RecvError> {
        match self.over {
            None => Ok(()),
            Some(Over::Malformed(malformed)) => Err(RecvError::Malformed(malformed)),
            Some(Over::Fds { due, came }) => Err(RecvError::UnexpectedFds { due, came }),
            Some(Over::Torn) => Err(RecvError::Closed),
        }
    }

    /// How many descriptors were announced for what comes next, and how many of them to take.
    fn fds_due(&self) -> (usize, usize) {
        let due = usize::from(self.decoder.fds_due());
        (due, if self.assembly.takes_fds() { due } else { 0 })
    }

    /// Looks whether all descriptors of the message that are still to come can be taken, if more than the next.
    ///
    /// Else a part of them would fill the table and stay there, waiting for room for the others.
    fn look_for_room(&self, inlet: &Inlet<'_>, taken: usize) -> Result<(), RecvError> {
        let all = self.current.map_or(0, |it| it.rest_fds as usize);
        if taken == 0 || all <= taken || !inlet.carrier.end.is_readable() {
            return Ok(());
        }
        table::look_for_room(all, inlet.carrier.end.as_fd())
            .map_err(|error| not_received(error, all))
    }

    // --- a packet is a frame ---

    fn take_packet(
        &mut self,
        inlet: &Inlet<'_>,
        waiting: Waiting,
    ) -> Result<Option<Arrived>, RecvError> {
        let (due, taken) = self.fds_due();
        self.look_for_room(inlet, taken)?;
        let mut bytes = [0; HEADER_LEN];
        let room = self.assembly.room(inlet.pool);
        let most = HEADER_LEN + room.len();
        let buffers = &mut [IoSliceMut::new(&mut bytes), IoSliceMut::new(room)];
        let received = inlet.carrier.receive(buffers, taken, waiting);
        let Some(received) = received.map_err(|error| not_received(error, taken))? else {
            return Err(self.ended());
        };
        let (header, place) = self.decode_packet(&bytes, received.full_len, most)?;
        self.begin_frame(inlet, &header, place, (due, taken), received)?;
        let len = header.length as usize;
        match place {
            Place::First => self.assembly.adopt_first(len, inlet.pool),
            Place::Next | Place::Withdrawn => self.assembly.fill(len),
        }
        self.finish_frame(inlet)
    }

    fn decode_packet(
        &mut self,
        bytes: &[u8; HEADER_LEN],
        len: usize,
        most: usize,
    ) -> Result<(Header, Place), RecvError> {
        if len < HEADER_LEN {
            return Err(RecvError::Malformed(wrong_length(HEADER_LEN, len)));
        }
        match self.decoder.next(&mut &bytes[..]) {
            Ok(Some(Event::Header(header, place))) => {
                if header.frame_len() != len as u64 || len > most {
                    let claimed = header.frame_len();
                    let packet = len as u64;
                    return Err(RecvError::Malformed(Malformed::Length { claimed, packet }));
                }
                self.decoder.skip_payload(header.length);
                Ok((header, place))
            }
            Ok(_) => Err(RecvError::Malformed(wrong_length(HEADER_LEN, len))),
            Err(malformed) => Err(RecvError::Malformed(malformed)),
        }
    }

    // --- frames follow each other ---

    fn take_bytes(
        &mut self,
        inlet: &Inlet<'_>,
        waiting: Waiting,
    ) -> Result<Option<Arrived>, RecvError> {
        match self.decoder.want() {
            Want::Header(len) => self.take_header(inlet, len, waiting),
            Want::Payload(left) => self.take_payload(inlet, left as usize, waiting),
        }
    }

    fn take_header(
        &mut self,
        inlet: &Inlet<'_>,
        len: usize,
        waiting: Waiting,
    ) -> Result<Option<Arrived>, RecvError> {
        let (due, taken) = self.fds_due();
        let (bytes, received) = if self.spilled > 0 {
            let len = std::mem::take(&mut self.spilled);
            (self.spill, Received { len, ..Received::nothing() })
        } else {
            let mut bytes = [0; HEADER_LEN];
            // They come with the first byte, and nothing is asked for after it.
            let asked = if self.early.is_some() { 0 } else { taken };
            self.look_for_room(inlet, asked)?;
            let buffers = &mut [IoSliceMut::new(&mut bytes[..len])];
            let received = inlet.carrier.receive(buffers, asked, waiting);
            let Some(received) = received.map_err(|error| not_received(error, asked))? else {
                return Err(self.ended());
            };
            (bytes, received)
        };
        let event = self.decoder.next(&mut &bytes[..received.len]);
        if let Some(early) = self.early.as_ref().filter(|_| received.fds_lost) {
            return Err(RecvError::UnexpectedFds { due, came: early.fds.len() });
        }
        let received = merged(self.early.take(), received);
        match event.map_err(RecvError::Malformed)? {
            Some(Event::Header(header, place)) => {
                self.begin_frame(inlet, &header, place, (due, taken), received)?;
                if place == Place::First {
                    self.assembly.provide(inlet.pool);
                }
                if header.length == 0 { self.finish_frame(inlet) } else { Ok(None) }
            }
            Some(Event::Payload(_)) | None => {
                self.early = Some(received);
                Ok(None)
            }
        }
    }

    fn take_payload(
        &mut self,
        inlet: &Inlet<'_>,
        left: usize,
        waiting: Waiting,
    ) -> Result<Option<Arrived>, RecvError> {
        let room = self.assembly.room(inlet.pool);
        let wanted = left.min(room.len());
        let descriptors_follow = self.current.is_some_and(|it| it.rest == 0 && it.rest_fds > 0);
        let beyond = if descriptors_follow || wanted < left { 0 } else { HEADER_LEN };
        let buffers =
            &mut [IoSliceMut::new(&mut room[..wanted]), IoSliceMut::new(&mut self.spill[..beyond])];
        let received = inlet.carrier.receive(buffers, 0, waiting);
        let Some(received) = received.map_err(|error| not_received(error, 0))? else {
            return Err(self.ended());
        };
        if received.fds_lost || !received.fds.is_empty() {
            return Err(RecvError::UnexpectedFds { due: 0, came: received.fds.len() });
        }
        let payload = received.len.min(wanted);
        self.spilled = received.len - payload;
        self.assembly.fill(payload);
        self.decoder.skip_payload(payload as u32);
        if payload < left { Ok(None) } else { self.finish_frame(inlet) }
    }

    // --- both ---

    /// Takes a frame that the decoder has found to be in order.
    fn begin_frame(
        &mut self,
        inlet: &Inlet<'_>,
        header: &Header,
        place: Place,
        (due, taken): (usize, usize),
        received: Received,
    ) -> Result<(), RecvError> {
        self.current = Some(*header);
        let due = if place == Place::Withdrawn { 0 } else { due };
        let came = received.fds.len();
        let are_too_many = came > due || (received.fds_lost && came >= due && taken == due);
        let are_too_few = came < taken && !received.fds_lost && place != Place::Withdrawn;
        if are_too_many || are_too_few {
            return Err(RecvError::UnexpectedFds { due, came });
        }
        let are_all = taken < due || came == due;
        self.assembly.begin_frame(header, place, received.fds, are_all, &inlet.budget)
    }

    fn finish_frame(&mut self, inlet: &Inlet<'_>) -> Result<Option<Arrived>, RecvError> {
        match &self.current {
            Some(header) if header.has_more() => Ok(None),
            _ => self.assembly.finish(inlet.pool),
        }
    }

    /// The end came, in the right place or not.
    fn ended(&self) -> RecvError {
        match self.decoder.finish() {
            Ok(()) => RecvError::Closed,
            Err(torn) => RecvError::Torn(torn),
        }
    }
}

/// Adds what came with the rest of a header to what came with its first byte.
fn merged(early: Option<Received>, mut received: Received) -> Received {
    if let Some(mut early) = early {
        early.fds.append(&mut received.fds);
        early.fds_lost |= received.fds_lost;
        return early;
    }
    received
}

fn not_received(error: io::Error, needed: usize) -> RecvError {
    if matches!(error.raw_os_error(), Some(numbers::EMFILE | numbers::ENFILE)) {
        return RecvError::NoRoom { needed };
    }
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    match inside {
        Some(PacketError::Empty) => RecvError::Malformed(wrong_length(HEADER_LEN, 0)),
        _ => RecvError::from_end(error),
    }
}

fn wrong_length(claimed: usize, packet: usize) -> Malformed {
    Malformed::Length { claimed: claimed as u64, packet: packet as u64 }
}
