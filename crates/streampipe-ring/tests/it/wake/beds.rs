use std::sync::atomic::Ordering::Relaxed;

use loom::sync::{Condvar, Mutex};
use streampipe_ring::Word;

/// Where one sleeps as in `futex(2)`: a look at the word and falling asleep are one step for whoever wakes.
#[derive(Debug)]
pub(super) struct Futex {
    /// Whether the time is over.
    over: Mutex<bool>,
    woken: Condvar,
}

impl Futex {
    pub(super) fn new() -> Self {
        Self { over: Mutex::new(false), woken: Condvar::new() }
    }

    /// Sleeps until somebody wakes, unless the word's low half is another one by now, or the time is over.
    pub(super) fn sleep(&self, word: &impl Word, low: u32) {
        let over = self.over.lock().unwrap();
        if word.load(Relaxed) as u32 == low && !*over {
            drop(self.woken.wait(over).unwrap());
        }
    }

    pub(super) fn wake(&self) {
        let _over = self.over.lock().unwrap();
        self.woken.notify_all();
    }

    /// The time of every sleep is over, those to come as well.
    pub(super) fn time_is_over(&self) {
        *self.over.lock().unwrap() = true;
        self.woken.notify_all();
    }
}

/// The lifeline: a doorbell that rang is heard, whether somebody slept there or comes later.
#[derive(Debug)]
pub(super) struct Lifeline {
    rings: Mutex<u32>,
    rang: Condvar,
}

impl Lifeline {
    pub(super) fn new() -> Self {
        Self { rings: Mutex::new(0), rang: Condvar::new() }
    }

    pub(super) fn ring(&self) {
        *self.rings.lock().unwrap() += 1;
        self.rang.notify_all();
    }

    /// Sleeps until it has rung, and hears all of it.
    pub(super) fn sleep(&self) {
        let mut rings = self.rings.lock().unwrap();
        while *rings == 0 {
            rings = self.rang.wait(rings).unwrap();
        }
        *rings = 0;
    }
}
