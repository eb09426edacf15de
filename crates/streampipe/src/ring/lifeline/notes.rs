//! The socket of a ring: notes that come over it, one at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::message::{self, Blocking, Carries, Received, Sender};
use streampipe_wire::{NOTE_LEN, Note, NumberedNote};

use crate::ring::Poisoned;

/// How many batches of descriptors are held at most: the next one, and one that came while it was looked at.
const MOST_HELD: usize = 2;

/// What has come over the socket and was not taken yet.
#[derive(Debug, Default)]
pub(in crate::ring) struct Lifeline {
    batches: VecDeque<Batch>,
    /// What nobody gets, to be closed when nothing is locked any more.
    aside: Vec<Batch>,
    /// How many of the descriptors that were set aside belonged to no bytes, since somebody was told.
    orphans: usize,
    /// Who said hello, as far as the kernel attests it.
    hello: Option<Option<Box<Sender>>>,
    has_ended: bool,
    /// Whether another process that has a copy of this end has taken notes.
    pub(in crate::ring) others_listened: bool,
    /// Whether the reader, and the writer, was left a note since it last looked.
    pub(in crate::ring) left_a_note: [bool; 2],
}

/// Descriptors that were sent together.
#[derive(Debug)]
pub(in crate::ring) struct Batch {
    /// The number of their note.
    pub(in crate::ring) number: u16,
    /// The position of the first byte they were sent with.
    pub(in crate::ring) at: u64,
    pub(in crate::ring) fds: Vec<OwnedFd>,
    /// Whether there were more, for which there was no room.
    pub(in crate::ring) lost: bool,
}

/// What one look at the socket brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ring) enum Heard {
    Nothing,
    Note,
    TheEnd,
}

/// Why a look at the socket failed.
#[derive(Debug)]
pub(in crate::ring) enum Trouble {
    Poisoned(Poisoned),
    System(io::Error),
}

impl From<Poisoned> for Trouble {
    fn from(poisoned: Poisoned) -> Self {
        Self::Poisoned(poisoned)
    }
}

impl Lifeline {
    /// Takes one note, if one has come, with at most so many descriptors: the kernel closes the others.
    pub(in crate::ring) fn listen(
        &mut self,
        fd: BorrowedFd<'_>,
        fds: usize,
    ) -> Result<Heard, Trouble> {
        if self.has_ended {
            return Ok(Heard::TheEnd);
        }
        let mut bytes = [0; NOTE_LEN];
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let received = if fds < MAX_FDS {
            message::recv_due(fd, buffers, fds, Carries::Bytes, Blocking::Never)
        } else {
            message::recv(fd, buffers, Blocking::Never)
        };
        let received = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
            // It closed with doorbells unheard.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Heard::Note);
            }
            Err(error) => return Err(Trouble::System(error)),
        };
        match received.len {
            0 => {
                self.has_ended = true;
                return Ok(Heard::TheEnd);
            }
            NOTE_LEN => {}
            _ => return Err(Poisoned::LifelineCut.into()),
        }
        let note = NumberedNote::from_bytes(bytes).map_err(Poisoned::Note)?;
        self.keep(note, received)?;
        Ok(Heard::Note)
    }

    fn keep(&mut self, numbered: NumberedNote, received: Received) -> Result<(), Poisoned> {
        let came = received.fds.len();
        match numbered.note {
            Note::Fds { count, at } => {
                let due = usize::from(count);
                if came > due || (came < due && !received.fds_lost) {
                    return Err(Poisoned::Fds { due, came });
                }
                let (number, lost) = (numbered.number, came < due);
                self.batches.push_back(Batch { number, at, fds: received.fds, lost });
                return Ok(());
            }
            Note::Hello => self.hello = Some(received.sender),
            Note::Bell => {}
            _ => return Err(Poisoned::UnexpectedNote),
        }
        if came > 0 || received.fds_lost { Err(Poisoned::Fds { due: 0, came }) } else { Ok(()) }
    }

    /// Whether another note may be taken: who floods it with descriptors gets no more than these into this process.
    pub(in crate::ring) fn has_room(&self) -> bool {
        self.batches.len() + self.aside.len() < MOST_HELD
    }

    pub(in crate::ring) fn next_batch(&mut self) -> Option<&mut Batch> {
        self.batches.front_mut()
    }

    pub(in crate::ring) fn take_batch(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Sets aside the batches in front of the note with this number: their senders were killed before they had announced
    /// them, and somebody else has sent since.
    pub(in crate::ring) fn orphan_before(&mut self, number: u16) {
        while self.next_batch().is_some_and(|next| next.number_is_before(number)) {
            self.orphan(0);
        }
    }

    /// Sets aside the batches for bytes in front of this position, which were read as bytes without descriptors.
    pub(in crate::ring) fn orphan_behind(&mut self, head: u64) {
        while self.next_batch().is_some_and(|next| is_behind(next.at, head)) {
            self.orphan(0);
        }
    }

    /// Sets aside the last batch but one if its bytes are not there: a sender publishes them before it sends the next note.
    pub(in crate::ring) fn orphan_unwritten(&mut self, is_written: impl Fn(u64) -> bool) {
        let Some(index) = self.batches.len().checked_sub(2) else { return };
        if !is_written(self.batches[index].at) {
            self.orphan(index);
        }
    }

    fn orphan(&mut self, index: usize) {
        if let Some(batch) = self.batches.remove(index) {
            // One that was lost before it came is one as well.
            self.orphans += batch.fds.len().max(1);
            self.aside.push(batch);
        }
    }

    /// Whether something was set aside that belonged to no bytes, and nobody was told.
    pub(in crate::ring) fn has_orphans(&self) -> bool {
        self.orphans > 0
    }

    /// How many descriptors that were, for whoever is told.
    pub(in crate::ring) fn take_orphans(&mut self) -> usize {
        std::mem::take(&mut self.orphans)
    }

    /// Sets aside what belonged to bytes that were read by a copy of this end in another process.
    pub(in crate::ring) fn set_aside_before(&mut self, position: u64) {
        while self.next_batch().is_some_and(|next| is_behind(next.at, position)) {
            self.aside.extend(self.batches.pop_front());
        }
    }

    /// What was set aside, to be closed when nothing is locked any more.
    pub(in crate::ring) fn take_aside(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.aside)
    }

    pub(in crate::ring) fn has_hello(&self) -> bool {
        self.hello.is_some()
    }

    pub(in crate::ring) fn take_hello(&mut self) -> Option<Option<Box<Sender>>> {
        self.hello.take()
    }
}

impl Batch {
    /// Whether it was sent before the note with this number. Number 0 is no note's.
    fn number_is_before(&self, other: u16) -> bool {
        self.number == 0 || self.number.wrapping_sub(other) > u16::MAX / 2
    }
}

/// Whether one position comes before another.
fn is_behind(one: u64, other: u64) -> bool {
    let by = other.wrapping_sub(one);
    by != 0 && by < 1 << 63
}

/// What became of a doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) enum Doorbell {
    /// It rings, or rang already, or nobody had to be woken.
    Rings,
    /// Nobody can hear it.
    IsGone,
}

/// Rings the peer's doorbell.
pub(in crate::ring) fn ring_bell(fd: BorrowedFd<'_>) -> Doorbell {
    match message::send(fd, &Note::Bell.to_bytes(), Blocking::Never) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Doorbell::IsGone,
        _ => Doorbell::Rings,
    }
}

/// Sends a note, with its descriptors, whole or not at all. Never waits.
pub(in crate::ring) fn send_note(
    fd: BorrowedFd<'_>,
    note: NumberedNote,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = note.to_bytes();
    // A socket takes so few bytes in one piece.
    message::send_with_fds(fd, &[IoSlice::new(&bytes)], fds, Blocking::Never).map(drop)
}
