use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The tasks that wait for one thing, which are all woken for it: each of them may be one that is not polled any more.
///
/// It is itself a waker, for a descriptor that takes only one.
#[derive(Default)]
pub(super) struct WakerSet(Mutex<Wakers>);

/// How many places are given to tasks for good.
const FIXED: u64 = 2;

#[derive(Default)]
struct Wakers {
    by_key: BTreeMap<u64, Waker>,
    last_key: u64,
}

/// A task's place in the set, until it is dropped.
pub(super) struct Place<'set> {
    set: &'set WakerSet,
    key: u64,
}

impl WakerSet {
    /// A place of its own for a task.
    pub(super) fn place(&self) -> Place<'_> {
        let mut wakers = self.lock();
        wakers.last_key += 1;
        Place { set: self, key: FIXED + wakers.last_key }
    }

    /// Notes who waits at a place; those below [`FIXED`] are for tasks that have one for good.
    pub(super) fn put(&self, key: u64, waker: &Waker) {
        let mut wakers = self.lock();
        let before = match wakers.by_key.get(&key) {
            Some(same) if same.will_wake(waker) => None,
            _ => wakers.by_key.insert(key, waker.clone()),
        };
        // A waker may do anything when it is dropped.
        drop(wakers);
        drop(before);
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().by_key.is_empty()
    }

    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.lock().by_key);
        wakers.into_values().for_each(Waker::wake);
    }

    fn remove(&self, key: u64) {
        let before = self.lock().by_key.remove(&key);
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, Wakers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for WakerSet {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Place<'_> {
    pub(super) fn put(&self, waker: &Waker) {
        self.set.put(self.key, waker);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.set.remove(self.key);
    }
}
