//! How a handle waits: for its descriptor, its deadline, and the death of a known peer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use streampipe_sys::message::Blocking;
use streampipe_sys::wait::{Interest, Ready, Woken, pause, wait, wait_any, wait_beside};

use super::core::End;
use super::modes::Waiting;
use super::pipes::ReadPipe;
use super::watch::{Life, Watch};

/// How often a call may be told to wait right after the wait said ready, before it slows down.
const FRUITLESS: u32 = 16;

/// How long a wait for room lasts before the call is made again.
const SLICE: Duration = Duration::from_millis(50);

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
            match wait(self.fd.as_fd(), interest, in_slices(interest, deadline))? {
                Ready::Yes => slow_down(&mut fruitless, deadline)?,
                Ready::TimedOut if waiting.is_over() => return Err(io::ErrorKind::TimedOut.into()),
                Ready::TimedOut => {}
            }
        }
    }

    /// The same for an end whose peer is a known process, whoever else holds a copy of its end.
    ///
    /// The call is made once more after the process was seen to have ended: what it had queued comes
    /// first.
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
            // Also past the deadline: a call that does not wait looks, too.
            match (watch.life()?, waiting) {
                (Life::Gone, _) => {
                    return match call(Blocking::Never) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            Err(watch.gone().into())
                        }
                        done => done,
                    };
                }
                (_, Waiting::Never) => return Err(io::ErrorKind::WouldBlock.into()),
                _ if waiting.is_over() => return Err(io::ErrorKind::TimedOut.into()),
                (life, _) => {
                    if self.wait_beside(watch, life, interest, waiting.deadline())? == Ready::Yes {
                        slow_down(&mut fruitless, waiting.deadline())?;
                    }
                }
            }
        }
    }

    /// Waits for the descriptor, for the process if it lives, and else until its end has had the time
    /// to close. `Yes` if the descriptor is ready.
    fn wait_beside(
        &self,
        watch: &Watch,
        life: Life,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> io::Result<Ready> {
        if let (Some(pipe), Interest::Readable) = (&self.read_pipe, interest) {
            return self.wait_for_read_pipe(pipe, watch, life, deadline);
        }
        let pipe = match (&self.outlet, interest) {
            (Some(outlet), Interest::Writable) => match outlet.pipe() {
                // Ended by another thread meanwhile: the call will say so.
                None => return Ok(Ready::TimedOut),
                pipe => pipe,
            },
            _ => None,
        };
        let fd = pipe.as_ref().map_or(self.fd.as_fd(), |pipe| pipe.as_fd());
        let deadline = in_slices(interest, deadline);
        match life {
            Life::Closing(until) => {
                wait(fd, interest, Some(deadline.map_or(until, |deadline| deadline.min(until))))
            }
            Life::Lives | Life::Gone => {
                let woken = wait_beside(fd, interest, watch.pidfd(), deadline)?;
                Ok(if woken == Woken::Ready { Ready::Yes } else { Ready::TimedOut })
            }
        }
    }

    /// The same for the reading pipe of an end that is two, which another thread may end.
    fn wait_for_read_pipe(
        &self,
        pipe: &ReadPipe,
        watch: &Watch,
        life: Life,
        deadline: Option<Instant>,
    ) -> io::Result<Ready> {
        let bell = pipe.bell();
        if pipe.is_ended() {
            // Meanwhile: the call will say so.
            return Ok(Ready::TimedOut);
        }
        let closed_by = match life {
            Life::Closing(until) => Some(until),
            Life::Lives | Life::Gone => None,
        };
        let slice = bell.is_none().then(|| Instant::now() + SLICE);
        let until = deadline.into_iter().chain(closed_by).chain(slice).min();
        let process = closed_by.is_none().then(|| watch.pidfd());
        let beside = process.into_iter().chain(bell.map(AsFd::as_fd));
        let waited = [self.fd.as_fd()].into_iter().chain(beside);
        wait_any(&waited.map(|fd| (fd, Interest::Readable)).collect::<Vec<_>>(), until)
    }

    /// Whether a write would not have to wait for room. If it would, the descriptor tells when there is some.
    ///
    /// Only where no thread waits for room in a write.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_room(&self) -> bool {
        match self.ring() {
            Some((ring, line)) => self.has_lost_peer() || ring.has_room(&line),
            None => self.is_writable(),
        }
    }

    fn has_lost_peer(&self) -> bool {
        let is_gone = |watch: &Watch| watch.life().is_ok_and(|life| life == Life::Gone);
        self.watch.as_ref().is_some_and(is_gone)
    }

    /// Whether a write would not have to wait for room.
    pub(crate) fn is_writable(&self) -> bool {
        if self.has_lost_peer() {
            return true;
        }
        if let Some((ring, line)) = self.ring() {
            return ring.is_writable(&line);
        }
        let pipe = self.outlet.as_ref().and_then(|outlet| outlet.pipe());
        if self.is_two_pipes() && pipe.is_none() {
            return true;
        }
        let fd = pipe.as_ref().map_or(self.fd.as_fd(), |pipe| pipe.as_fd());
        // A process that may open nothing may not poll: the write will tell.
        !matches!(wait(fd, Interest::Writable, Some(Instant::now())), Ok(Ready::TimedOut))
    }

    /// Waits until there is something to receive, or the end, and receives nothing.
    pub(crate) fn wait_readable(&self, waiting: Waiting) -> io::Result<()> {
        if let Some((ring, line)) = self.ring() {
            return ring.wait_readable(&line, waiting);
        }
        self.patiently(Interest::Readable, waiting, |_| {
            self.is_readable().then_some(()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }

    /// What to wait for until this end can go on, the death of its process included, and until when at
    /// the latest it should be looked at again.
    pub(crate) fn with_interests<T>(
        &self,
        interests: &[Interest],
        use_them: impl FnOnce(&[(BorrowedFd<'_>, Interest)], Option<Instant>) -> T,
    ) -> T {
        let writes = interests.contains(&Interest::Writable);
        // Only then, and for a slice: while somebody holds it, the pipe cannot close.
        let pipe = self.outlet.as_ref().filter(|_| writes).and_then(|outlet| outlet.pipe());
        let is_ring = self.is_ring();
        let place = |interest| match (&pipe, interest) {
            (Some(pipe), Interest::Writable) => pipe.as_fd(),
            _ => self.fd.as_fd(),
        };
        // Of a ring, the lifeline tells of room, too.
        let what = |interest| if is_ring { Interest::Readable } else { interest };
        let own = interests.iter().map(|&interest| (place(interest), what(interest)));
        let watch = self.watch.as_ref().filter(|_| !interests.is_empty());
        let life = watch.map(|watch| watch.life().unwrap_or(Life::Lives));
        let process = watch.filter(|_| life == Some(Life::Lives));
        let process = process.map(|watch| (watch.pidfd(), Interest::Readable));
        let read_pipe = self.read_pipe.as_ref().filter(|_| interests.contains(&Interest::Readable));
        let bell = read_pipe.and_then(|pipe| pipe.bell());
        // Nor does a shutdown in this process ring for a poll of a ring's lifeline.
        let in_slices = writes || is_ring || (read_pipe.is_some() && bell.is_none());
        let again = match life {
            Some(Life::Closing(until)) => Some(until),
            Some(Life::Gone) => Some(Instant::now()),
            Some(Life::Lives) | None if in_slices => Some(Instant::now() + SLICE),
            Some(Life::Lives) | None => None,
        };
        let bell = bell.map(|bell| (bell.as_fd(), Interest::Readable));
        use_them(&own.chain(process).chain(bell).collect::<Vec<_>>(), again)
    }

    /// How many bytes the process, which is gone for good, has left; `None` as long as it is not known
    /// to be, or if an error left bytes that come before.
    ///
    /// What others add to them is none of its own: a loop that reads to the end stops behind these.
    pub(super) fn left_behind(&self, look: Look) -> io::Result<Option<u64>> {
        let Some(watch) = &self.watch else { return Ok(None) };
        let life = match look {
            Look::AtWhatIsKnown => watch.known_life(),
            Look::Anew => watch.life()?,
        };
        if life != Life::Gone || self.side().held().is_some() {
            return Ok(None);
        }
        // Where a filter refuses the question, there is no bound.
        Ok(self.bytes_queued().ok())
    }

    pub(super) fn gone(&self) -> io::Error {
        match &self.watch {
            Some(watch) => watch.gone().into(),
            None => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// Whether a process is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    AtWhatIsKnown,
    /// At the price of a system call.
    Anew,
}

/// The end of the next slice of a wait.
///
/// A wait for room is cut in slices: `poll` is not woken when the peer ends its reading
/// (`SHUT_RD`), as a call that sleeps in the kernel is; and a pipe that another thread ends cannot close
/// while this one waits on it.
fn in_slices(interest: Interest, deadline: Option<Instant>) -> Option<Instant> {
    if interest == Interest::Readable {
        return deadline;
    }
    let slice = Instant::now() + SLICE;
    Some(deadline.map_or(slice, |deadline| deadline.min(slice)))
}

/// After several waits that said ready for a call that then had to wait: other readers are always
/// faster, or the peer makes `poll` lie (an urgent byte). It costs time, not the processor.
fn slow_down(fruitless: &mut u32, deadline: Option<Instant>) -> io::Result<()> {
    *fruitless = fruitless.saturating_add(1);
    if *fruitless > FRUITLESS { pause(PAUSE, deadline) } else { Ok(()) }
}
