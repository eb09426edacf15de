use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::end::Waiting;

/// Something that one thread at a time may use, for as long as it takes, while the others wait no longer than they
/// want to. (A `Mutex` cannot be waited for with a deadline.)
#[derive(Debug)]
pub(crate) struct Turn<T> {
    /// `None` while somebody has it.
    thing: Mutex<Option<Box<T>>>,
    /// Told when it is back.
    free: Condvar,
}

/// Why somebody did not get a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// They did not want to wait.
    Now,
    /// Not before their deadline.
    TimedOut,
}

impl<T> Turn<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self { thing: Mutex::new(Some(Box::new(thing))), free: Condvar::new() }
    }

    /// Waits for the others.
    pub(crate) fn take(&self, waiting: Waiting) -> Result<Held<'_, T>, Busy> {
        let mut thing = self.lock();
        loop {
            if let Some(thing) = thing.take() {
                return Ok(Held { thing: Some(thing), turn: self });
            }
            thing = match waiting {
                Waiting::Never => return Err(Busy::Now),
                Waiting::Forever => self.free.wait(thing).unwrap_or_else(PoisonError::into_inner),
                Waiting::Until(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Busy::TimedOut);
                    }
                    self.free.wait_timeout(thing, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<T>>> {
        self.thing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thing, until it is dropped.
pub(crate) struct Held<'turn, T> {
    /// `Some` until it is dropped.
    thing: Option<Box<T>>,
    turn: &'turn Turn<T>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_deref().expect("it is only taken out by the drop")
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_deref_mut().expect("it is only taken out by the drop")
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        *self.turn.lock() = self.thing.take();
        self.turn.free.notify_one();
    }
}
