use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::wait::{Interest, Ready, pause, wait};

use super::orphans;

/// How often a dead child is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// A child process, held by a pidfd: it can never come to mean another process.
///
/// # Dropping
///
/// A child that has ended is reaped, so no zombie stays. One that still runs goes on running: it is
/// neither killed nor waited for. It is reaped by this library as soon as, after its end, another
/// [`Child`] is dropped or [`fork`](crate::fork) is called, and by the system when this process
/// ends. Our dropped or shut down [`Stream`](crate::Stream) is the end of its input, which is the
/// usual way to tell it to finish; a drop alone does not reach it while a younger sibling holds a
/// copy of our end (see [`fork`](crate::fork())).
///
/// # Examples
///
/// See [`fork`](crate::fork).
#[derive(Debug)]
#[doc(alias = "pidfd")]
pub struct Child {
    id: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not known to have ended. The descriptor is the pidfd.
    Running(OwnedFd),
    /// Reaped, by us or by somebody else; the pidfd is kept for whoever borrows it.
    Ended(OwnedFd, Option<ExitStatus>),
    /// Only while being dropped.
    Dropped,
}

impl Child {
    pub(crate) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { id: pid.unsigned_abs(), state: State::Running(pidfd) }
    }

    /// Returns the process id; after the child was reaped, the system may give it to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the child has ended, and returns how it did.
    ///
    /// Again afterwards it returns the same. Our end of the pipe stays open meanwhile: a child that
    /// reads to its end before it finishes needs that dropped or shut down first.
    ///
    /// # Errors
    ///
    /// `ECHILD` if the status is not to be had: somebody else waited for it, or this process ignores
    /// `SIGCHLD`. The child has ended all the same.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let ended = match &self.state {
            State::Running(pidfd) => process::wait(pidfd.as_fd()),
            State::Ended(_, Some(status)) => Ok(*status),
            State::Ended(_, None) | State::Dropped => Err(no_status()),
        };
        self.note(ended)
    }

    /// Returns how the child ended, or `None` if it still runs. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match &self.state {
            State::Running(pidfd) => match process::try_wait(pidfd.as_fd()).transpose() {
                None => Ok(None),
                Some(ended) => self.note(ended).map(Some),
            },
            State::Ended(_, Some(status)) => Ok(Some(*status)),
            State::Ended(_, None) | State::Dropped => Err(no_status()),
        }
    }

    /// Waits for at most so long; `None` if the child still runs then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => self.wait().map(Some),
        }
    }

    /// Waits until that instant at most; `None` if the child still runs then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let ready = self.wait_until(Some(deadline))?;
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if ready == Ready::TimedOut || Instant::now() >= deadline {
                return Ok(None);
            }
            // The pidfd says dead, and there is nothing to reap: a debugger has not let go of it.
            pause(TRACED_PAUSE, Some(deadline))?;
        }
    }

    /// Kills the child with `SIGKILL`. One that has ended already is no error.
    ///
    /// It still has to be waited for, or dropped.
    ///
    /// # Errors
    ///
    /// `EPERM` if the child has taken another identity.
    #[doc(alias = "SIGKILL")]
    #[doc(alias = "pidfd_send_signal")]
    pub fn kill(&mut self) -> io::Result<()> {
        match &self.state {
            State::Running(pidfd) => match process::signal(pidfd.as_fd(), numbers::SIGKILL) {
                Err(error) if error.raw_os_error() == Some(numbers::ESRCH) => Ok(()),
                done => done,
            },
            State::Ended(..) | State::Dropped => Ok(()),
        }
    }

    /// The pidfd: readable once the child has ended. See [`os::linux`](crate::os::linux).
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Running(pidfd) | State::Ended(pidfd, _) => Some(pidfd.as_fd()),
            State::Dropped => None,
        }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> io::Result<Ready> {
        match &self.state {
            State::Running(pidfd) => wait(pidfd.as_fd(), Interest::Readable, deadline),
            State::Ended(..) | State::Dropped => Ok(Ready::Yes),
        }
    }

    /// Remembers the status, or that it is not to be had.
    fn note(&mut self, ended: io::Result<ExitStatus>) -> io::Result<ExitStatus> {
        match &ended {
            Ok(status) => self.ended(Some(*status)),
            Err(error) if error.raw_os_error() == Some(numbers::ECHILD) => self.ended(None),
            Err(_) => {}
        }
        ended
    }

    fn ended(&mut self, status: Option<ExitStatus>) {
        self.state = match std::mem::replace(&mut self.state, State::Dropped) {
            State::Running(pidfd) => State::Ended(pidfd, status),
            known => known,
        };
    }
}

fn no_status() -> io::Error {
    io::Error::from_raw_os_error(numbers::ECHILD)
}

impl Drop for Child {
    fn drop(&mut self) {
        if let State::Running(pidfd) = std::mem::replace(&mut self.state, State::Dropped) {
            orphans::adopt(pidfd);
        }
    }
}
