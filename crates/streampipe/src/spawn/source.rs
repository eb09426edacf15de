use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{Engine, Stream};

/// A descriptor that a program is to get.
#[derive(Debug)]
pub enum Source {
    /// Given by value: it goes to one program, and is closed here once that runs.
    Given(OwnedFd),
    /// Lent: a duplicate of ours, for each program that is started. Or why there is none.
    Lent(io::Result<OwnedFd>),
    /// Given, and gone with the first program.
    Gone,
}

impl Source {
    pub(crate) fn lend(fd: BorrowedFd<'_>) -> Self {
        Self::Lent(streampipe_sys::fd::duplicate(fd))
    }

    /// An end, which is given away as a socket: not one of a ring, of which that is the smaller part.
    pub(crate) fn give(end: Stream) -> Self {
        match end.engine() {
            Engine::Socket => Self::Given(end.into()),
            Engine::Ring => Self::Lent(Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an end of a ring cannot be given to a program by its number: use Command::engine",
            ))),
        }
    }

    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Given(fd) | Self::Lent(Ok(fd)) => Ok(fd.as_fd()),
            Self::Lent(Err(error)) => Err(match error.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            Self::Gone => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor given by value went to the first program: give a reference for several",
            )),
        }
    }

    /// The program runs: what was given is closed here.
    pub(super) fn was_spawned(&mut self) {
        if let Self::Given(_) = self {
            *self = Self::Gone;
        }
    }
}
