//! How a handle waits: for its descriptor, its deadline, and the death of a known peer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use streampipe_sys::message::Blocking;
use streampipe_sys::wait::{Interest, Ready, Woken, has_ended, pause, wait, wait_beside};

use super::core::End;
use super::modes::Waiting;
use super::watch::Watch;

/// How often a call may be told to wait right after the wait said ready, before it slows down.
const FRUITLESS: u32 = 16;

/// How long a write to a pipe waits before it looks whether another thread has ended the direction.
const SLICE: Duration = Duration::from_millis(50);

/// How long the end of a process that is gone may take to close, before it counts as held.
const LAST_COPY: Duration = Duration::from_millis(20);

/// How much it slows down.
const PAUSE: Duration = Duration::from_millis(1);

impl End {
    /// Repeats a call until it does not have to wait, or may not wait any longer.
    #[inline]
    pub(super) fn patiently<T>(
        &self,
        interest: Interest,
        waiting: Waiting,
        mut call: impl FnMut(Blocking) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(watch) = &self.watch {
            return self.patiently_beside(watch, interest, waiting, call);
        }
        let (blocking, deadline) = match waiting {
            Waiting::Never => return call(Blocking::Never),
            Waiting::Forever => (Blocking::AsIs, None),
            Waiting::Until(deadline) => (Blocking::Never, Some(deadline)),
        };
        let mut fruitless = 0_u32;
        loop {
            match call(blocking) {
                // Either the deadline forbids sleeping in the call, or somebody who shares the open
                // file description set `O_NONBLOCK` on it (A16): this handle waits all the same.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if wait(self.fd.as_fd(), interest, deadline)? == Ready::TimedOut {
                return Err(io::ErrorKind::TimedOut.into());
            }
            slow_down(&mut fruitless, deadline)?;
        }
    }

    /// The same for an end whose peer is a known process, whoever else holds a copy of its end.
    ///
    /// The process is looked at after the call had to wait, and the call is made once more after
    /// the process was seen to have ended: what it had queued comes first.
    #[cold]
    fn patiently_beside<T>(
        &self,
        watch: &Watch,
        interest: Interest,
        waiting: Waiting,
        mut call: impl FnMut(Blocking) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut fruitless = 0_u32;
        loop {
            match call(Blocking::Never) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            match self.wait_beside(watch, interest, waiting)? {
                Woken::Ready => slow_down(&mut fruitless, waiting.deadline())?,
                Woken::TimedOut if waiting == Waiting::Never => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Woken::TimedOut if waiting.is_over() => return Err(io::ErrorKind::TimedOut.into()),
                // Only a slice of the wait is over.
                Woken::TimedOut => {}
                Woken::Gone => {
                    match call(Blocking::Never) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        done => return done,
                    }
                    if waiting != Waiting::Never {
                        self.wait_for_last_copy(interest)?;
                    }
                    return match call(Blocking::Never) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            Err(watch.gone().into())
                        }
                        done => done,
                    };
                }
            }
        }
    }

    /// A sibling that is being started has a copy of everything until it executes its program: for
    /// such a moment the end would look held, and an orderly close like a peer that is gone.
    fn wait_for_last_copy(&self, interest: Interest) -> io::Result<()> {
        let pipe = self.outlet.as_ref().and_then(|outlet| outlet.pipe());
        let fd = match (&pipe, interest) {
            (Some(pipe), Interest::Writable) => pipe.as_fd(),
            _ => self.fd.as_fd(),
        };
        wait(fd, interest, Some(Instant::now() + LAST_COPY)).map(drop)
    }

    fn wait_beside(
        &self,
        watch: &Watch,
        interest: Interest,
        waiting: Waiting,
    ) -> io::Result<Woken> {
        if waiting == Waiting::Never {
            let gone = has_ended(watch.pidfd())?;
            return Ok(if gone { Woken::Gone } else { Woken::TimedOut });
        }
        let deadline = waiting.deadline();
        match self.outlet.as_ref().filter(|_| interest == Interest::Writable) {
            None => wait_beside(self.fd.as_fd(), interest, watch.pidfd(), deadline),
            Some(outlet) => match outlet.pipe() {
                // Ended by another thread meanwhile: the call will say so.
                None => Ok(Woken::Ready),
                // In slices: while this thread waits, the pipe cannot close.
                Some(pipe) => {
                    let slice = Instant::now() + SLICE;
                    let until = deadline.map_or(slice, |deadline| deadline.min(slice));
                    wait_beside(pipe.as_fd(), interest, watch.pidfd(), Some(until))
                }
            },
        }
    }

    /// What to wait for until this end can go on, the death of its process included.
    pub(crate) fn with_interests<T>(
        &self,
        interest: &[Interest],
        use_them: impl FnOnce(&[(BorrowedFd<'_>, Interest)]) -> T,
    ) -> T {
        let pipe = self.outlet.as_ref().and_then(|outlet| outlet.pipe());
        let place = |interest| match (&pipe, interest) {
            (Some(pipe), Interest::Writable) => pipe.as_fd(),
            _ => self.fd.as_fd(),
        };
        let own = interest.iter().map(|&interest| (place(interest), interest));
        let process = self.watch.as_ref().filter(|_| !interest.is_empty());
        let process = process.map(|watch| (watch.pidfd(), Interest::Readable));
        use_them(&own.chain(process).collect::<Vec<_>>())
    }
}

/// After several waits that said ready for a call that then had to wait: other readers are always
/// faster, or the peer makes `poll` lie (an urgent byte). It costs time, not the processor.
fn slow_down(fruitless: &mut u32, deadline: Option<Instant>) -> io::Result<()> {
    *fruitless = fruitless.saturating_add(1);
    if *fruitless > FRUITLESS { pause(PAUSE, deadline) } else { Ok(()) }
}
