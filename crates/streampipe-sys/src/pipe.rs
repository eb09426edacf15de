//! Pipes as one direction of a stream: reading and writing without waiting, and without `SIGPIPE`.
//!
//! Without `O_NONBLOCK`, which belongs to the open file description, and would reach every program that
//! is given the pipe (kernel trap A16): `RWF_NOWAIT` is a flag of the call (Linux 6.4 for pipes). Before,
//! the pipe is looked at first; a second reader of the same pipe could then make a call wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, retry_on_intr};

use crate::fd::lift;
use crate::signal::SignalSet;

/// Reads what there is; 0 is the end.
///
/// # Errors
///
/// Those of `readv(2)`, `EINTR` excepted; `EAGAIN` if there is nothing yet.
pub fn read(end: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match retry_on_intr(|| preadv2(end, buffers, STREAM, ReadWriteFlags::NOWAIT)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        done => return Ok(done?),
    }
    if !is_ready(end, PollFlags::IN)? {
        return Err(Errno::AGAIN.into());
    }
    Ok(retry_on_intr(|| rustix::io::readv(end, buffers))?)
}

/// The position that means none, for calls that could take one.
const STREAM: u64 = u64::MAX;

/// What a pipe that is ready for writing has room for (`PIPE_BUF`, `pipe(7)`).
const ROOM: usize = 4096;

fn is_ready(end: BorrowedFd<'_>, events: PollFlags) -> io::Result<bool> {
    let mut watched = [PollFd::from_borrowed_fd(end, events)];
    Ok(retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))? > 0)
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
    let written = write_now(end, buffers);
    if written == Err(Errno::PIPE) && !was_pending {
        pipe_signal.discard();
    }
    before.set();
    Ok(written?)
}

fn write_now(end: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
    match retry_on_intr(|| pwritev2(end, buffers, STREAM, ReadWriteFlags::NOWAIT)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        done => return done,
    }
    let mut watched = [PollFd::from_borrowed_fd(end, PollFlags::OUT)];
    if retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))? == 0 {
        return Err(Errno::AGAIN);
    }
    let first = buffers.iter().find(|buffer| !buffer.is_empty());
    let some = first.map_or(&[][..], |buffer| &buffer[..buffer.len().min(ROOM)]);
    retry_on_intr(|| rustix::io::write(end, some))
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
