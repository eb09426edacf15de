use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::wait::{Interest, Ready, pause, wait};

use super::{StatusUnavailable, orphans};
use crate::Stream;
use crate::end::Watch;

/// How often a dead child is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// The child itself, as [`Child`](super::Child) has it behind its public fields: `Child` has no `Drop` of
/// its own, so that those can be moved out of it.
///
/// Reaping takes `&mut self`, and signals `&self`. So nothing here reaps the child while a signal is sent
/// by its number.
#[derive(Debug)]
pub(super) struct ChildHandle {
    pub(super) stream: Option<Stream>,
    id: u32,
    /// Shared with the ends that watch it.
    pidfd: Arc<OwnedFd>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Not known to have ended.
    Running,
    /// Reaped, by us or by somebody else.
    Ended(Option<ExitStatus>),
}

impl ChildHandle {
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        let (id, pidfd) = (pid.unsigned_abs(), Arc::new(pidfd));
        Self { stream: None, id, pidfd, state: State::Running }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn as_watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.pidfd), self.id)
    }

    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        match self.state {
            State::Running => {
                let ended = process::wait(self.pidfd());
                self.note(ended)
            }
            State::Ended(status) => self.known(status),
        }
    }

    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.state {
            State::Running => match process::try_wait(self.pidfd()).transpose() {
                None => Ok(None),
                Some(ended) => self.note(ended).map(Some),
            },
            State::Ended(status) => self.known(status).map(Some),
        }
    }

    pub(super) fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let ready = self.until_ended(deadline)?;
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

    /// Waits until the child has ended, and does not reap it.
    pub(super) fn until_ended(&self, deadline: Instant) -> io::Result<Ready> {
        match self.state {
            State::Running => wait(self.pidfd(), Interest::Readable, Some(deadline)),
            State::Ended(_) => Ok(Ready::Yes),
        }
    }

    pub(super) fn signal(&self, number: i32) -> io::Result<()> {
        match self.state {
            State::Running => process::signal_child(self.id, self.pidfd(), number),
            State::Ended(_) => Err(io::Error::from_raw_os_error(numbers::ESRCH)),
        }
    }

    pub(super) fn signal_group(&self, number: i32) -> io::Result<()> {
        match self.state {
            State::Running => process::signal_group(self.id, self.pidfd(), number),
            State::Ended(_) => Err(io::Error::from_raw_os_error(numbers::ESRCH)),
        }
    }

    /// Remembers the status, or that it is not to be had.
    fn note(&mut self, ended: io::Result<ExitStatus>) -> io::Result<ExitStatus> {
        match ended {
            Ok(status) => self.state = State::Ended(Some(status)),
            Err(error) if error.raw_os_error() == Some(numbers::ECHILD) => {
                self.state = State::Ended(None);
                return self.known(None);
            }
            Err(_) => {}
        }
        ended
    }

    fn known(&self, status: Option<ExitStatus>) -> io::Result<ExitStatus> {
        status.ok_or_else(|| StatusUnavailable::of_child(self.id).into())
    }
}

/// The instant after this time, of which a very long one is no error.
pub(super) fn deadline_after(timeout: Duration) -> Instant {
    let ages = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + timeout.min(ages)
}

impl Drop for ChildHandle {
    fn drop(&mut self) {
        // First, so that it can be why the child ends.
        drop(self.stream.take());
        if let State::Running = self.state {
            orphans::adopt(Arc::clone(&self.pidfd));
        }
    }
}
