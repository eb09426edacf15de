//! How a thread sends a request: it receives for others while there is no room.
//!
//! A peer that cannot get rid of what it sends takes no request. If all that comes fills the queues, and nobody takes
//! it, the call must be told so, whatever the size of its request.

use std::time::{Duration, Instant};

use streampipe_sys::wait::{Interest, wait_any};

use super::carrier::is_shortage;
use super::core::{Core, Reading, Stall, unclaimed};
use super::incoming::{Effort, STEPS};
use super::outgoing::Outbound;
use super::sending::Sending;
use super::{RecvError, SendReason};
use crate::end::Waiting;

/// How long a call sends, or waits until it may, before it looks what has come.
const SLICE: Duration = Duration::from_millis(20);

/// How often a call goes on for a slice when the system is short of memory.
const SHORTAGES: u32 = 10;

/// What there is to read while a request waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToRead {
    /// Nothing now.
    Nothing,
    /// Nothing by this thread now: another one reads, or the queues are full.
    NotByUs,
    /// Nothing any more.
    Over,
}

impl Core {
    /// Sends a whole request, or nothing of it. It may return early if the answer is there already.
    pub(crate) fn send_request(
        &self,
        request: &Outbound<'_>,
        waiting: Waiting,
    ) -> Result<(), SendReason> {
        if waiting.is_hurried() {
            return self.send(request, waiting);
        }
        let mut posting = RequestSend::new(self, waiting);
        // The usual case: it takes no waiting, and no look at the clock. If there is no room, it sleeps in a send.
        if let Some(done) = posting.advance(request, Waiting::Never) {
            return done;
        }
        if let Some(done) = posting.advance(request, slice_of(waiting)) {
            return done;
        }
        // Then it does not, to wait for either direction.
        let mut stall = Stall::default();
        let mut to_read = ToRead::Nothing;
        loop {
            let heard = self.carrier.end.notes_heard();
            if to_read != ToRead::Over {
                to_read = self.read_for_others(&mut stall).map_err(|why| match why {
                    _ if waiting.is_over() => SendReason::TimedOut,
                    why => SendReason::Unanswerable(Box::new(why)),
                })?;
            }
            if self.lock().has_answer(request.id) {
                // Of no use any more: the peer does not want it whole.
                return Ok(());
            }
            let patience = if posting.has_turn() { Waiting::Never } else { slice_of(waiting) };
            if let Some(done) = posting.advance(request, patience) {
                return done;
            }
            // A ring is polled only after calls that did not wait, and if the read has not heard of room.
            if patience == Waiting::Never && heard == self.carrier.end.notes_heard() {
                self.wait_for_either(to_read, slice_of(waiting)).map_err(SendReason::Io)?;
            }
        }
    }

    /// Reads all that is there, for whoever wants it.
    fn read_for_others(&self, stall: &mut Stall) -> Result<ToRead, RecvError> {
        for _ in 0..STEPS {
            let mut mail = self.lock();
            let budget = self.budget();
            if mail.is_full(&budget) {
                return if stall.is_over(&mail) {
                    Err(unclaimed(&mail))
                } else {
                    Ok(ToRead::NotByUs)
                };
            }
            let Some(incoming) = mail.incoming.take() else { return Ok(ToRead::NotByUs) };
            drop(mail);
            let mut reading = Reading { core: self, incoming: Some(incoming) };
            let step = reading.advance(budget, Waiting::Never, &mut Effort::default());
            let mut mail = reading.stop();
            let stops = match step {
                Ok(arrived) => {
                    mail = self.sort(mail, arrived);
                    None
                }
                Err(RecvError::Empty | RecvError::TimedOut) => Some(Ok(ToRead::Nothing)),
                Err(error) if error.is_end() => {
                    // The peer may read on. Some ends are told once: to the next who receives.
                    mail.unreported.get_or_insert(error);
                    Some(Ok(ToRead::Over))
                }
                Err(error) => Some(Err(error)),
            };
            mail.wake_a_reader();
            if let Some(stops) = stops {
                return stops;
            }
        }
        Ok(ToRead::Nothing)
    }

    /// Waits until there is room, or something to read if that is of use.
    fn wait_for_either(&self, to_read: ToRead, slice: Waiting) -> std::io::Result<()> {
        let both = [Interest::Writable, Interest::Readable];
        let interests = if to_read == ToRead::Nothing { &both[..] } else { &both[..1] };
        self.carrier.end.with_interests(interests, |fds, again| {
            wait_any(fds, again.into_iter().chain(slice.deadline()).min()).map(drop)
        })
    }
}

/// A request that is being sent. Dropped before it is sent, it is withdrawn.
struct RequestSend<'core> {
    core: &'core Core,
    waiting: Waiting,
    /// `None` until it is its turn.
    sending: Option<Sending<'core>>,
    /// How often the system may be short of memory before that is an error.
    shortages: u32,
}

impl<'core> RequestSend<'core> {
    fn new(core: &'core Core, waiting: Waiting) -> Self {
        Self { core, waiting, sending: None, shortages: SHORTAGES }
    }

    fn has_turn(&self) -> bool {
        self.sending.is_some()
    }

    /// Sends what is left of the request; `None` if there is no room for it, or another thread is sending.
    fn advance(
        &mut self,
        request: &Outbound<'_>,
        patience: Waiting,
    ) -> Option<Result<(), SendReason>> {
        let Self { core, waiting, .. } = *self;
        let step = match &mut self.sending {
            Some(sending) => sending.advance(request, patience),
            None => {
                // If it is small, it is taken whole or not at all.
                let is_small = request.len() <= core.carrier.end.taken_whole() as u64;
                let may_give_up = if is_small { waiting } else { Waiting::Never };
                let started = core.start_send(request, patience, may_give_up);
                started.and_then(|it| self.sending.insert(it).advance(request, patience))
            }
        };
        match step {
            Err(SendReason::Full | SendReason::TimedOut) if !waiting.is_over() => None,
            Err(SendReason::Full) => Some(Err(SendReason::TimedOut)),
            Err(SendReason::Io(error)) if is_shortage(&error) && self.shortages > 0 => {
                self.shortages -= 1;
                // It asks again for a while.
                self.advance(request, slice_of(waiting))
            }
            done => Some(done),
        }
    }
}

/// The next part of a wait.
fn slice_of(waiting: Waiting) -> Waiting {
    let end = Instant::now() + SLICE;
    Waiting::Until(waiting.deadline().map_or(end, |deadline| deadline.min(end)))
}
