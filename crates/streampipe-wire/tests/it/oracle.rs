//! A second decoder, plain and slow, for input that is there as a whole; and the comparison with it.
//!
//! It is written from the rules, shares no code with the crate, and says exactly what the crate's decoder must
//! say. Both the tests and the fuzz target use this file.

use std::ops::Range;

use streampipe_wire::{Decoder, Event, Header, Kind, Malformed, Place, Torn, Want};

/// A frame that the whole input has at least the header of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) place: Place,
    /// How many descriptors must come with it, unless it is a withdrawal.
    pub(crate) fds_due: u16,
    /// Where the payload is: as much as the header claims, whether it is there or not.
    pub(crate) payload: Range<usize>,
}

/// How the input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind a message.
    Clean,
    /// Inside of one.
    Torn(Torn),
    /// At a header that may not be there.
    Malformed(Malformed),
}

/// What is left of a message that was begun.
#[derive(Clone, Copy)]
struct Due {
    kind: Kind,
    id: u64,
    bytes: u64,
    fds: u32,
}

/// Decodes all of the input.
pub(crate) fn decode(wire: &[u8], frames: &mut Vec<Found>) -> End {
    frames.clear();
    let mut due = None;
    let mut at = 0;
    while wire.len() - at >= 32 {
        let found = header(&wire[at..at + 32]).and_then(|it| Ok((it, turn(&it, &due)?)));
        let (header, place) = match found {
            Ok(both) => both,
            Err(malformed) => return End::Malformed(malformed),
        };
        let fds_due =
            due.map_or(0, |it: Due| if it.bytes > 0 { 0 } else { it.fds.min(253) as u16 });
        let payload = at + 32..at + 32 + header.length as usize;
        frames.push(Found { header, place, fds_due, payload: payload.clone() });
        if payload.end > wire.len() {
            let (have, need) = ((wire.len() - at) as u64, 32 + u64::from(header.length));
            return End::Torn(Torn { have, need });
        }
        at = payload.end;
        due = left(&header);
    }
    match (wire.len() - at, due) {
        (0, None) => End::Clean,
        (have, _) => End::Torn(Torn { have: have as u64, need: 32 }),
    }
}

/// Little-endian, of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    if bytes[..3] != [0x53, 0x50, 1] {
        return Err(Malformed::Magic { found: [bytes[0], bytes[1], bytes[2]] });
    }
    let flags = number(&bytes[4..6]) as u16;
    let kind = match (bytes[3], flags) {
        (1, 0) => Kind::Message,
        (2, 0) => Kind::Request,
        (3, 0) => Kind::Answer,
        (4, 0) => Kind::NoAnswer,
        (5, 0) => Kind::Withdrawal,
        (kind, _) => return Err(Malformed::Unknown { kind, flags }),
    };
    let header = Header {
        kind,
        fds: number(&bytes[6..8]) as u16,
        length: number(&bytes[8..12]) as u32,
        rest_fds: number(&bytes[12..16]) as u32,
        rest: number(&bytes[16..24]),
        id: number(&bytes[24..32]),
    };
    let Header { length, fds, rest, rest_fds, .. } = header;
    let is_possible = length <= 73_728
        && fds <= 253
        && u128::from(rest) + u128::from(length) < 1 << 64
        && u64::from(rest_fds) + u64::from(fds) < 1 << 32;
    let claims_nothing = (length, fds, rest, rest_fds) == (0, 0, 0, 0);
    let makes_sense = kind != Kind::Withdrawal || claims_nothing;
    if is_possible && makes_sense {
        return Ok(header);
    }
    Err(Malformed::Counts { length, fds, rest, rest_fds })
}

/// Whether the header may come now.
fn turn(header: &Header, due: &Option<Due>) -> Result<Place, Malformed> {
    let Header { length, fds, rest, rest_fds, .. } = *header;
    let is_withdrawal = header.kind == Kind::Withdrawal;
    let place = match *due {
        None if is_withdrawal || fds > 0 => None,
        None if length == 0 && rest > 0 => None,
        None => Some(Place::First),
        Some(due) if is_withdrawal => (header.id == due.id).then_some(Place::Withdrawn),
        Some(due) if (header.kind, header.id) != (due.kind, due.id) => None,
        Some(due) => {
            let brings_payload = length > 0 && length as u64 <= due.bytes && fds == 0;
            let brings_fds = due.bytes == 0 && length == 0 && fds as u32 == due.fds.min(253);
            let leaves = (due.bytes.checked_sub(length.into()), due.fds.checked_sub(fds.into()));
            let adds_up = leaves == (Some(rest), Some(rest_fds));
            (adds_up && (brings_payload || brings_fds)).then_some(Place::Next)
        }
    };
    place.ok_or(Malformed::Sequence {
        due: due.map_or(0, |it| it.bytes),
        found: u64::from(length) + rest,
        due_fds: due.map_or(0, |it| it.fds),
        found_fds: u32::from(fds) + rest_fds,
    })
}

/// What this frame leaves of its message.
fn left(header: &Header) -> Option<Due> {
    let due = Due { kind: header.kind, id: header.id, bytes: header.rest, fds: header.rest_fds };
    (due.bytes > 0 || due.fds > 0).then_some(due)
}

/// Gives the decoder the input in pieces; fails unless it says what the oracle said of all of it.
pub(crate) fn compare(
    wire: &[u8],
    frames: &[Found],
    end: End,
    mut next_piece: impl FnMut() -> usize,
) {
    let mut decoder = Decoder::new();
    let mut heard = Heard { wire, frames, ledger: Ledger::default(), count: 0, until: 0 };
    let mut to = 0;
    while to < wire.len() {
        let from = to;
        to = wire.len().min(from + next_piece().max(1));
        let mut input = &wire[from..to];
        loop {
            let (want, due, before) = (decoder.want(), decoder.fds_due(), input.len());
            let event = decoder.next(&mut input);
            let at = to - input.len();
            takes_what_it_wanted(&decoder, want, before - input.len(), &event);
            assert!(due == 0 || matches!(want, Want::Header(_)), "{due} due with payload");
            match event {
                Ok(Some(Event::Header(header, place))) => heard.header(header, place, due, at),
                Ok(Some(Event::Payload(payload))) => heard.payload(payload, at),
                Ok(None) => {
                    assert!(input.is_empty(), "stopped at byte {at}");
                    break;
                }
                Err(malformed) => {
                    assert_eq!(End::Malformed(malformed), end);
                    assert_eq!(heard.count, frames.len());
                    assert_eq!(at, frames.last().map_or(0, |it| it.payload.end) + 32);
                    return stays_malformed(decoder, malformed, wire);
                }
            }
        }
    }
    assert_eq!(heard.count, frames.len());
    match end {
        End::Clean => {
            assert_eq!((decoder.finish(), decoder.is_inside()), (Ok(()), false));
            assert!(heard.ledger.is_settled());
        }
        End::Torn(torn) => assert_eq!((decoder.finish(), decoder.is_inside()), (Err(torn), true)),
        End::Malformed(malformed) => panic!("accepted what is {malformed:?}"),
    }
}

/// Nothing is taken beyond what was wanted, and what is taken is not wanted again.
fn takes_what_it_wanted(
    decoder: &Decoder,
    want: Want,
    taken: usize,
    event: &Result<Option<Event<'_>>, Malformed>,
) {
    let wants = decoder.want();
    let is_right = match (want, event) {
        (Want::Header(most), Ok(None)) => taken < most && wants == Want::Header(most - taken),
        (Want::Header(most), Ok(Some(Event::Header(header, _)))) => {
            let next = match header.length {
                0 => Want::Header(32),
                length => Want::Payload(length),
            };
            taken == most && wants == next
        }
        (Want::Header(most), Err(_)) => taken == most,
        (Want::Payload(_), Ok(None)) => taken == 0 && wants == want,
        (Want::Payload(most), Ok(Some(Event::Payload(payload)))) => {
            let next = match most - taken as u32 {
                0 => Want::Header(32),
                left => Want::Payload(left),
            };
            taken == payload.len() && wants == next
        }
        _ => false,
    };
    assert!(is_right, "{taken} bytes taken of {want:?}, then {wants:?}: {event:?}");
}

fn stays_malformed(mut decoder: Decoder, malformed: Malformed, wire: &[u8]) {
    for input in [wire, &[]] {
        let mut rest = input;
        assert_eq!(decoder.next(&mut rest), Err(malformed));
        assert_eq!(rest.len(), input.len(), "an error takes nothing");
    }
}

/// What the decoder has said until now.
struct Heard<'a> {
    wire: &'a [u8],
    frames: &'a [Found],
    ledger: Ledger,
    count: usize,
    /// Where the last frame's payload ends, as its header claims.
    until: usize,
}

impl Heard<'_> {
    fn header(&mut self, header: Header, place: Place, fds_due: u16, at: usize) {
        let payload = at..at + header.length as usize;
        self.until = payload.end;
        let found = Found { header, place, fds_due, payload };
        assert_eq!(Some(&found), self.frames.get(self.count));
        self.ledger.enter(&header, place);
        self.count += 1;
    }

    fn payload(&self, payload: &[u8], at: usize) {
        assert!(!payload.is_empty() && at <= self.until, "payload up to {at} of {}", self.until);
        assert!(payload == &self.wire[at - payload.len()..at], "other payload at {at}");
    }
}

/// Adds up a message, frame by frame.
#[derive(Default)]
pub(crate) struct Ledger {
    first: Option<Header>,
    bytes: u64,
    fds: u64,
}

impl Ledger {
    /// Fails if a message does not have what its first header said, in the order of the rules.
    pub(crate) fn enter(&mut self, header: &Header, place: Place) {
        if place == Place::First {
            assert!(self.first.is_none() && header.fds == 0, "{header:?}");
            *self = Self { first: Some(*header), bytes: 0, fds: 0 };
        }
        let first = self.first.expect("a message was begun");
        assert_eq!(header.id, first.id);
        if place == Place::Withdrawn {
            assert_eq!(header.kind, Kind::Withdrawal);
            self.first = None;
            return;
        }
        assert_eq!(header.kind, first.kind);
        self.bytes += u64::from(header.length);
        self.fds += u64::from(header.fds);
        let total = u64::from(first.length) + first.rest;
        assert!(header.fds == 0 || self.bytes == total, "descriptors before all of the payload");
        let (rest, rest_fds) = (total - self.bytes, u64::from(first.rest_fds) - self.fds);
        assert_eq!(header.rest, rest, "{header:?}");
        assert_eq!(u64::from(header.rest_fds), rest_fds);
        assert_eq!(header.has_more(), rest > 0 || rest_fds > 0);
        if !header.has_more() {
            self.first = None;
        }
    }

    /// Whether the message that was begun has all that it said.
    pub(crate) fn is_settled(&self) -> bool {
        self.first.is_none()
    }
}
