//! Waiting for the first of several descriptors, in the order in which they became ready.
//!
//! `poll` tells which descriptors are ready; it cannot tell which was first. `epoll` keeps its
//! ready list in the order of the wake-ups, so two processes that ended before anybody looked
//! still come out in the order in which they ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::fd::lift;
use crate::wait::timespec_until;

/// A set of descriptors, each watched until it is readable.
#[derive(Debug)]
pub struct Arrivals {
    epoll: OwnedFd,
}

impl Arrivals {
    /// Makes an empty set. Its descriptor is close-on-exec.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: lift(epoll::create(CreateFlags::CLOEXEC)?)? })
    }

    /// Watches a descriptor under a name of the caller's.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn add(&self, fd: impl AsFd, name: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(name), EventFlags::IN)?)
    }

    /// Watches a descriptor no longer.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits for the first one; `None` if the deadline passes before.
    ///
    /// # Errors
    ///
    /// Those of `epoll_wait(2)`, `EINTR` excepted.
    pub fn next(&self, deadline: Option<Instant>) -> io::Result<Option<u64>> {
        loop {
            let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 1];
            let left = deadline.map(timespec_until);
            match epoll::wait(&self.epoll, &mut events[..], left.as_ref()) {
                Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(None),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(Some(events[0].data.u64())),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
