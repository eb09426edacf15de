use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::select;
use ::tokio::sync::{Mutex, Notify};
use ::tokio::time::sleep;

use super::RegisterError;
use super::readiness::{HasEnd, Haste, Readiness};
use crate::end::{End, Waiting};
use crate::message::{Arrived, Core, Look, Outbound, Stall, Want};
use crate::{RecvError, SendReason};

/// How often it is looked whether there is room in the queues again.
const STALLED: Duration = Duration::from_millis(1);

/// A channel's core, and who of the tasks reads and writes.
pub(super) struct Line {
    ready: Readiness<Shared>,
    /// Held by the task that reads for all. How long others have let the queues be full.
    reading: Mutex<Stall>,
    /// Held by the task that sends.
    sending: Mutex<()>,
    /// Told when a request was dropped whose caller could not be told at once.
    regretted: Notify,
}

/// A core as something with a descriptor.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<Core>);

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl HasEnd for Shared {
    fn end(&self) -> &End {
        self.0.end()
    }
}

impl Line {
    pub(super) fn new(core: Arc<Core>) -> Result<Self, RegisterError<Arc<Core>>> {
        let ready = Readiness::new(Shared(core)).map_err(|error| error.map(|shared| shared.0))?;
        let (reading, sending) = (Mutex::default(), Mutex::default());
        Ok(Self { ready, reading, sending, regretted: Notify::new() })
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.ready.get().0
    }

    /// Sends a message; dropped before that, it is withdrawn.
    pub(super) async fn send(&self, message: &Outbound<'_>) -> Result<(), SendReason> {
        let _turn = self.sending.lock().await;
        // Nobody else has it for longer than a moment. It may be given up at any time.
        let mut sending = self.core().start_send(message, Waiting::Forever, Waiting::Never)?;
        let attempt = || match sending.advance(message, Waiting::Never) {
            Err(SendReason::Full) => None,
            done => Some(done),
        };
        self.ready.when_writable(attempt).await.map_err(SendReason::Io)?
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
        let mut sending = pin!(sending);
        let mut receiving = pin!(self.receive(Want::Answer(id)));
        select! {
            biased;
            sent = &mut sending => sent?,
            // An error, which is told when the request is sent: until then, it may be another one that counts.
            early = &mut receiving => {
                sending.await?;
                return Ok(early);
            }
        }
        Ok(receiving.await)
    }

    /// Receives a message of the kind that is wanted. One of the tasks that wait reads for all.
    pub(super) async fn receive(&self, want: Want) -> Result<Arrived, RecvError> {
        let mut stall = match self.reading.try_lock() {
            Ok(stall) => stall,
            Err(_) => select! {
                biased;
                arrived = self.core().hear(want) => return arrived,
                stall = self.reading.lock() => stall,
            },
        };
        loop {
            match self.look(want).await? {
                Look::Arrived(arrived) => return Ok(arrived),
                Look::More | Look::Empty => {}
                Look::Full => {
                    self.core().check_stall(&mut stall)?;
                    sleep(STALLED).await;
                }
            }
        }
    }

    /// Reads something, for whomever; not [`Empty`](Look::Empty).
    async fn look(&self, want: Want) -> Result<Look, RecvError> {
        let attempt = || match self.core().look(want) {
            Ok(Look::Empty) => None,
            done => Some(done),
        };
        let haste = if self.core().has_something(want) { Haste::Now } else { Haste::WhenReady };
        select! {
            biased;
            done = self.ready.when_readable(haste, attempt) => done.map_err(RecvError::Io)?,
            error = self.tell_regrets() => Err(RecvError::Io(error)),
        }
    }

    /// Says that a request was dropped.
    pub(super) fn regret(&self) {
        if !self.core().tell_regrets() {
            self.regretted.notify_one();
        }
    }

    /// Tells callers that there is no answer, when there is room to; ends with an error only.
    async fn tell_regrets(&self) -> io::Error {
        let attempt = || self.core().tell_regrets().then_some(());
        loop {
            if let Err(error) = self.ready.when_writable(attempt).await {
                return error;
            }
            self.regretted.notified().await;
        }
    }

    pub(super) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        self.core().shutdown(how)?;
        self.ready.tell_of_end();
        Ok(())
    }
}
