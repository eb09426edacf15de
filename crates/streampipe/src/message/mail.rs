use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar};

use streampipe_wire::Kind;

use super::assembly::Arrived;
use super::incoming::Incoming;
use super::{Budget, RecvError};

/// For how many messages a queue that is empty keeps room.
const ROOM_KEPT: usize = 256;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A message that expects no answer.
    Message,
    /// A request.
    Request,
    /// Either of the two.
    Either,
    /// The answer to this request, or that there is none.
    Answer(u64),
}

impl Want {
    pub(super) fn is_met_by(self, kind: Kind, id: u64) -> bool {
        match self {
            Self::Message => kind == Kind::Message,
            Self::Request => kind == Kind::Request,
            Self::Either => matches!(kind, Kind::Message | Kind::Request),
            Self::Answer(wanted) => matches!(kind, Kind::Answer | Kind::NoAnswer) && wanted == id,
        }
    }
}

/// What came and was not asked for yet, and who waits.
///
/// One of those who wait reads for all: it has `incoming`. When it goes, somebody else does.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// `None` while somebody reads.
    pub(super) incoming: Option<Box<Incoming>>,
    waiters: VecDeque<Arc<Waiter>>,
    /// Tasks that wait while another one reads.
    #[cfg(feature = "tokio")]
    pub(super) listeners: super::hearing::Listeners,
    /// What whoever has `incoming` does.
    pub(super) reader: ReaderState,
    /// How often that changed, and how often somebody gave it back.
    pub(super) changes: u64,
    /// Whether somebody who does not wait has met a reader, and wants to know what it does.
    pub(super) is_observed: bool,
    /// An error that one who read for others has met, for the next who receives: some are told once.
    pub(super) unreported: Option<RecvError>,
    /// Each with how many were sorted before it.
    messages: VecDeque<(u64, Arrived)>,
    requests: VecDeque<(u64, Arrived)>,
    sorted: u64,
    /// By id, the requests that wait for an answer, and the answers that nobody has taken yet.
    calls: BTreeMap<u64, Option<Arrived>>,
    last_id: u64,
    /// How many requests were given up whose answers have not come.
    given_up: u64,
    /// How many requests were handed over, and neither answered nor dropped.
    duties: u64,
    /// How many answers came that nobody waited for.
    pub(super) late: u64,
    queued_bytes: u64,
    queued_fds: u64,
    /// How often something was taken out of the queues.
    pub(super) taken: u64,
}

/// What the thread does that reads for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReaderState {
    /// Nobody asked: it may be asleep, or have in hand what it has just received.
    #[default]
    Unknown,
    /// It is awake.
    Works,
    /// It waits until there is something to receive, and has nothing in hand.
    Sleeps,
}

/// Somebody who waits until what they want has come, or it is their turn to read.
#[derive(Debug)]
pub(super) struct Waiter {
    want: Want,
    pub(super) woken: Condvar,
}

impl Mail {
    pub(super) fn new() -> Self {
        Self { incoming: Some(Box::default()), ..Self::default() }
    }

    /// Takes what has come already.
    pub(super) fn take(&mut self, want: Want) -> Option<Arrived> {
        let (_, taken) = match want {
            Want::Message => self.messages.pop_front(),
            Want::Request => self.requests.pop_front(),
            Want::Either => self.pop_oldest(),
            // Not counted: there is room for one answer to each question.
            Want::Answer(id) => {
                self.calls.get(&id)?.as_ref()?;
                return self.calls.remove(&id).flatten();
            }
        }?;
        self.taken = self.taken.wrapping_add(1);
        for queue in [&mut self.messages, &mut self.requests] {
            if queue.is_empty() {
                queue.shrink_to(ROOM_KEPT);
            }
        }
        self.queued_bytes -= taken.bytes.len() as u64;
        self.queued_fds -= taken.fds.len() as u64;
        self.hand_over(&taken);
        Some(taken)
    }

    fn pop_oldest(&mut self) -> Option<(u64, Arrived)> {
        let number = |queue: &VecDeque<(u64, Arrived)>| queue.front().map(|(number, _)| *number);
        match (number(&self.messages), number(&self.requests)) {
            (Some(message), Some(request)) if request < message => self.requests.pop_front(),
            (None, _) => self.requests.pop_front(),
            _ => self.messages.pop_front(),
        }
    }

    /// Notes what is handed over to somebody who waited for it.
    pub(super) fn hand_over(&mut self, arrived: &Arrived) {
        match arrived.kind {
            Kind::Request => self.duties += 1,
            Kind::Answer | Kind::NoAnswer => drop(self.calls.remove(&arrived.id)),
            Kind::Message | Kind::Withdrawal => {}
        }
    }

    /// Notes that a request was answered, or dropped.
    pub(super) fn end_duty(&mut self) {
        self.duties = self.duties.saturating_sub(1);
    }

    /// Whether there are requests that somebody may drop.
    pub(super) fn has_duties(&self) -> bool {
        self.duties > 0 || !self.requests.is_empty()
    }

    /// Puts what came where it is looked for; gives it back if nobody will. Threads are told of it, tasks are not yet.
    pub(super) fn sort(&mut self, arrived: Arrived) -> Option<Arrived> {
        let (kind, id) = (arrived.kind, arrived.id);
        match kind {
            Kind::Message | Kind::Request => {
                self.queued_bytes += arrived.bytes.len() as u64;
                self.queued_fds += arrived.fds.len() as u64;
                let queue =
                    if kind == Kind::Message { &mut self.messages } else { &mut self.requests };
                queue.push_back((self.sorted, arrived));
                self.sorted = self.sorted.wrapping_add(1);
            }
            Kind::Answer | Kind::NoAnswer => match self.calls.get_mut(&id) {
                Some(slot @ None) => *slot = Some(arrived),
                Some(Some(_)) | None => {
                    self.late += 1;
                    self.given_up = self.given_up.saturating_sub(1);
                    return Some(arrived);
                }
            },
            // Not a message.
            Kind::Withdrawal => return Some(arrived),
        }
        // Out of the list: the next message is for somebody else, if this one has not woken up by then.
        let at = self.waiters.iter().position(|waiter| waiter.want.is_met_by(kind, id));
        if let Some(waiter) = at.and_then(|at| self.waiters.remove(at)) {
            waiter.woken.notify_one();
        }
        None
    }

    /// Whether the answer to this request has come.
    pub(super) fn has_answer(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(Option::is_some)
    }

    /// Whether something of this kind has come already.
    pub(super) fn has(&self, want: Want) -> bool {
        match want {
            Want::Message => !self.messages.is_empty(),
            Want::Request => !self.requests.is_empty(),
            Want::Either => !self.messages.is_empty() || !self.requests.is_empty(),
            Want::Answer(id) => self.has_answer(id),
        }
    }

    /// Whether no more may come until somebody takes some.
    pub(super) fn is_full(&self, budget: &Budget) -> bool {
        let count = self.messages.len() + self.requests.len();
        let is_over = count >= budget.queued_messages as usize
            || self.queued_bytes > budget.queued_bytes
            || self.queued_fds > u64::from(budget.queued_fds);
        // What nobody waits for is only known when it has come.
        is_over && count > 0
    }

    /// How many messages, and how many requests, wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.messages.len(), self.requests.len())
    }

    /// Notes what the reader does.
    pub(super) fn set_reader(&mut self, state: ReaderState) {
        self.reader = state;
        self.changes = self.changes.wrapping_add(1);
    }

    // --- who waits ---

    pub(super) fn add_waiter(&mut self, want: Want) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter { want, woken: Condvar::new() });
        self.waiters.push_back(Arc::clone(&waiter));
        waiter
    }

    pub(super) fn remove_waiter(&mut self, gone: &Arc<Waiter>) {
        self.waiters.retain(|waiter| !Arc::ptr_eq(waiter, gone));
    }

    /// If nobody reads, somebody who waits should.
    pub(super) fn wake_a_reader(&self) {
        if let (Some(_), Some(waiter)) = (&self.incoming, self.waiters.front()) {
            waiter.woken.notify_one();
        }
    }

    // --- calls ---

    /// Opens a place for an answer; returns its id, which is never 0 and never used again.
    pub(super) fn open_call(&mut self) -> u64 {
        self.last_id += 1;
        self.calls.insert(self.last_id, None);
        self.last_id
    }

    /// Nobody waits for this answer any more; gives back what came in spite of that.
    pub(super) fn close_call(&mut self, id: u64, was_sent: bool) -> Option<Arrived> {
        let place = self.calls.remove(&id)?;
        self.late += u64::from(place.is_some());
        self.given_up += u64::from(place.is_none() && was_sent);
        place
    }

    /// Whether there is anything that would be lost with this channel.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.requests.is_empty()
            && self.calls.is_empty()
            && self.given_up == 0
            && self.duties == 0
    }
}
