//! Waiting for many descriptors at once.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What one wait tells of at most.
const EVENTS: usize = 64;

/// An `epoll` that tells of what can be read, as long as it can.
pub struct Epoll {
    descriptor: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Waits for nothing yet.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a flag.
        let number = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given it to us and to nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self { descriptor, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Also waits for this one, which it tells of by this number.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn add(&self, descriptor: BorrowedFd<'_>, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        let (epoll, added) = (self.descriptor.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: the pointer is to an event.
        let code = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, added, &mut event) };
        if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something can be read, and tells of it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn wait(&mut self) -> io::Result<impl Iterator<Item = usize> + use<'_>> {
        let (epoll, events) = (self.descriptor.as_raw_fd(), &mut self.events);
        // SAFETY: the pointer is to so many events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        Ok(events[..count].iter().map(|event| event.u64 as usize))
    }
}
