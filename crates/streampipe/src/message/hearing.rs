use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use streampipe_wire::Kind;

use super::RecvError;
use super::core::{Arrived, Core};
use super::mail::Want;

/// Tasks that wait for what another task receives.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    last_key: u64,
}

#[derive(Debug)]
struct Listener {
    key: u64,
    want: Want,
    waker: Waker,
}

impl Listeners {
    /// Wakes one that wants this.
    pub(super) fn tell(&self, kind: Kind, id: u64) {
        if let Some(listener) = self.all.iter().find(|it| it.want.is_met_by(kind, id)) {
            listener.waker.wake_by_ref();
        }
    }

    fn add(&mut self, want: Want, waker: Waker) -> u64 {
        self.last_key += 1;
        self.all.push(Listener { key: self.last_key, want, waker });
        self.last_key
    }

    fn renew(&mut self, key: u64, waker: &Waker) {
        if let Some(listener) = self.all.iter_mut().find(|it| it.key == key) {
            listener.waker.clone_from(waker);
        }
    }

    fn remove(&mut self, key: u64) {
        self.all.retain(|it| it.key != key);
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
        match self.key {
            Some(key) => mail.listeners.renew(key, context.waker()),
            None => {
                let key = mail.listeners.add(self.want, context.waker().clone());
                drop(mail);
                self.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut mail = self.core.lock();
        mail.listeners.remove(key);
        // It may have been told of something that is left for another one now.
        for kind in mail.kinds_queued() {
            mail.listeners.tell(kind, 0);
        }
    }
}
