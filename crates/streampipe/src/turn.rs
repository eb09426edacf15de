use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::end::Waiting;

/// Something that one thread at a time may use, for as long as it takes, while the others wait no longer than they
/// want to. (A `Mutex` cannot be waited for with a deadline.)
#[derive(Debug)]
pub(crate) struct Turn<T> {
    place: Mutex<Place<T>>,
    /// Told when the thing is back, if somebody waits: it would be a system call each time.
    free: Condvar,
}

#[derive(Debug)]
struct Place<T> {
    /// `None` while somebody has it.
    thing: Option<Box<T>>,
    /// How many wait for it.
    waiting: usize,
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
        let place = Place { thing: Some(Box::new(thing)), waiting: 0 };
        Self { place: Mutex::new(place), free: Condvar::new() }
    }

    /// Waits for the others.
    pub(crate) fn take(&self, waiting: Waiting) -> Result<Held<'_, T>, Busy> {
        let mut place = self.lock();
        loop {
            if let Some(thing) = place.thing.take() {
                return Ok(Held { thing: Some(thing), turn: self });
            }
            let left = match waiting {
                Waiting::Never => return Err(Busy::Now),
                Waiting::Forever => None,
                Waiting::Until(deadline) => {
                    Some(deadline.saturating_duration_since(Instant::now()))
                }
            };
            if left == Some(Duration::ZERO) {
                return Err(Busy::TimedOut);
            }
            place.waiting += 1;
            place = match left {
                None => self.free.wait(place).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.free.wait_timeout(place, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            place.waiting -= 1;
        }
    }

    /// Has the thing back from a thread of another process: of the parent, whose turn a fork has copied.
    pub(crate) fn replace(&self, thing: T) {
        self.lock().thing = Some(Box::new(thing));
    }

    /// Whether somebody has it.
    pub(crate) fn is_taken(&self) -> bool {
        self.lock().thing.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut place = self.turn.lock();
        place.thing = self.thing.take();
        let somebody_waits = place.waiting > 0;
        drop(place);
        if somebody_waits {
            self.turn.free.notify_one();
        }
    }
}
