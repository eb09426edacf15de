use std::os::fd::OwnedFd;
use std::sync::Arc;

use streampipe_sys::table;
use streampipe_wire::{Header, Kind, MAX_PAYLOAD, Place};

use super::payload::{Pool, is_worth};
use super::{Budget, Bytes, RecvError, TooLarge};

/// The most payload of a frame, as a size in memory.
pub(super) const FRAME: usize = MAX_PAYLOAD as usize;

/// So many descriptors fit into any table, if it is not full.
const CERTAIN: u32 = 16;

/// A whole message of whatever kind.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) bytes: Bytes,
    pub(crate) fds: Vec<OwnedFd>,
    /// Why it is not handed over. Whoever waits for it is told, nobody else.
    pub(crate) spoiled: Option<Box<RecvError>>,
}

impl Arrived {
    /// A message of which nothing is left but why.
    pub(super) fn spoiled(header: &Header, why: RecvError) -> Self {
        Self {
            kind: header.kind,
            id: header.id,
            bytes: Bytes::default(),
            fds: Vec::new(),
            spoiled: Some(Box::new(why)),
        }
    }
}

/// Puts frames together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partial: Option<Partial>,
    /// Where a payload goes that belongs to nothing, or it is not known yet to what. Empty, or
    /// at least a frame long.
    scratch: Vec<u8>,
}

/// A message of which more is to come.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    id: u64,
    /// The payload's length, which is within the budget if the message is kept.
    total: usize,
    /// All of its bytes are initialized; the first `filled` are payload.
    buffer: Vec<u8>,
    filled: usize,
    fds: Vec<OwnedFd>,
    all_fds: u32,
    fate: Fate,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    /// It is beyond the budget, and the caller was told.
    Dropped,
    /// Some of its descriptors could not be taken.
    Robbed,
}

impl Assembly {
    /// Whether descriptors of the message are wanted.
    pub(super) fn takes_fds(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.fate == Fate::Kept)
    }

    /// Where the next payload goes, at most a frame's and not beyond the message's end.
    pub(super) fn room(&mut self, pool: &Pool) -> &mut [u8] {
        match &mut self.partial {
            Some(partial) if partial.fate == Fate::Kept => partial.room(),
            _ => {
                if self.scratch.is_empty() {
                    self.scratch = pool.take(FRAME);
                }
                if self.scratch.len() < FRAME {
                    self.scratch.resize(FRAME, 0);
                }
                &mut self.scratch[..FRAME]
            }
        }
    }

    /// Takes a frame's header and descriptors.
    pub(super) fn begin_frame(
        &mut self,
        header: &Header,
        place: Place,
        fds: Vec<OwnedFd>,
        are_all: bool,
        budget: &Budget,
    ) -> Result<(), RecvError> {
        match (place, &mut self.partial) {
            (Place::First, partial) => {
                let (new, told) = Partial::new(header, budget);
                *partial = Some(new);
                told
            }
            (Place::Next, Some(partial)) => {
                if !are_all && partial.fate == Fate::Kept {
                    partial.fate = Fate::Robbed;
                }
                partial.take_fds(fds);
                Ok(())
            }
            (Place::Withdrawn, partial) => {
                *partial = None;
                Ok(())
            }
            // The sequence of frames has been checked.
            (Place::Next, None) => Ok(()),
        }
    }

    /// Says that the first frame's payload is in the room that was given before the frame was known.
    pub(super) fn adopt_first(&mut self, len: usize, pool: &Pool) {
        let Some(partial) = self.partial.as_mut().filter(|it| it.fate == Fate::Kept) else {
            return;
        };
        // Handed over in the buffer it came in, or copied out.
        if len == partial.total && is_worth(self.scratch.len(), len) {
            partial.buffer = std::mem::take(&mut self.scratch);
        } else {
            partial.buffer = pool.take(partial.total);
            if partial.buffer.len() < len {
                partial.buffer.resize(len, 0);
            }
            partial.buffer[..len].copy_from_slice(&self.scratch[..len]);
        }
        partial.filled = len;
    }

    /// Says that so much of the room was filled.
    pub(super) fn fill(&mut self, len: usize) {
        if let Some(partial) = &mut self.partial {
            partial.filled += len;
        }
    }

    /// Gives the buffer a message is received into, before anything came.
    pub(super) fn provide(&mut self, pool: &Pool) {
        if let Some(partial) = self.partial.as_mut().filter(|it| it.fate == Fate::Kept) {
            partial.buffer = pool.take(partial.total);
        }
    }

    /// Hands over the message, all of which has come.
    pub(super) fn finish(&mut self, pool: &Arc<Pool>) -> Result<Option<Arrived>, RecvError> {
        let Some(partial) = self.partial.take() else { return Ok(None) };
        let Partial { kind, id, total, buffer, fds, all_fds, fate, .. } = partial;
        let bytes = Bytes::pooled(buffer, total, pool);
        match fate {
            Fate::Kept => Ok(Some(Arrived { kind, id, bytes, fds, spoiled: None })),
            Fate::Dropped => Ok(None),
            Fate::Robbed => {
                let came = u32::try_from(fds.len()).unwrap_or(u32::MAX);
                Err(RecvError::FdsLost { sent: all_fds, came, bytes })
            }
        }
    }
}

impl Partial {
    /// A message of which a first frame has come; and whether its owner must be told that it is dropped.
    fn new(header: &Header, budget: &Budget) -> (Self, Result<(), RecvError>) {
        let bytes = u64::from(header.length).saturating_add(header.rest);
        let fds = header.rest_fds;
        let (most_bytes, most_fds) = (most_bytes(budget), most_fds(fds, budget));
        let total = usize::try_from(bytes).ok().filter(|_| bytes <= most_bytes && fds <= most_fds);
        let told = match total {
            Some(_) => Ok(()),
            None => Err(RecvError::TooLarge(TooLarge { bytes, most_bytes, fds, most_fds })),
        };
        let partial = Self {
            kind: header.kind,
            id: header.id,
            total: total.unwrap_or_default(),
            buffer: Vec::new(),
            filled: 0,
            fds: Vec::new(),
            all_fds: fds,
            fate: if total.is_some() { Fate::Kept } else { Fate::Dropped },
        };
        (partial, told)
    }

    /// The next part of the buffer, which grows with what has come: twice as much, not more than will.
    fn room(&mut self) -> &mut [u8] {
        let until = self.total.min(self.filled + FRAME);
        if self.buffer.len() < until {
            let len = until.max(self.total.min(2 * self.buffer.len()));
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
        &mut self.buffer[self.filled..until]
    }

    fn take_fds(&mut self, fds: Vec<OwnedFd>) {
        if self.fds.is_empty() {
            self.fds = fds;
        } else {
            self.fds.extend(fds);
        }
    }
}

/// How many bytes a message may have: no more than memory can be asked for at once.
fn most_bytes(budget: &Budget) -> u64 {
    budget.message_bytes.min(isize::MAX as u64)
}

/// How many descriptors a message may have: no more than the table can ever hold, whatever its limit is now.
fn most_fds(fds: u32, budget: &Budget) -> u32 {
    if fds <= CERTAIN {
        return budget.message_fds;
    }
    budget.message_fds.min(u32::try_from(table::hard_limit()).unwrap_or(u32::MAX))
}
