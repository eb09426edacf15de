use std::io;
use std::net::Shutdown;
use std::sync::{MutexGuard, PoisonError};

use streampipe_wire::Kind;

use super::SendReason;
use super::core::Core;
use super::outgoing::{Outbound, Outgoing, Posting};
use crate::end::Waiting;
use crate::turn::{Busy, Held};

/// How many callers can be waiting to be told. Who asks more than that and reads nothing is not told.
const REGRETS: usize = 65_536;

/// What a channel does to send.
impl Core {
    /// Sends a whole message, or nothing of it.
    pub(crate) fn send(&self, message: &Outbound<'_>, waiting: Waiting) -> Result<(), SendReason> {
        if waiting == Waiting::Never && message.len() > self.send_room {
            // There is never room for it at once: its first frames would only be in the way of others.
            return Err(SendReason::Full);
        }
        self.start_send(message, waiting, waiting)?.advance(message, waiting)
    }

    /// Ends one or both directions; what is owed to the peer goes first, as far as that takes no waiting.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.settle();
        }
        self.carrier.end.shutdown(how)
    }

    fn settle(&self) {
        if let Ok(mut outgoing) = self.outgoing.take(Waiting::Never) {
            outgoing.settle_at_the_end(&self.carrier);
        }
    }

    /// Begins to send a message, when it is its turn. Only if all calls of [`advance`](Sending::advance) wait for ever,
    /// it is sent as one that is never given up.
    pub(crate) fn start_send(
        &self,
        message: &Outbound<'_>,
        turn: Waiting,
        waiting: Waiting,
    ) -> Result<Sending<'_>, SendReason> {
        if !message.fds.is_empty() {
            self.policy().check_outgoing(message.fds).map_err(SendReason::RefusedFd)?;
        }
        let outgoing = self.outgoing.take(turn).map_err(|busy| match busy {
            Busy::Now => SendReason::Full,
            Busy::TimedOut => SendReason::TimedOut,
        })?;
        let posting = Posting::new(message, self.carrier.carries, waiting);
        Ok(Sending { core: self, outgoing: Some(outgoing), posting: Some(posting) })
    }

    /// Tells the caller of a request that there is no answer; later, if not now.
    pub(crate) fn regret(&self, id: u64) {
        let mut regrets = self.regrets();
        if regrets.len() < REGRETS {
            regrets.push(id);
        }
        drop(regrets);
        self.tell_regrets();
        self.lock().end_duty();
    }

    /// Says that a request was answered.
    pub(crate) fn end_duty(&self) {
        self.lock().end_duty();
    }

    /// Tells of all requests without an answer, as far as that takes no waiting; whether all is told.
    pub(crate) fn tell_regrets(&self) -> bool {
        // Whoever has the turn looks again after it, so that nothing is left that came meanwhile.
        while !self.regrets().is_empty() {
            let Ok(mut outgoing) = self.outgoing.take(Waiting::Never) else { return false };
            loop {
                let Some(id) = self.regrets().pop() else { break };
                let message = Outbound { kind: Kind::NoAnswer, id, parts: &[], fds: &[] };
                let mut posting = Posting::new(&message, self.carrier.carries, Waiting::Never);
                let sent = posting.advance(&self.carrier, &mut outgoing, &message, Waiting::Never);
                // If nobody is there who could be told, it is forgotten.
                if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    posting.withdraw(&self.carrier, &mut outgoing);
                    self.regrets().push(id);
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn regrets(&self) -> MutexGuard<'_, Vec<u64>> {
        self.regrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is being sent. Dropped before it is, it is withdrawn.
pub(crate) struct Sending<'core> {
    core: &'core Core,
    /// `Some` until it is dropped.
    outgoing: Option<Held<'core, Outgoing>>,
    /// `None` once it is sent.
    posting: Option<Posting>,
}

impl Sending<'_> {
    /// Sends what is left of the message; after [`Full`](SendReason::Full) it can be called again.
    pub(crate) fn advance(
        &mut self,
        message: &Outbound<'_>,
        waiting: Waiting,
    ) -> Result<(), SendReason> {
        let (Some(posting), Some(outgoing)) = (&mut self.posting, &mut self.outgoing) else {
            return Ok(());
        };
        posting
            .advance(&self.core.carrier, outgoing, message, waiting)
            .map_err(SendReason::from_end)?;
        self.posting = None;
        Ok(())
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let (Some(posting), Some(outgoing)) = (self.posting.take(), &mut self.outgoing) {
            posting.withdraw(&self.core.carrier, outgoing);
        }
        drop(self.outgoing.take());
        // Of those that could not be told of while it was not their turn.
        self.core.tell_regrets();
    }
}

/// The peer should see the end of the channel, not that of a message that was given up.
impl Drop for Core {
    fn drop(&mut self) {
        self.settle();
    }
}
