//! For tasks, which do not wait in a call.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use streampipe_wire::Kind;

use super::RecvError;
use super::core::{Arrived, Core, Reading, Stall, unclaimed};
use super::incoming::Effort;
use super::mail::Want;
use crate::end::Waiting;

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
}

/// For tasks, which do not wait in here.
impl Core {
    /// Receives at most one message, in a bounded number of steps. Only one task at a time may do that.
    pub(crate) fn look(&self, want: Want) -> Result<Look, RecvError> {
        self.tell_regrets();
        let mut mail = self.lock();
        if let Some(arrived) = mail.take(want) {
            drop(mail);
            return self.hand_over(arrived).map(Look::Arrived);
        }
        let budget = self.budget();
        if mail.is_full(&budget) {
            return Ok(Look::Full);
        }
        let Some(incoming) = mail.incoming.take() else { return Ok(Look::More) };
        drop(mail);
        let mut reading = Reading { core: self, incoming: Some(incoming) };
        let step = reading.advance(budget, Waiting::Never, &mut Effort::brief());
        let mut mail = reading.stop();
        match step {
            Ok(arrived) if want.is_met_by(arrived.kind, arrived.id) => {
                mail.hand_over(&arrived);
                drop(mail);
                self.hand_over(arrived).map(Look::Arrived)
            }
            Ok(arrived) => {
                drop(self.sort(mail, arrived));
                Ok(Look::More)
            }
            // It was enough for one step.
            Err(RecvError::TimedOut) => Ok(Look::More),
            Err(RecvError::Empty) => Ok(Look::Empty),
            Err(error) => Err(error),
        }
    }

    /// Whether there is something to receive of which the socket does not know.
    pub(crate) fn has_something(&self, want: Want) -> bool {
        let mail = self.lock();
        mail.has(want)
            || mail.incoming.as_ref().is_some_and(|it| it.has_something())
            || self.end().holds_something()
    }

    /// Waits until somebody else has received what is wanted.
    pub(crate) fn hear(&self, want: Want) -> Hearing<'_> {
        Hearing::new(self, want)
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

/// Tasks that wait for what another task receives.
///
/// They are woken, and their wakers dropped, while nothing is locked: a waker may do anything.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// By the request that is to be answered.
    callers: BTreeMap<u64, Waker>,
    /// By their age.
    takers: BTreeMap<u64, (Want, Waker)>,
    last_key: u64,
}

impl Listeners {
    /// One that wants this, to be woken.
    pub(super) fn who_wants(&self, kind: Kind, id: u64) -> Option<Waker> {
        match kind {
            Kind::Answer | Kind::NoAnswer => self.callers.get(&id).cloned(),
            _ => {
                let mut takers = self.takers.values();
                takers.find(|(want, _)| want.is_met_by(kind, id)).map(|(_, waker)| waker.clone())
            }
        }
    }

    /// Adds one, or says who else it is that waits now; returns its key, and the waker it had.
    fn put(&mut self, want: Want, key: Option<u64>, waker: Waker) -> (u64, Option<Waker>) {
        if let Want::Answer(id) = want {
            return (id, self.callers.insert(id, waker));
        }
        let key = key.unwrap_or_else(|| {
            self.last_key += 1;
            self.last_key
        });
        (key, self.takers.insert(key, (want, waker)).map(|(_, waker)| waker))
    }

    fn remove(&mut self, want: Want, key: u64) -> Option<Waker> {
        match want {
            Want::Answer(id) => self.callers.remove(&id),
            _ => self.takers.remove(&key).map(|(_, waker)| waker),
        }
    }
}

/// Waits until somebody else has received what is wanted. Dropped early, it has taken nothing.
pub(crate) struct Hearing<'core> {
    core: &'core Core,
    want: Want,
    key: Option<u64>,
}

impl<'core> Hearing<'core> {
    pub(super) fn new(core: &'core Core, want: Want) -> Self {
        Self { core, want, key: None }
    }
}

impl Future for Hearing<'_> {
    type Output = Result<Arrived, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut mail = self.core.lock();
        if let Some(arrived) = mail.take(self.want) {
            drop(mail);
            return Poll::Ready(self.core.hand_over(arrived));
        }
        let (key, before) = mail.listeners.put(self.want, self.key, context.waker().clone());
        drop(mail);
        drop(before);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut mail = self.core.lock();
        let own = mail.listeners.remove(self.want, key);
        // It may have been told of something that is left for another one now.
        let others: Vec<_> =
            mail.kinds_queued().filter_map(|kind| mail.listeners.who_wants(kind, 0)).collect();
        drop(mail);
        drop(own);
        others.into_iter().for_each(Waker::wake);
    }
}
