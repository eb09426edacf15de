//! The socket of a ring: notes that come over it, one at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::message::{self, Blocking, Carries, Received, Sender};
use streampipe_wire::{NOTE_LEN, Note};

use crate::ring::Poisoned;

/// How many batches of descriptors are held at most: the next one, and one that came while it was looked at.
const MOST_HELD: usize = 2;

/// What has come over the socket and was not taken yet.
#[derive(Debug, Default)]
pub(in crate::ring) struct Lifeline {
    batches: VecDeque<Batch>,
    aside: Vec<Batch>,
    /// Who said hello, as far as the kernel attests it.
    hello: Option<Option<Box<Sender>>>,
    has_ended: bool,
    /// Whether the reader, and the writer, was left a note since it last looked.
    pub(in crate::ring) left_a_note: [bool; 2],
}

/// Descriptors that were sent together.
#[derive(Debug)]
pub(in crate::ring) struct Batch {
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
        let note = Note::from_bytes(bytes).map_err(Poisoned::Note)?;
        self.keep(note, received)?;
        Ok(Heard::Note)
    }

    fn keep(&mut self, note: Note, received: Received) -> Result<(), Poisoned> {
        let came = received.fds.len();
        match note {
            Note::Fds { count, at } => {
                let due = usize::from(count);
                if came > due || (came < due && !received.fds_lost) {
                    return Err(Poisoned::Fds { due, came });
                }
                self.batches.push_back(Batch { at, fds: received.fds, lost: came < due });
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
        self.batches.len() < MOST_HELD
    }

    pub(in crate::ring) fn next_batch(&mut self) -> Option<&mut Batch> {
        self.batches.front_mut()
    }

    pub(in crate::ring) fn take_batch(&mut self) -> Option<Batch> {
        self.batches.pop_front()
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

/// Whether one position comes before another.
pub(in crate::ring) fn is_behind(one: u64, other: u64) -> bool {
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
    note: Note,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = note.to_bytes();
    // A socket takes so few bytes in one piece.
    message::send_with_fds(fd, &[IoSlice::new(&bytes)], fds, Blocking::Never).map(drop)
}
