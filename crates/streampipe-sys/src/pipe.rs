//! Pipes as one direction of a stream: reading and writing without waiting, and without `SIGPIPE`.
//!
//! Without `O_NONBLOCK`, which belongs to the open file description, and would reach every program that
//! is given the pipe (kernel trap A16): `RWF_NOWAIT` is a flag of the call (Linux 6.4 for pipes). Where the kernel does not
//! know the flag, or a filter refuses the call, the pipe is polled first, and a write takes 4096 bytes at a time. Another
//! reader or writer of the same pipe could then make a call wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::event::PollFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, retry_on_intr};

use crate::open;
use crate::signal::SignalSet;
use crate::wait::poll_now;

/// Reads what there is; 0 is the end.
///
/// # Errors
///
/// Those of `readv(2)`, `EINTR` excepted; `EAGAIN` if there is nothing yet.
pub fn read(end: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match retry_on_intr(|| preadv2(end, buffers, STREAM, ReadWriteFlags::NOWAIT)) {
        Err(errno) if is_no_answer(errno) => {}
        done => return Ok(done?),
    }
    if poll_now(end, PollFlags::IN)?.is_empty() {
        return Err(Errno::AGAIN.into());
    }
    Ok(retry_on_intr(|| rustix::io::readv(end, buffers))?)
}

/// The position that means none, for calls that could take one.
const STREAM: u64 = u64::MAX;

/// What a pipe that is ready for writing has room for (`PIPE_BUF`, `pipe(7)`).
const ROOM: usize = 4096;

/// How many slices one write takes where it must count them.
const SLICES: usize = 16;

/// Whether the kernel, or a filter of system calls, does not know the call or its flag.
///
/// Filters answer `EPERM` or `EACCES` where they should say `ENOSYS`. A pipe that is open answers none of these.
fn is_no_answer(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::ACCESS)
}

/// Writes what there is room for; no `SIGPIPE` comes with `EPIPE`.
///
/// `write` on a pipe has no flag for that before Linux 6.18, so the signal is blocked in this
/// thread meanwhile, and taken back if it came.
///
/// # Errors
///
/// Those of `writev(2)`, `EINTR` excepted; `EAGAIN` if there is no room. `EPIPE` if nobody reads, also for no bytes, of
/// which the kernel says nothing.
pub fn write(end: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    if buffers.iter().all(|buffer| buffer.is_empty()) {
        let is_broken = poll_now(end, PollFlags::empty())?.contains(PollFlags::ERR);
        return if is_broken { Err(Errno::PIPE.into()) } else { Ok(0) };
    }
    let pipe_signal = SignalSet::of(&[libc::SIGPIPE]);
    let was_pending = is_sigpipe_pending();
    let blocked = pipe_signal.block_scoped();
    let (written, is_broken) = write_now(end, buffers);
    if is_broken && !was_pending {
        pipe_signal.discard_pipe_signal();
    }
    drop(blocked);
    Ok(written?)
}

/// Writes what there is room for; says also whether it met a pipe that nobody reads.
fn write_now(end: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> (Result<usize, Errno>, bool) {
    match retry_on_intr(|| pwritev2(end, buffers, STREAM, ReadWriteFlags::NOWAIT)) {
        Err(errno) if is_no_answer(errno) => {}
        done => return (done, done == Err(Errno::PIPE)),
    }
    let mut written = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        if fill_room(buffers, written, &mut slices) == 0 {
            return (Ok(written), false);
        }
        match write_into_room(end, &slices) {
            Ok(count) => written += count,
            // What was written before counts; the next call meets the same error.
            Err(errno) if written > 0 => return (Ok(written), errno == Errno::PIPE),
            Err(errno) => return (Err(errno), errno == Errno::PIPE),
        }
    }
}

/// Writes no more than a pipe takes that is ready for writing.
fn write_into_room(end: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    if poll_now(end, PollFlags::OUT)?.is_empty() {
        return Err(Errno::AGAIN);
    }
    retry_on_intr(|| rustix::io::writev(end, slices))
}

/// Picks the slices of the next [`ROOM`] bytes behind the first `skip` ones; returns how many bytes they have.
fn fill_room<'bytes>(
    buffers: &'bytes [IoSlice<'bytes>],
    mut skip: usize,
    slices: &mut [IoSlice<'bytes>],
) -> usize {
    let mut left = ROOM;
    let mut slots = slices.iter_mut();
    for buffer in buffers {
        let Some(rest) = buffer.get(skip..) else {
            skip -= buffer.len();
            continue;
        };
        skip = 0;
        if rest.is_empty() {
            continue;
        }
        let Some(slot) = slots.next() else { break };
        let taken = &rest[..rest.len().min(left)];
        *slot = IoSlice::new(taken);
        left -= taken.len();
        if left == 0 {
            break;
        }
    }
    ROOM - left
}

/// Ends reading for these numbers: the pipe behind them closes, and each of them reads as ended.
///
/// The numbers stay taken, so that nobody who uses one meets another file under it. Each must be open, and stay so until
/// this returns.
///
/// # Errors
///
/// Those of `pipe(2)` and `dup3(2)`; what comes behind the number that failed is as it was.
pub fn end_reading(numbers: impl Iterator<Item = RawFd>) -> io::Result<()> {
    // A pipe that nobody writes to is at its end, and needs no file system, as `/dev/null` would.
    let (ended, _) = open::pipe()?;
    for number in numbers {
        // SAFETY: both are open, and the number goes on being owned by whoever owns it.
        if unsafe { libc::dup3(ended.as_raw_fd(), number, libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
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
    /// Takes a pending `SIGPIPE`, which is this set, and blocked.
    fn discard_pipe_signal(&self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both pointers are to valid values; no information about the signal is asked for.
        let taken = unsafe { libc::sigtimedwait(self.as_raw(), ptr::null_mut(), &raw const now) };
        if taken == -1 && io::Error::last_os_error().raw_os_error() != Some(libc::EAGAIN) {
            // A filter refuses the call. Pending signals are dropped when they are ignored, for an instant by all threads.
            // SAFETY: to ignore a signal runs no code.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
            // SAFETY: the action was in force before.
            unsafe { libc::signal(libc::SIGPIPE, before) };
        }
    }
}
