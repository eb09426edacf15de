//! How a child that was started by `exec` gets the memory: as the first note over its lifeline.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::{error, fmt};

use streampipe_ring::Capacity;
use streampipe_sys::message::{self, Blocking};
use streampipe_sys::open::numbers;
use streampipe_sys::region::{Owner, Region, Unfit};
use streampipe_wire::{NOTE_LEN, Note};

use super::notes::send_note;
use crate::ring::{Poisoned, Ring};

/// Why an inherited end cannot be used as a ring.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Nothing came.
    NoMemory,
    /// What came first is not the memory.
    Note(Poisoned),
    /// It is memory, and not fit.
    Memory(Unfit),
    /// The system refused something.
    System(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Poisoned> for Unusable {
    fn from(poisoned: Poisoned) -> Self {
        Self::Note(poisoned)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("no memory came over it"),
            Self::Note(poisoned) => poisoned.fmt(f),
            Self::Memory(unfit) => write!(f, "the memory cannot be used: {unfit}"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl error::Error for Unusable {}

/// Sends the memory to whoever has the other end, before they start.
pub(crate) fn send_memory(
    lifeline: BorrowedFd<'_>,
    memory: &OwnedFd,
    capacity: usize,
) -> io::Result<()> {
    let note = Note::Memory { capacity: capacity as u64 };
    send_note(lifeline, note.numbered(0), &[memory.as_fd()])
}

/// Makes the second end of a ring whose memory is the first thing to come over this lifeline.
///
/// That has been received then, also after an error: it cannot be tried again.
pub(crate) fn receive_ring(lifeline: BorrowedFd<'_>) -> Result<Ring, Unusable> {
    let (memory, capacity) = take_memory(lifeline)?;
    let Some(capacity) = Capacity::exactly(capacity) else {
        return Err(Unusable::Memory(Unfit::Layout));
    };
    let region = Region::adopt(memory.as_fd(), capacity.bytes() as usize)?;
    let region = region.map_err(Unusable::Memory)?;
    Ok(Ring::new(Arc::new(region), Owner::Second)?)
}

/// It was sent before this process started, so it is there.
fn take_memory(lifeline: BorrowedFd<'_>) -> Result<(OwnedFd, u64), Unusable> {
    let mut bytes = [0; NOTE_LEN];
    let buffers = &mut [IoSliceMut::new(&mut bytes)];
    let mut received = match message::recv(lifeline, buffers, Blocking::Never) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Unusable::NoMemory),
        received => received?,
    };
    match received.len {
        0 => return Err(Unusable::NoMemory),
        NOTE_LEN => {}
        _ => return Err(Poisoned::LifelineCut.into()),
    }
    let note = Note::from_bytes(bytes).map_err(Poisoned::Note)?;
    let Note::Memory { capacity } = note else { return Err(Poisoned::UnexpectedNote.into()) };
    let came = received.fds.len();
    match received.fds.pop() {
        Some(memory) if came == 1 => Ok((memory, capacity)),
        // It was sent, and this process has no free descriptor for it.
        None if received.fds_lost => Err(io::Error::from_raw_os_error(numbers::EMFILE).into()),
        _ => Err(Poisoned::Fds { due: 1, came }.into()),
    }
}
