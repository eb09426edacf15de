use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use ::tokio::select;
use ::tokio::sync::Mutex;
use ::tokio::time::sleep;

use super::readiness::{HasEnd, Readiness};
use crate::end::{End, Waiting};
use crate::message::{Arrived, Core, Outbound, Stall, Want};
use crate::{RecvError, SendReason};

/// How often it is looked whether there is room in the queues again.
const STALLED: Duration = Duration::from_millis(1);

/// A channel's core, and who of the tasks reads and writes.
pub(super) struct Line {
    ready: Readiness<Shared>,
    /// Held by the task that reads for all.
    reading: Mutex<()>,
    /// Held by the task that sends.
    sending: Mutex<()>,
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
    pub(super) fn new(core: Core) -> io::Result<Self> {
        let ready = Readiness::new(Shared(Arc::new(core)))?;
        Ok(Self { ready, reading: Mutex::new(()), sending: Mutex::new(()) })
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.ready.get().0
    }

    pub(super) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        self.core().end().shutdown(how)
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

    /// Receives a message of the kind that is wanted. One of the tasks that wait reads for all.
    pub(super) async fn receive(&self, want: Want) -> Result<Arrived, RecvError> {
        let _turn = match self.reading.try_lock() {
            Ok(turn) => turn,
            Err(_) => select! {
                biased;
                arrived = self.core().hear(want) => return arrived,
                turn = self.reading.lock() => turn,
            },
        };
        let mut stall = Stall::default();
        loop {
            let attempt = || match self.core().receive_a_while(want) {
                Err(RecvError::Empty) => None,
                done => Some(done),
            };
            let received = if self.core().is_stalled(&mut stall)? {
                // What others want fills the queues: nothing is read until they take it.
                sleep(STALLED).await;
                attempt().unwrap_or(Err(RecvError::TimedOut))
            } else {
                self.ready
                    .when_readable(self.ready.haste(), attempt)
                    .await
                    .map_err(RecvError::Io)?
            };
            match received {
                // There is more to read: after the other tasks.
                Err(RecvError::TimedOut) => sleep(Duration::ZERO).await,
                done => return done,
            }
        }
    }
}
