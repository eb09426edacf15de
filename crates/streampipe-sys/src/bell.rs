//! A bell between threads of one process: rung by one, heard by another in its wait (`eventfd(2)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::retry_on_intr;

use crate::fd::lift;

/// The bell: one descriptor, for both.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// Makes one. Close-on-exec.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        Ok(Self(lift(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?))
    }

    /// Rings it. One that rings already goes on ringing.
    pub fn ring(&self) {
        // It fails if it has been rung 2^64 times, and then it rings.
        let _ = retry_on_intr(|| rustix::io::write(&self.0, &1_u64.to_ne_bytes()));
    }

    /// Silences it; says whether it rang. Never blocks.
    #[must_use]
    pub fn take(&self) -> bool {
        retry_on_intr(|| rustix::io::read(&self.0, &mut [0; 8])).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
