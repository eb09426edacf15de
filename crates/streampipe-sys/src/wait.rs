//! Waiting for a descriptor, with one deadline for the whole wait.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

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
    let mut watched = [PollFd::from_borrowed_fd(fd, events(interest))];
    poll_until(&mut watched, deadline)
}

/// Waits for so long, or until the deadline if that comes first, for nothing.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn pause(time: Duration, deadline: Option<Instant>) -> io::Result<()> {
    let until = Instant::now() + time;
    poll_until(&mut [], Some(deadline.map_or(until, |deadline| deadline.min(until))))?;
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
    let mut watched = [
        PollFd::from_borrowed_fd(fd, events(interest)),
        PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
    ];
    let ready = poll_until(&mut watched, deadline)?;
    if !watched[1].revents().is_empty() {
        return Ok(Woken::Gone);
    }
    Ok(if ready == Ready::Yes { Woken::Ready } else { Woken::TimedOut })
}

/// Whether a call that reads would not block now.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))? > 0)
}

/// Whether the process of the pidfd has ended. Never blocks.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))? > 0)
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
    let mut watched: Vec<PollFd<'_>> = several
        .iter()
        .map(|&(fd, interest)| PollFd::from_borrowed_fd(fd, events(interest)))
        .collect();
    poll_until(&mut watched, deadline)
}

fn events(interest: Interest) -> PollFlags {
    match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    }
}

/// Whether the peer's direction towards this socket is over: it shut down, closed or died.
///
/// Data may still be queued. Never blocks.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn peer_has_finished(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))?;
    Ok(watched[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP))
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
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&Timespec::default())))?;
    let events = watched[0].revents();
    let readable = events.contains(PollFlags::IN);
    Ok(Glance { readable, hung_up: events.contains(PollFlags::HUP) })
}

fn poll_until(watched: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<Ready> {
    loop {
        let left = deadline.map(timespec_until);
        match poll(watched, left.as_ref()) {
            Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(Ready::TimedOut),
            // Woken early, or a signal: what is left of the deadline is computed anew.
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(Ready::Yes),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What is left until the instant, zero if it has passed.
pub(crate) fn timespec_until(at: Instant) -> Timespec {
    let left = at.saturating_duration_since(Instant::now());
    Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
