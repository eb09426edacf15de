use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::runtime::Handle;
use ::tokio::select;
use ::tokio::sync::Notify;
use ::tokio::task::{AbortHandle, consume_budget};

use super::RegisterError;
use super::reader_task::ReaderTask;
use super::readiness::{HasEnd, Haste, Readiness};
use crate::end::End;
use crate::message::{
    Arrived, Core, Look, Outbound, SendStep, SendSteps, Served, Stall, Suspicion, Want,
};
use crate::{RecvError, SendReason};

/// A channel's core, and how tasks wait for it.
///
/// No lock is held across an await: a future that is kept, and not polled, is in nobody's way.
pub(super) struct Line(Arc<Shared>);

/// What the task that reads for others looks at, too; it does not keep it.
pub(super) struct Shared {
    ready: Readiness<CoreFd>,
    /// Where the task is started that reads for others.
    runtime: Handle,
    /// Told when a message is not in the way any more that a future had sent a part of.
    finished: Notify,
    /// Told when a request was dropped whose caller could not be told at once.
    regretted: Notify,
    reader: Mutex<Reader>,
}

/// The task that reads for others.
#[derive(Default)]
struct Reader {
    task: Option<AbortHandle>,
    waker: Option<Waker>,
}

/// A core as something with a descriptor.
#[derive(Clone)]
pub(super) struct CoreFd(pub(super) Arc<Core>);

impl AsRawFd for CoreFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl HasEnd for CoreFd {
    fn end(&self) -> &End {
        self.0.end()
    }
}

/// A send, and who is told when it is not in the way any more.
struct Sending<'line> {
    steps: SendSteps<'line>,
    finished: &'line Notify,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.steps.withdraw() {
            self.finished.notify_waiters();
        }
    }
}

impl Line {
    pub(super) fn new(core: Arc<Core>) -> Result<Self, RegisterError<Arc<Core>>> {
        let ready = Readiness::new(CoreFd(core)).map_err(|error| error.map(|fd| fd.0))?;
        Ok(Self(Arc::new(Shared {
            ready,
            runtime: Handle::current(),
            finished: Notify::new(),
            regretted: Notify::new(),
            reader: Mutex::default(),
        })))
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.0.core()
    }

    /// Sends a message; dropped before that, it is withdrawn.
    pub(super) async fn send(&self, message: &Outbound<'_>) -> Result<(), SendReason> {
        let Shared { ready, finished, .. } = &*self.0;
        let steps = self.core().send_by_steps(message)?;
        let mut sending = Sending { steps, finished };
        // The usual case: it takes no waiting.
        consume_budget().await;
        if let SendStep::Done(done) = sending.steps.advance(message) {
            return done;
        }
        loop {
            // Before the step, so that nothing is missed that happens after it.
            let mut is_finished = pin!(finished.notified());
            is_finished.as_mut().enable();
            let step = || match sending.steps.advance(message) {
                SendStep::Full => None,
                step => Some(step),
            };
            match ready.when_writable(step).await.map_err(SendReason::Io)? {
                SendStep::Done(done) => return done,
                SendStep::Full => {}
                SendStep::Behind(grace) => select! {
                    biased;
                    () = is_finished => {}
                    () = ready.sleep(grace) => sending.steps.suspicion.has_waited(),
                },
            }
        }
    }

    /// Waits until a request is sent, and for the answer to it.
    ///
    /// It receives for others while it waits for room, too: a peer that cannot get rid of an answer takes no request,
    /// and the answer may be one to a call that was given up.
    pub(super) async fn call(
        &self,
        id: u64,
        sending: impl Future<Output = Result<(), SendReason>>,
    ) -> Result<Result<Arrived, RecvError>, SendReason> {
        let mut receiving = pin!(self.receive(Want::Answer(id)));
        {
            // Dropped with this block: a request that was not sent is withdrawn.
            let mut sending = pin!(sending);
            select! {
                biased;
                sent = &mut sending => sent?,
                early = &mut receiving => return match early {
                    // Of no use any more: the peer does not want it whole.
                    Ok(answer) => Ok(Ok(answer)),
                    // It may read on, and if not, that says more.
                    Err(error) if error.is_end() => sending.await.map(|()| Err(error)),
                    Err(error) => Err(SendReason::Unanswerable(Box::new(error))),
                },
            }
        }
        Ok(receiving.await)
    }

    /// Receives a message of the kind that is wanted.
    pub(super) async fn receive(&self, want: Want) -> Result<Arrived, RecvError> {
        let mut stall = Stall::default();
        let mut looked = self.look(want).await?;
        loop {
            match looked {
                Look::Arrived(arrived) => {
                    self.0.leave_the_rest();
                    return Ok(arrived);
                }
                Look::More | Look::Empty => {}
                Look::Busy => self.core().uncontended().await,
                Look::Full => {
                    self.core().check_stall(&mut stall)?;
                    select! {
                        biased;
                        () = self.core().not_full() => {}
                        () = self.0.ready.sleep(stall.left()) => {}
                    }
                }
            }
            looked = self.look(want).await?;
        }
    }

    /// Reads something, for whomever, or waits until others have read it; not [`Empty`](Look::Empty), but when this future
    /// must look again.
    async fn look(&self, want: Want) -> Result<Look, RecvError> {
        let (core, ready) = (self.core(), &self.0.ready);
        let haste = if core.has_something(want) { Haste::Now } else { Haste::WhenReady };
        let mut attempt = || match core.look(want) {
            Ok(Look::Empty) => None,
            done => Some(done),
        };
        // The usual case: it takes no waiting. Nothing else in here lets others have a turn then.
        consume_budget().await;
        if let Some(done) = ready.try_readable(haste, &mut attempt) {
            return done;
        }
        let mut waiting = pin!(core.wait_for(want));
        let heard = if waiting.polls_itself() {
            select! {
                biased;
                heard = &mut waiting => heard,
                done = ready.when_readable(Haste::WhenReady, attempt) => {
                    return done.map_err(RecvError::Io)?;
                }
                error = self.0.tell_regrets() => return Err(RecvError::Io(error)),
            }
        } else {
            self.start_reader();
            waiting.await
        };
        match heard {
            Some(arrived) => arrived.map(Look::Arrived),
            // Each of all that were told to look for themselves.
            None => core.look(want),
        }
    }

    /// Starts the task that reads for those who do not, if there is none.
    fn start_reader(&self) {
        if !self.core().needs_a_reader() {
            return;
        }
        let task = self.0.runtime.spawn(ReaderTask::new(Arc::downgrade(&self.0)));
        self.0.reader().task = Some(task.abort_handle());
    }

    /// Says that a request was dropped.
    pub(super) fn regret(&self) {
        if !self.core().tell_regrets() {
            self.0.regretted.notify_waiters();
            let reader = self.0.reader().waker.take();
            reader.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        if how != std::net::Shutdown::Read {
            self.0.ready.forget_outlet();
        }
        self.core().shutdown(how)?;
        self.0.ready.tell_of_end();
        Ok(())
    }
}

impl Shared {
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.ready.get().0
    }

    /// Has the other futures read what one has left: a ring does not ring for it again.
    fn leave_the_rest(&self) {
        let core = self.core();
        if core.end().is_ring() && core.has_listeners() && core.end().is_readable() {
            self.ready.tell_of_end();
        }
    }

    /// Tells callers that there is no answer, when there is room to; ends with an error only.
    async fn tell_regrets(&self) -> io::Error {
        let mut suspicion = Suspicion::default();
        loop {
            let mut regretted = pin!(self.regretted.notified());
            regretted.as_mut().enable();
            let mut is_finished = pin!(self.finished.notified());
            is_finished.as_mut().enable();
            let step = || match self.core().tell_regrets_behind(&mut suspicion) {
                SendStep::Full => None,
                step => Some(step),
            };
            match self.ready.when_writable(step).await {
                Err(error) => return error,
                Ok(SendStep::Behind(grace)) => select! {
                    biased;
                    () = is_finished => {}
                    () = self.ready.sleep(grace) => suspicion.has_waited(),
                },
                Ok(SendStep::Done(_) | SendStep::Full) => regretted.await,
            }
        }
    }

    // --- for the task that reads for others ---

    /// Reads for others, or has the task woken when there is something to read.
    pub(super) fn poll_serve(&self, context: &mut Context<'_>) -> Poll<io::Result<Served>> {
        self.ready.poll_readable(context, || match self.core().serve() {
            Served::Empty => Err(io::ErrorKind::WouldBlock.into()),
            served => Ok(served),
        })
    }

    /// The same for callers that are to be told that there is no answer.
    pub(super) fn poll_regrets(
        &self,
        context: &mut Context<'_>,
        suspicion: &mut Suspicion,
    ) -> Poll<io::Result<SendStep>> {
        self.ready.poll_writable(context, || match self.core().tell_regrets_behind(suspicion) {
            SendStep::Full => Err(io::ErrorKind::WouldBlock.into()),
            step => Ok(step),
        })
    }

    pub(super) fn pause(&self, interest: Interest) -> Option<Duration> {
        self.ready.pause(interest)
    }

    /// Notes who is to be woken when a request was dropped.
    pub(super) fn note_reader(&self, waker: &Waker) {
        let mut reader = self.reader();
        let before = match &mut reader.waker {
            Some(same) if same.will_wake(waker) => None,
            other => other.replace(waker.clone()),
        };
        drop(reader);
        drop(before);
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task holds nothing of the channel; it only has to end.
impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = self.reader().task.take() {
            task.abort();
        }
    }
}
