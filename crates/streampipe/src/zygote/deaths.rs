use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::message::{SIZE, read_death};
use crate::SeqPacket;
use crate::end::Waiting;

/// The reports of a zygote on its workers' deaths, from [`Zygote::start_reporting`](super::Zygote::start_reporting).
///
/// Each worker's death is told once, in the order in which the zygote noticed them, whether the worker
/// was waited for, dropped, or neither. Until they are received they wait, in the zygote's memory if
/// need be (16 bytes each). [`AsFd`] is readable when there is one.
#[derive(Debug)]
pub struct Deaths {
    news: SeqPacket,
}

/// The death of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// The worker's process id, which the system may have given to another meanwhile.
    pub id: u32,
    /// How it ended; `None` if nobody can say.
    pub status: Option<ExitStatus>,
}

impl Deaths {
    pub(super) fn new(news: SeqPacket) -> Self {
        Self { news }
    }

    /// Waits for the next death; `None` once the zygote has ended, which it does when its handle is
    /// dropped here, and each worker was waited for or dropped.
    ///
    /// # Errors
    ///
    /// Those of receiving.
    pub fn recv(&self) -> io::Result<Option<Death>> {
        self.receive(Waiting::Forever)
    }

    /// Returns the next death if one was reported. Never blocks.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none; else as [`recv`](Self::recv).
    pub fn try_recv(&self) -> io::Result<Option<Death>> {
        self.receive(Waiting::Never)
    }

    /// Waits for the next death for at most so long.
    ///
    /// # Errors
    ///
    /// `TimedOut` if there was none; else as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> io::Result<Option<Death>> {
        let deadline = Instant::now().checked_add(timeout);
        self.receive(deadline.map_or(Waiting::Forever, Waiting::Until))
    }

    fn receive(&self, waiting: Waiting) -> io::Result<Option<Death>> {
        let mut bytes = [0; SIZE];
        match self.news.recv_within(&mut bytes, waiting)? {
            0 => Ok(None),
            SIZE => match read_death(bytes) {
                Some((id, status)) => Ok(Some(Death { id, status })),
                None => Err(io::ErrorKind::InvalidData.into()),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Deaths {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}
