//! Waiting for a descriptor, with one deadline for the whole wait.
//!
//! By `poll(2)`. Linux refuses it with `EINVAL` when it is given more descriptors than `RLIMIT_NOFILE` allows, even if
//! all of them are open: a sandbox that sets the limit to 0 could not poll at all. `select(2)` has no such check, so it
//! takes over then.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{
    FdSetElement, FdSetIter, PollFd, PollFlags, Timespec, fd_set_insert, fd_set_num_elements, poll,
    select,
};
use rustix::io::{Errno, retry_on_intr};

use crate::{message, queue};

/// The longest that one call waits; a longer wait is several calls.
///
/// Older kernels and the 32-bit calls count in `int` milliseconds or seconds (24.8 days, 68 years), and answer
/// `EINVAL` or `ENOSYS` to more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Readable,
    /// Room to write, or a peer that will never read again.
    Writable,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The call that was waited for will not block.
    Yes,
    /// The deadline passed first.
    TimedOut,
}

/// Waits until the descriptor is ready or the deadline has passed.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn wait(
    fd: BorrowedFd<'_>,
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    let seen = poll_until([(fd, events(interest))], deadline)?;
    Ok(if seen.is_some() { Ready::Yes } else { Ready::TimedOut })
}

/// Waits for so long, or until the deadline if that comes first, for nothing.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn pause(time: Duration, deadline: Option<Instant>) -> io::Result<()> {
    let until = Instant::now() + time;
    poll_until([], Some(deadline.map_or(until, |deadline| deadline.min(until))))?;
    Ok(())
}

/// What a wait beside a process ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The call that was waited for will not block.
    Ready,
    /// The process has ended; perhaps the call will not block, too.
    Gone,
    /// The deadline passed first.
    TimedOut,
}

/// Waits until the descriptor is ready, the process of the pidfd has ended, or the deadline.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn wait_beside(
    fd: BorrowedFd<'_>,
    interest: Interest,
    pidfd: BorrowedFd<'_>,
    deadline: Option<Instant>,
) -> io::Result<Woken> {
    let watched = [(fd, events(interest)), (pidfd, PollFlags::IN)];
    Ok(match poll_until(watched, deadline)? {
        Some([_, gone]) if !gone.is_empty() => Woken::Gone,
        Some(_) => Woken::Ready,
        None => Woken::TimedOut,
    })
}

/// Whether a call that reads would not block now.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(!poll_now(fd, PollFlags::IN)?.is_empty())
}

/// Whether the process of the pidfd has ended. Never blocks.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(!poll_now(pidfd, PollFlags::IN)?.is_empty())
}

/// Waits until one of several descriptors is ready for what it is waited for, or the deadline.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn wait_any(
    several: &[(BorrowedFd<'_>, Interest)],
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    let wanted: Vec<_> = several.iter().map(|&(fd, interest)| (fd, events(interest))).collect();
    let mut watched: Vec<PollFd<'_>> =
        wanted.iter().map(|&(fd, events)| PollFd::from_borrowed_fd(fd, events)).collect();
    let mut seen = vec![PollFlags::empty(); several.len()];
    let ready = until(deadline, |left| poll_each(&wanted, &mut watched, &mut seen, left))?;
    Ok(if ready { Ready::Yes } else { Ready::TimedOut })
}

fn events(interest: Interest) -> PollFlags {
    match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    }
}

/// Whether the peer's direction towards this socket is over: it shut down, closed or died.
///
/// Data may still be queued. Never blocks. Where `poll` is refused, the answer is yes only once no bytes are queued, and
/// a queued packet without bytes looks the same as the end.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn peer_has_finished(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let looks_finished = || -> io::Result<bool> {
        Ok(poll_now(fd, PollFlags::RDHUP)?.intersects(PollFlags::RDHUP | PollFlags::HUP))
    };
    // Twice: where `poll` is refused, data that another thread received between two steps of a look could pass for it.
    Ok(looks_finished()? && looks_finished()?)
}

/// What a look at a socket says that is used for its notes and its end alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Something came, or nothing will.
    pub readable: bool,
    /// The last copy of the other end was closed.
    pub hung_up: bool,
}

/// Looks at a socket. Never blocks.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn glance(fd: BorrowedFd<'_>) -> io::Result<Glance> {
    let events = poll_now(fd, PollFlags::IN)?;
    // `select` says the second, and only that one direction has ended.
    let hung_up = events.contains(PollFlags::HUP)
        || (events.contains(PollFlags::RDHUP) && message::is_cut(fd));
    Ok(Glance { readable: events.contains(PollFlags::IN), hung_up })
}

/// What a poll of one descriptor says now.
pub(crate) fn poll_now(fd: BorrowedFd<'_>, events: PollFlags) -> Result<PollFlags, Errno> {
    let mut seen = [PollFlags::empty()];
    let mut watched = [PollFd::from_borrowed_fd(fd, events)];
    let at_once = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
    retry_on_intr(|| poll_each(&[(fd, events)], &mut watched, &mut seen, at_once))?;
    Ok(seen[0])
}

/// Polls until one of the descriptors is ready, and says what was seen of each; `None` after the deadline.
fn poll_until<const N: usize>(
    wanted: [(BorrowedFd<'_>, PollFlags); N],
    deadline: Option<Instant>,
) -> io::Result<Option<[PollFlags; N]>> {
    let mut watched = wanted.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events));
    let mut seen = [PollFlags::empty(); N];
    let ready = until(deadline, |left| poll_each(&wanted, &mut watched, &mut seen, left))?;
    Ok(ready.then_some(seen))
}

/// Repeats a poll until it says that something is ready, or the deadline has passed.
fn until(
    deadline: Option<Instant>,
    mut poll: impl FnMut(Option<&Timespec>) -> Result<usize, Errno>,
) -> io::Result<bool> {
    loop {
        let left = deadline.map(timespec_until);
        match poll(left.as_ref()) {
            Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(false),
            // Woken early, or a signal: what is left of the deadline is computed anew.
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// One poll. `watched` and `seen` have an element for each of `wanted`.
fn poll_each(
    wanted: &[(BorrowedFd<'_>, PollFlags)],
    watched: &mut [PollFd<'_>],
    seen: &mut [PollFlags],
    timeout: Option<&Timespec>,
) -> Result<usize, Errno> {
    match poll(watched, timeout) {
        // More than the limit allows, or a filter that knows the other call only.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
            select_each(wanted, seen, timeout)
        }
        done => {
            for (seen, polled) in seen.iter_mut().zip(watched) {
                *seen = polled.revents();
            }
            done
        }
    }
}

/// The same by `select(2)`, for a process that may not poll.
///
/// `select` does not tell the end from something to read. So what is readable and has no bytes queued counts as ended
/// (`RDHUP`), whether or not that was asked for.
#[cold]
fn select_each(
    wanted: &[(BorrowedFd<'_>, PollFlags)],
    seen: &mut [PollFlags],
    timeout: Option<&Timespec>,
) -> Result<usize, Errno> {
    let above = wanted.iter().map(|(fd, _)| fd.as_raw_fd() + 1).max().unwrap_or(0);
    let mut readable = vec![FdSetElement::default(); fd_set_num_elements(wanted.len(), above)];
    let mut writable = readable.clone();
    for &(fd, events) in wanted {
        let set = if events.contains(PollFlags::OUT) { &mut writable } else { &mut readable };
        fd_set_insert(set, fd.as_raw_fd());
    }
    // SAFETY: each number in the sets is of a descriptor that is borrowed for longer than the call.
    let count = unsafe { select(above, Some(&mut readable), Some(&mut writable), None, timeout) }?;
    for (seen, &(fd, events)) in seen.iter_mut().zip(wanted) {
        let is_in = |set: &[FdSetElement]| FdSetIter::new(set).any(|it| it == fd.as_raw_fd());
        *seen = if events.contains(PollFlags::OUT) {
            if count > 0 && is_in(&writable) { PollFlags::OUT } else { PollFlags::empty() }
        } else if count == 0 || !is_in(&readable) {
            PollFlags::empty()
        } else if queue::bytes_queued(fd).is_ok_and(|queued| queued == 0) {
            PollFlags::IN | PollFlags::RDHUP
        } else {
            PollFlags::IN
        };
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// What is left until the instant, zero if it has passed, and never more than one call can wait.
pub(crate) fn timespec_until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now()).min(LONGEST);
    Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 })
}
