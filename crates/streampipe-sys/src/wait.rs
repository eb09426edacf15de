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
    let events = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    let mut watched = [PollFd::from_borrowed_fd(fd, events)];
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

/// What one socket is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Interests<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// Until there is something to read, or the end.
    pub readable: bool,
    /// Until there is room to write, or a peer that will never read again.
    pub writable: bool,
}

/// Waits until one of two descriptors is ready for something it is waited for, or the deadline.
///
/// One that is waited for nothing is left out, so that a hang-up there cannot wake the caller for
/// ever.
///
/// # Errors
///
/// Those of `ppoll(2)`, `EINTR` excepted.
pub fn wait_any(two: [Interests<'_>; 2], deadline: Option<Instant>) -> io::Result<Ready> {
    let events = |interests: &Interests<'_>| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, interests.readable);
        events.set(PollFlags::OUT, interests.writable);
        events
    };
    let mut watched: Vec<PollFd<'_>> = two
        .iter()
        .filter(|interests| interests.readable || interests.writable)
        .map(|interests| PollFd::from_borrowed_fd(interests.fd, events(interests)))
        .collect();
    poll_until(&mut watched, deadline)
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
