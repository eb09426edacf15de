//! Pipes as one direction of a stream: reading and writing without `SIGPIPE`.
//!
//! The two ends of a pipe have an open file description each, so `O_NONBLOCK` on our end is a matter
//! between its own copies, and never one of the process that has the other end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

use crate::fd::lift;
use crate::signal::SignalSet;

/// Says whether calls on this end return `EAGAIN` where they would wait.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn set_nonblocking(end: &OwnedFd, nonblocking: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(end)?;
    flags.set(OFlags::NONBLOCK, nonblocking);
    Ok(rustix::fs::fcntl_setfl(end, flags)?)
}

/// Reads what there is; 0 is the end.
///
/// # Errors
///
/// Those of `readv(2)`, `EINTR` excepted; `EAGAIN` if there is nothing yet.
pub fn read(end: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::readv(end, buffers))?)
}

/// Writes what there is room for; no `SIGPIPE` comes with `EPIPE`.
///
/// `write` on a pipe has no flag for that before Linux 6.18, so the signal is blocked in this
/// thread meanwhile, and taken back if it came.
///
/// # Errors
///
/// Those of `writev(2)`, `EINTR` excepted; `EAGAIN` if there is no room.
pub fn write(end: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let pipe_signal = SignalSet::of(&[libc::SIGPIPE]);
    let was_pending = is_sigpipe_pending();
    let before = pipe_signal.block();
    let written = retry_on_intr(|| rustix::io::writev(end.as_fd(), buffers));
    if written == Err(Errno::PIPE) && !was_pending {
        pipe_signal.discard();
    }
    before.set();
    Ok(written?)
}

/// Ends reading for this descriptor: the pipe's end closes, and the number reads as ended.
///
/// The number stays taken, so that nobody who uses it meets another file under it.
///
/// # Errors
///
/// Those of `open(2)` on `/dev/null`, and of `dup3(2)`.
pub fn end_reading(end: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let null = lift(rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?)?;
    // SAFETY: both are open, and the number goes on being owned by whoever owns it.
    if unsafe { libc::dup3(null.as_raw_fd(), end.as_raw_fd(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn is_sigpipe_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer is valid for writing a set.
    unsafe { libc::sigpending(pending.as_mut_ptr()) };
    // SAFETY: all zeros is a valid set, whether or not the call wrote to it.
    let pending = unsafe { pending.assume_init() };
    // SAFETY: the set is initialised, and `SIGPIPE` is a signal.
    unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) == 1 }
}

impl SignalSet {
    /// Takes one pending signal of the set, which is blocked, if there is one.
    fn discard(&self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both pointers are to valid values; no information about the signal is asked for.
        unsafe { libc::sigtimedwait(self.as_raw(), ptr::null_mut(), &raw const now) };
    }
}
