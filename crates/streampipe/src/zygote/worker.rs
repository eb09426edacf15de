use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::wait::{Interest, Ready, pause, wait};

use super::control::Control;
use super::message::{Reply, Request};
use super::zygote_process::PATIENCE;
use crate::Stream;
use crate::end::Watch;
use crate::process::{StatusUnavailable, StopSchedule, Stops, orphans};

/// How often the zygote is asked again about a worker that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// How long the zygote has for its answer about a worker that has ended, at the least.
const MOMENT: Duration = Duration::from_millis(20);

/// A worker that a [`Zygote`](super::Zygote) forked: our end of its pipe, and its pidfd.
///
/// It is the zygote's child, not ours: the exit status comes from the zygote. As with a
/// [`Child`](crate::Child), a call on its stream that waits when it dies returns at once.
///
/// Dropping closes our end, which a worker reads as the end, and does not wait; the zygote reaps it.
/// The zygote lives until its handle is dropped, and each worker was waited for or dropped.
///
/// # Examples
///
/// See [`Zygote`](super::Zygote).
#[derive(Debug)]
pub struct Worker {
    stream: Option<Stream>,
    /// `None` once its end is known, so that the zygote need not wait for this handle.
    control: Option<Arc<Control>>,
    serial: u64,
    id: u32,
    pidfd: Arc<OwnedFd>,
    /// `Some` once the zygote was asked; inside, `None` if nobody can say.
    ended: Option<Option<ExitStatus>>,
}

impl Worker {
    pub(super) fn new(
        control: Arc<Control>,
        mut stream: Stream,
        serial: u64,
        id: u32,
        pidfd: OwnedFd,
    ) -> Self {
        let pidfd = Arc::new(pidfd);
        stream.end.watch(Watch::new(Arc::clone(&pidfd), id));
        Self { stream: Some(stream), control: Some(control), serial, id, pidfd, ended: None }
    }

    /// Returns the process id; after its end the system may give it to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Borrows our end of the pipe to the worker.
    ///
    /// # Panics
    ///
    /// If it was [taken](Self::take_stream).
    #[must_use]
    pub fn stream(&mut self) -> &mut Stream {
        self.stream.as_mut().expect("the end of this worker was taken")
    }

    /// Takes our end out of the worker, as [`Child::take_stream`](crate::Child::take_stream).
    pub fn take_stream(&mut self) -> Option<Stream> {
        self.stream.take()
    }

    /// Takes our end out of the worker as a channel, as [`Child::take_channel`](crate::Child::take_channel).
    #[cfg(feature = "serde")]
    pub fn take_channel<A, B>(&mut self) -> Option<crate::Channel<A, B>> {
        self.take_stream().map(crate::Channel::from)
    }

    /// Waits until the worker has ended, and returns how it did.
    ///
    /// Ends our direction first, as [`Child::wait`](crate::Child::wait).
    ///
    /// # Errors
    ///
    /// [`StatusUnavailable`] inside if the zygote is gone, or lost the status; the worker has ended all
    /// the same.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.end_our_direction();
        self.wait_until(None)?.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// Returns how the worker ended, or `None` if it still runs.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Some(Instant::now()))
    }

    /// Waits for at most so long; `None` if the worker still runs then. Leaves our direction open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits until that instant at most; `None` if the worker still runs then. Leaves our direction open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_until(Some(deadline))
    }

    /// Kills the worker with `SIGKILL`. One that has ended already is no error.
    ///
    /// # Errors
    ///
    /// `EPERM` if the worker has taken another identity.
    pub fn kill(&self) -> io::Result<()> {
        match self.signal(numbers::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(numbers::ESRCH) => Ok(()),
            done => done,
        }
    }

    /// Sends the worker a signal, by its number; it can never reach another process.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the worker has ended and was reaped; as [`Child::signal`](crate::Child::signal). Where
    /// `pidfd_send_signal(2)` is refused, the zygote sends the signal: `TimedOut` if it has not answered
    /// for 10 seconds, and the refusal if it is gone.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        // Our child only if the zygote is gone and its workers came to this process.
        match process::signal_child(self.id, self.pidfd.as_fd(), number) {
            Err(error) if process::is_refusal(&error) => self.have_it_signalled(number, error),
            done => done,
        }
    }

    /// Ends the worker, politely at first, as [`Child::stop`](crate::Child::stop).
    ///
    /// # Errors
    ///
    /// As [`Child::stop`](crate::Child::stop).
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        self.stop_with(StopSchedule::default())
    }

    /// Ends the worker by steps, as [`Child::stop_with`](crate::Child::stop_with).
    ///
    /// # Errors
    ///
    /// As [`Child::stop_with`](crate::Child::stop_with).
    pub fn stop_with(&mut self, schedule: StopSchedule) -> io::Result<ExitStatus> {
        schedule.carry_out(self)
    }

    /// The pidfd: readable once the worker has ended. See [`os::linux`](crate::os::linux).
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        while self.ended.is_none() {
            if wait(self.pidfd.as_fd(), Interest::Readable, deadline)? == Ready::TimedOut {
                return Ok(None);
            }
            self.ended = match self.ask_for_status(deadline) {
                Ok(Reply::Ended(status)) => Some(Some(status)),
                // Somebody traces it; or the zygote, which was stopped, has not answered in time.
                Ok(Reply::Runs) => None,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
                Ok(_) | Err(_) => self.status_as_our_child(),
            };
            if self.ended.is_none() {
                if deadline.is_some_and(|at| Instant::now() >= at) {
                    return Ok(None);
                }
                pause(TRACED_PAUSE, deadline)?;
            }
        }
        if let Some(control) = self.control.take() {
            control.forget(self.serial);
        }
        match self.ended {
            Some(Some(status)) => Ok(Some(status)),
            _ => Err(StatusUnavailable::of_worker(self.id).into()),
        }
    }

    /// Has the zygote, its parent, send the signal: this process may not use the number of a process that
    /// another one reaps. Without a zygote, the kernel's own answer stands.
    fn have_it_signalled(&self, number: i32, refused: io::Error) -> io::Result<()> {
        let Some(control) = &self.control else {
            // It has ended, and its status is known.
            return Err(io::Error::from_raw_os_error(numbers::ESRCH));
        };
        let Ok(number) = u32::try_from(number) else {
            return Err(io::Error::from_raw_os_error(numbers::EINVAL));
        };
        let request = Request::Signal { serial: self.serial, number };
        match control.ask(request, Some(Instant::now() + PATIENCE)).map(|answer| answer.reply) {
            Ok(Reply::Signalled) => Ok(()),
            Ok(Reply::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Ok(_) | Err(_) => Err(refused),
        }
    }

    /// Nobody tells: the zygote is gone, or has lost it. The kernel then gave the worker to this process if
    /// that is process 1 of its namespace, or a subreaper; it may be reaped here, and must be.
    ///
    /// `None` if it cannot be reaped yet, as somebody traces it.
    fn status_as_our_child(&self) -> Option<Option<ExitStatus>> {
        if let Some(control) = &self.control {
            control.until_zygote_has_ended();
        }
        match process::try_wait(self.pidfd.as_fd()) {
            Ok(Some(status)) => Some(Some(status)),
            Ok(None) => None,
            Err(_) => Some(None),
        }
    }

    /// Asks the zygote, which gets a moment even if the caller has none: it answers in microseconds.
    fn ask_for_status(&self, deadline: Option<Instant>) -> io::Result<Reply> {
        let Some(control) = &self.control else { return Ok(Reply::Unknown) };
        let deadline = deadline.map(|deadline| deadline.max(Instant::now() + MOMENT));
        Ok(control.ask(Request::Status(self.serial), deadline)?.reply)
    }
}

impl Stops for Worker {
    fn end_our_direction(&mut self) {
        if let Some(stream) = &self.stream {
            // A peer that is gone does not have to be told.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        Self::signal(self, number)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        Self::wait_timeout(self, timeout)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stream.take());
        if let Some(control) = &self.control {
            control.forget(self.serial);
            orphans::adopt_from_zygote(Arc::clone(&self.pidfd));
        }
    }
}
