use std::io;
use std::net::Shutdown;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use streampipe_wire::Kind;

use super::SendReason;
use super::core::Core;
use super::outgoing::{NO_FDS, Outbound, Outgoing, Posting};
#[cfg(feature = "tokio")]
use super::outgoing::{Suspicion, Way};
use crate::end::Waiting;
use crate::turn::{Busy, Held};

/// How long a send that does not wait looks at a time whether another thread is through, and how long at most: a long
/// message may be in the way.
const GLANCE: Duration = Duration::from_millis(1);
const BESIDE: Duration = Duration::from_millis(10);

/// How many callers can be waiting to be told. Who asks more than that and reads nothing is not told.
const REGRETS: usize = 65_536;

/// For how many room is kept when all have been told.
const REGRETS_KEPT: usize = 1024;

/// What a channel does to send.
impl Core {
    /// Sends a whole message, or nothing of it.
    pub(crate) fn send(&self, message: &Outbound<'_>, waiting: Waiting) -> Result<(), SendReason> {
        if waiting.is_over() {
            // It does what a send does that does not wait.
            return self.send(message, Waiting::Never).map_err(|reason| match reason {
                SendReason::Full => SendReason::TimedOut,
                other => other,
            });
        }
        if waiting == Waiting::Never && message.len() > self.send_room as u64 {
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
        message.check_fds(&self.policy())?;
        let outgoing = self.take_turn(turn).map_err(|busy| match busy {
            Busy::Now => SendReason::Full,
            Busy::TimedOut => SendReason::TimedOut,
        })?;
        let posting = Posting::new(message, self.carrier.carries, waiting);
        Ok(Sending { core: self, outgoing: Some(outgoing), posting: Some(posting) })
    }

    /// Waits until nobody else sends. If it may not wait, it waits a moment for one that does not wait, either, for there is
    /// room.
    fn take_turn(&self, waiting: Waiting) -> Result<Held<'_, Outgoing>, Busy> {
        let taken = self.outgoing.take(waiting);
        if taken.is_ok() || !waiting.is_hurried() {
            return taken;
        }
        let start = Instant::now();
        while self.carrier.end.is_writable() && start.elapsed() < BESIDE {
            match self.outgoing.take(Waiting::within(GLANCE)) {
                Err(Busy::TimedOut) => {}
                taken => return taken,
            }
        }
        self.outgoing.take(waiting)
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
            if outgoing.has_unfinished() {
                return false;
            }
            while let Some(id) = self.next_regret() {
                let message = Outbound { kind: Kind::NoAnswer, id, parts: &[], fds: NO_FDS };
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

    fn next_regret(&self) -> Option<u64> {
        let mut regrets = self.regrets();
        let id = regrets.pop();
        if regrets.is_empty() {
            regrets.shrink_to(REGRETS_KEPT);
        }
        id
    }

    pub(super) fn regrets(&self) -> MutexGuard<'_, Vec<u64>> {
        self.regrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a step of a future that sends was.
#[cfg(feature = "tokio")]
#[derive(Debug)]
pub(crate) enum SendStep {
    Done(Result<(), SendReason>),
    /// There is no room now.
    Full,
    /// There is room, and another message in the way that nobody goes on with. If that is still so after this time, the
    /// next step withdraws it.
    Behind(Duration),
}

/// For tasks, which do not wait in here.
#[cfg(feature = "tokio")]
impl Core {
    /// Begins a send that goes on by steps, between which it holds nothing.
    pub(crate) fn send_by_steps(
        &self,
        message: &Outbound<'_>,
    ) -> Result<SendSteps<'_>, SendReason> {
        message.check_fds(&self.policy())?;
        let posting = self.posting(message);
        Ok(SendSteps {
            core: self,
            ticket: None,
            posting: Some(posting),
            withdrawn: 0,
            was_unfinished: false,
            suspicion: Suspicion::default(),
        })
    }

    /// It may be given up at any time.
    fn posting(&self, message: &Outbound<'_>) -> Posting {
        Posting::new(message, self.carrier.carries, Waiting::Never)
    }

    /// Whether there are callers to be told that there is no answer.
    pub(crate) fn has_regrets(&self) -> bool {
        !self.regrets().is_empty()
    }

    /// Tells of all requests without an answer, behind what is in the way.
    pub(crate) fn tell_regrets_behind(&self, suspicion: &mut Suspicion) -> SendStep {
        if self.tell_regrets() {
            return SendStep::Done(Ok(()));
        }
        let way = match self.outgoing.take(Waiting::Never) {
            Ok(mut outgoing) => outgoing.make_way(&self.carrier, suspicion),
            // Inside of a poll, after which it looks for what to tell.
            Err(_) => Way::Full,
        };
        match way {
            Way::Behind(grace) => SendStep::Behind(grace),
            Way::Full => SendStep::Full,
            Way::Free if self.tell_regrets() => SendStep::Done(Ok(())),
            Way::Free => SendStep::Full,
        }
    }
}

/// A message that a future sends step by step. Dropped before it is sent, it is withdrawn.
#[cfg(feature = "tokio")]
pub(crate) struct SendSteps<'core> {
    core: &'core Core,
    /// `Some` from the first step on.
    ticket: Option<u64>,
    /// `None` once it is sent, or given up.
    posting: Option<Posting>,
    /// How often it was withdrawn because it was in the way of others.
    withdrawn: u32,
    /// Whether it was ever in the way of others.
    was_unfinished: bool,
    pub(crate) suspicion: Suspicion,
}

#[cfg(feature = "tokio")]
impl SendSteps<'_> {
    /// Sends what is left of the message, all of it if it was withdrawn since; always with the same message.
    pub(crate) fn advance(&mut self, message: &Outbound<'_>) -> SendStep {
        let core = self.core;
        // Others have it for no longer than a step.
        let Ok(mut outgoing) = core.outgoing.take(Waiting::Forever) else { return SendStep::Full };
        let step = self.step(&mut outgoing, message);
        drop(outgoing);
        // Of those that could not be told of while it was not their turn.
        core.tell_regrets();
        step
    }

    /// Withdraws the message if it was not sent whole; says whether it was ever in the way of others.
    pub(crate) fn withdraw(&mut self) -> bool {
        if let (Some(posting), Some(ticket)) = (self.posting.take(), self.ticket) {
            if let Ok(mut outgoing) = self.core.outgoing.take(Waiting::Forever) {
                // Else it was withdrawn already, or not begun.
                if outgoing.is_unfinished(ticket) {
                    outgoing.note_finished(ticket);
                    posting.withdraw(&self.core.carrier, &mut outgoing);
                }
            }
            self.core.tell_regrets();
        }
        self.was_unfinished
    }

    fn step(&mut self, outgoing: &mut Outgoing, message: &Outbound<'_>) -> SendStep {
        let carrier = &self.core.carrier;
        let ticket = *self.ticket.get_or_insert_with(|| outgoing.new_ticket());
        let Some(posting) = &mut self.posting else { return SendStep::Done(Ok(())) };
        if !outgoing.is_unfinished(ticket) {
            if posting.has_begun() {
                *posting = self.core.posting(message);
                self.withdrawn = self.withdrawn.saturating_add(1);
            }
            match outgoing.make_way(carrier, &mut self.suspicion) {
                Way::Free => {}
                Way::Full => return SendStep::Full,
                Way::Behind(grace) => return SendStep::Behind(grace),
            }
        }
        match posting.advance(carrier, outgoing, message, Waiting::Never) {
            Ok(()) => {
                outgoing.note_finished(ticket);
                self.posting = None;
                SendStep::Done(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if posting.has_begun() {
                    self.was_unfinished = true;
                    outgoing.note_unfinished(ticket, posting, self.withdrawn);
                }
                SendStep::Full
            }
            Err(error) => {
                outgoing.note_finished(ticket);
                if let Some(posting) = self.posting.take() {
                    posting.withdraw(carrier, outgoing);
                }
                SendStep::Done(Err(SendReason::from_end(error)))
            }
        }
    }
}

#[cfg(feature = "tokio")]
impl Drop for SendSteps<'_> {
    fn drop(&mut self) {
        self.withdraw();
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
