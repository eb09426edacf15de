//! For tasks, which do not wait in a call.
//!
//! Rules of this file:
//!
//! 1. State is locked, and bytes are read, only inside of one `poll`. A future that is kept and not polled holds nothing.
//! 2. Each future that waits has its own waker here. All that could take a message are woken for it: any of them may be
//!    one that is not polled any more. An answer has one caller, who alone is woken.
//! 3. Few futures wait for the descriptor by themselves; the others are served by a task that reads for them, so that a
//!    thousand callers are not woken for one answer. What that task cannot decide, it leaves to them.
//! 4. Wakers are called, and dropped, while nothing is locked: a waker may do anything.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use streampipe_wire::Kind;

use super::RecvError;
use super::core::{Arrived, Core, Reading, Stall, unclaimed};
use super::incoming::Effort;
use super::mail::{Mail, Want};
use crate::end::Waiting;

/// How many futures wait for the descriptor by themselves: a receive and a call, without a task that reads for them.
const POLLING: usize = 2;

/// What a look at what has come was good for.
#[derive(Debug)]
pub(crate) enum Look {
    /// This was wanted.
    Arrived(Arrived),
    /// Something has come that is not what was wanted, or not whole: there may be more.
    More,
    /// Nothing is there.
    Empty,
    /// Nothing is read until somebody takes what fills the queues.
    Full,
    /// Another thread is inside of a read.
    Busy,
}

/// What one step of the task was that reads for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// Something has come: there may be more.
    More,
    /// Nothing is there.
    Empty,
    /// Another thread is inside of a read.
    Busy,
    /// Nobody waits for that task any more, or each future must look for itself; the task ends.
    Over,
}

/// For tasks, which do not wait in here.
impl Core {
    /// Receives at most one message, in a bounded number of steps.
    pub(crate) fn look(&self, want: Want) -> Result<Look, RecvError> {
        self.tell_regrets();
        let mut mail = self.lock();
        if let Some(arrived) = mail.take(want) {
            unlock_and_wake(mail, Listeners::take_stalled);
            return self.hand_over(arrived).map(Look::Arrived);
        }
        if let Some(error) = mail.unreported.take() {
            return Err(error);
        }
        let budget = self.budget();
        if mail.is_full(&budget) {
            return Ok(Look::Full);
        }
        let Some(incoming) = mail.incoming.take() else { return Ok(Look::Busy) };
        drop(mail);
        let mut reading = Reading { core: self, incoming: Some(incoming) };
        let step = reading.advance(budget, Waiting::Never, &mut Effort::brief());
        let mut mail = reading.stop();
        match step {
            Ok(arrived) if want.is_met_by(arrived.kind, arrived.id) => {
                mail.hand_over(&arrived);
                unlock_and_wake(mail, Listeners::take_contended);
                self.hand_over(arrived).map(Look::Arrived)
            }
            Ok(arrived) => {
                let mail = self.sort(mail, arrived);
                unlock_and_wake(mail, Listeners::take_contended);
                Ok(Look::More)
            }
            Err(error) => {
                unlock_and_wake(mail, Listeners::take_contended);
                match error {
                    // It was enough for one step.
                    RecvError::TimedOut => Ok(Look::More),
                    RecvError::Empty => Ok(Look::Empty),
                    error => Err(error),
                }
            }
        }
    }

    /// Whether there is something to receive of which the socket does not know.
    pub(crate) fn has_something(&self, want: Want) -> bool {
        let mail = self.lock();
        mail.has(want)
            || mail.unreported.is_some()
            || mail.incoming.as_ref().is_some_and(|it| it.has_something())
            || self.end().holds_something()
    }

    /// Begins to wait for a message.
    pub(crate) fn wait_for(&self, want: Want) -> RecvFuture<'_> {
        let mut mail = self.lock();
        let listeners = &mut mail.listeners;
        let polls_itself = listeners.polling < POLLING || listeners.has_no_runtime;
        let count = if polls_itself { &mut listeners.polling } else { &mut listeners.served };
        *count += 1;
        let generation = listeners.generation;
        RecvFuture { core: self, want, key: None, polls_itself, generation }
    }

    /// Whether a task must be started that reads for those who do not; whoever asks starts it.
    pub(crate) fn needs_a_reader(&self) -> bool {
        let mut mail = self.lock();
        let listeners = &mut mail.listeners;
        let needs = listeners.served > 0 && !listeners.has_reader;
        listeners.has_reader |= needs;
        needs
    }

    /// One step of the task that reads for others.
    pub(crate) fn serve(&self) -> Served {
        let mut mail = self.lock();
        if mail.listeners.served == 0 {
            mail.listeners.has_reader = false;
            return Served::Over;
        }
        let budget = self.budget();
        if mail.is_full(&budget) || mail.unreported.is_some() {
            drop(mail);
            self.leave_to_all();
            return Served::Over;
        }
        let Some(incoming) = mail.incoming.take() else { return Served::Busy };
        drop(mail);
        let mut reading = Reading { core: self, incoming: Some(incoming) };
        let step = reading.advance(budget, Waiting::Never, &mut Effort::brief());
        let mut mail = reading.stop();
        let served = match step {
            Ok(arrived) => {
                mail = self.sort(mail, arrived);
                Served::More
            }
            Err(RecvError::TimedOut) => Served::More,
            Err(RecvError::Empty) => Served::Empty,
            Err(error) => {
                // Some errors are told once: to the first who looks.
                mail.unreported = Some(error);
                Served::Over
            }
        };
        unlock_and_wake(mail, Listeners::take_contended);
        if served == Served::Over {
            self.leave_to_all();
        }
        served
    }

    /// Has all who wait look for themselves: the task that reads for them ends.
    pub(crate) fn leave_to_all(&self) {
        unlock_and_wake(self.lock(), Listeners::take_all);
    }

    /// The same, and no such task can be started again: its runtime has ended.
    pub(crate) fn leave_to_all_for_good(&self) {
        let mut mail = self.lock();
        mail.listeners.has_no_runtime = true;
        unlock_and_wake(mail, Listeners::take_all);
    }

    /// Whether anybody waits to receive.
    pub(crate) fn has_listeners(&self) -> bool {
        let mail = self.lock();
        mail.listeners.polling + mail.listeners.served > 0
    }

    /// Waits until no other thread is inside of a read.
    pub(crate) fn uncontended(&self) -> BlockedFuture<'_> {
        BlockedFuture { core: self, by: Blocker::Reader, key: None }
    }

    /// Waits until somebody has taken something out of full queues.
    pub(crate) fn not_full(&self) -> BlockedFuture<'_> {
        BlockedFuture { core: self, by: Blocker::FullQueues, key: None }
    }

    /// The same as [`uncontended`](Self::uncontended), for the one task that reads for others.
    pub(crate) fn poll_uncontended(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_blocked(Blocker::Reader, &mut Some(READER_KEY), context)
    }

    fn poll_blocked(
        &self,
        by: Blocker,
        key: &mut Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut mail = self.lock();
        let is_blocked = match by {
            Blocker::Reader => mail.incoming.is_none(),
            Blocker::FullQueues => mail.is_full(&self.budget()),
        };
        if !is_blocked {
            return Poll::Ready(());
        }
        let listeners = &mut mail.listeners;
        let key = *key.get_or_insert_with(|| listeners.new_key());
        let before = listeners.blocked_by(by).insert(key, context.waker().clone());
        drop(mail);
        drop(before);
        Poll::Pending
    }

    /// Has those look again who wait for room in the queues.
    pub(super) fn wake_stalled(&self) {
        unlock_and_wake(self.lock(), Listeners::take_stalled);
    }

    /// An error if nobody has taken anything out of full queues for long.
    pub(crate) fn check_stall(&self, stall: &mut Stall) -> Result<(), RecvError> {
        let mail = self.lock();
        if !mail.is_full(&self.budget()) {
            *stall = Stall::default();
            return Ok(());
        }
        if stall.is_over(&mail) { Err(unclaimed(&mail)) } else { Ok(()) }
    }
}

/// Unlocks, and then wakes those who are told.
fn unlock_and_wake(
    mut mail: std::sync::MutexGuard<'_, Mail>,
    who: impl FnOnce(&mut Listeners) -> Vec<Waker>,
) {
    let told = who(&mut mail.listeners);
    drop(mail);
    told.into_iter().for_each(Waker::wake);
}

/// Futures that wait for what comes.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// By the request that is to be answered.
    callers: BTreeMap<u64, Waker>,
    /// By their age.
    takers: BTreeMap<u64, (Want, Waker)>,
    last_key: u64,
    /// Those that found another thread inside of a read.
    contended: BTreeMap<u64, Waker>,
    /// Those that wait until somebody takes what fills the queues.
    stalled: BTreeMap<u64, Waker>,
    /// How many futures wait for the descriptor, and how many for the task that reads for them.
    polling: usize,
    served: usize,
    /// Whether there is such a task.
    has_reader: bool,
    /// Whether there can be none any more.
    has_no_runtime: bool,
    /// How often all were told to look for themselves.
    generation: u64,
}

impl Listeners {
    /// All that could take this, to be woken.
    pub(super) fn who_wants(&self, kind: Kind, id: u64) -> Vec<Waker> {
        match kind {
            Kind::Answer | Kind::NoAnswer => self.callers.get(&id).cloned().into_iter().collect(),
            _ => {
                let takers = self.takers.values().filter(|(want, _)| want.is_met_by(kind, id));
                takers.map(|(_, waker)| waker.clone()).collect()
            }
        }
    }

    pub(super) fn take_contended(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.contended).into_values().collect()
    }

    fn take_stalled(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.stalled).into_values().collect()
    }

    fn blocked_by(&mut self, by: Blocker) -> &mut BTreeMap<u64, Waker> {
        match by {
            Blocker::Reader => &mut self.contended,
            Blocker::FullQueues => &mut self.stalled,
        }
    }

    fn new_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    fn take_all(&mut self) -> Vec<Waker> {
        self.generation = self.generation.wrapping_add(1);
        self.has_reader = false;
        let callers = std::mem::take(&mut self.callers).into_values();
        let takers = std::mem::take(&mut self.takers).into_values().map(|(_, waker)| waker);
        callers.chain(takers).collect()
    }

    /// Adds one, or says who else it is that waits now; returns its key, and the waker it had.
    fn put(&mut self, want: Want, key: Option<u64>, waker: &Waker) -> (u64, Option<Waker>) {
        if let Want::Answer(id) = want {
            return (id, self.callers.insert(id, waker.clone()));
        }
        let key = key.unwrap_or_else(|| self.new_key());
        (key, self.takers.insert(key, (want, waker.clone())).map(|(_, waker)| waker))
    }

    fn remove(&mut self, want: Want, key: u64) -> Option<Waker> {
        match want {
            Want::Answer(id) => self.callers.remove(&id),
            _ => self.takers.remove(&key).map(|(_, waker)| waker),
        }
    }
}

/// Why a future cannot read for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocker {
    /// Another thread is inside of a read.
    Reader,
    /// Nobody takes what fills the queues.
    FullQueues,
}

/// The key of the task that reads for others. Futures have keys from 1 on.
const READER_KEY: u64 = 0;

/// Waits until it is not blocked any more. It has one waker in the list, however often it is polled, and none when it is
/// dropped.
pub(crate) struct BlockedFuture<'core> {
    core: &'core Core,
    by: Blocker,
    key: Option<u64>,
}

impl Future for BlockedFuture<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { core, by, key } = self.get_mut();
        core.poll_blocked(*by, key, context)
    }
}

impl Drop for BlockedFuture<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let own = self.core.lock().listeners.blocked_by(self.by).remove(&key);
        drop(own);
    }
}

/// Waits until somebody else has received what is wanted (`Some`), or it must look for itself (`None`). Dropped early, it
/// has taken nothing.
pub(crate) struct RecvFuture<'core> {
    core: &'core Core,
    want: Want,
    key: Option<u64>,
    polls_itself: bool,
    generation: u64,
}

impl RecvFuture<'_> {
    /// Whether this future must also wait for the descriptor: nobody reads for it.
    pub(crate) fn polls_itself(&self) -> bool {
        self.polls_itself
    }
}

impl Future for RecvFuture<'_> {
    type Output = Option<Result<Arrived, RecvError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut mail = self.core.lock();
        if let Some(arrived) = mail.take(self.want) {
            unlock_and_wake(mail, Listeners::take_stalled);
            return Poll::Ready(Some(self.core.hand_over(arrived)));
        }
        if mail.listeners.generation != self.generation {
            return Poll::Ready(None);
        }
        let (key, before) = mail.listeners.put(self.want, self.key, context.waker());
        drop(mail);
        drop(before);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for RecvFuture<'_> {
    fn drop(&mut self) {
        let mut mail = self.core.lock();
        let listeners = &mut mail.listeners;
        let count = if self.polls_itself { &mut listeners.polling } else { &mut listeners.served };
        *count -= 1;
        let own = self.key.and_then(|key| listeners.remove(self.want, key));
        drop(mail);
        drop(own);
    }
}
