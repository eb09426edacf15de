//! Starts that are under way.
//!
//! Until a child executes its program, it has a copy of every descriptor of this process: those are
//! close-on-exec, and no sooner. So the last copy of an end that was closed can be in such a child.

use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

static STARTS: Mutex<Starts> = Mutex::new(Starts { owner: 0, next: 0, under_way: Vec::new() });

struct Starts {
    /// The process whose starts these are: a fork has a copy of the list, and not of the threads.
    owner: u32,
    /// The number of the next start.
    next: u64,
    under_way: Vec<u64>,
}

/// A start that is under way, until this is dropped.
#[derive(Debug)]
#[must_use = "the start is over when this is dropped"]
pub struct StartGuard(u64);

impl StartGuard {
    /// Begins one: before the clone.
    pub fn begin() -> Self {
        let mut starts = lock();
        let number = starts.next;
        starts.next += 1;
        starts.under_way.push(number);
        Self(number)
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        lock().under_way.retain(|&number| number != self.0);
    }
}

/// A moment in the order of all starts of this process.
#[derive(Clone, Copy, Debug)]
pub struct StartMark(u64);

impl StartMark {
    /// Now: starts that begin later do not count.
    #[must_use]
    pub fn now() -> Self {
        Self(lock().next)
    }

    /// Whether a start that began before this moment is still under way.
    #[must_use]
    pub fn is_awaited(self) -> bool {
        lock().under_way.iter().any(|&number| number < self.0)
    }
}

fn lock() -> MutexGuard<'static, Starts> {
    let mut starts = STARTS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = process::id();
    if starts.owner != own {
        starts.owner = own;
        starts.under_way.clear();
    }
    starts
}
