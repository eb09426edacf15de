use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::end::Waiting;

/// Who works in place in one direction of an end, to the exclusion of others, without a lock: for as long as they like.
#[derive(Debug, Default)]
pub(in crate::ring) struct Lending {
    to: Option<Thread>,
    /// How many wait for it to come back.
    waiting: usize,
}

/// Something that is lent, behind a lock.
pub(in crate::ring) trait Lent {
    fn lending(&mut self) -> &mut Lending;
}

impl Lending {
    pub(in crate::ring) fn is_lent(&self) -> bool {
        self.to.is_some()
    }

    /// Lends it to this thread.
    pub(super) fn lend(&mut self) {
        self.to = Some(Thread::current());
    }

    /// In a fork, where the others who waited, and who it was lent to unless it was this thread, are threads of the parent's.
    pub(in crate::ring) fn forget_others(&mut self) {
        self.to = self.to.filter(|&to| to == Thread::current());
        self.waiting = 0;
    }
}

/// A thread that runs. (`thread::current` counts references, which costs more than a lock.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread(usize);

impl Thread {
    fn current() -> Self {
        thread_local!(static HERE: u8 = const { 0 });
        Self(HERE.with(|here| std::ptr::from_ref(here).addr()))
    }
}

/// Gives it back, and tells those who wait.
pub(super) fn give_back<T: Lent>(mut lent: MutexGuard<'_, T>, back: &Condvar) {
    let lending = lent.lending();
    lending.to = None;
    let somebody_waits = lending.waiting > 0;
    drop(lent);
    if somebody_waits {
        back.notify_all();
    }
}

/// Waits until it is back, or the deadline; says whether it was away.
///
/// # Errors
///
/// Of a kind of its own if nobody could bring it back: the caller has it, or does not wait.
pub(in crate::ring) fn wait_until_back<T: Lent>(
    place: &Mutex<T>,
    back: &Condvar,
    waiting: Waiting,
) -> io::Result<bool> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(to) = place.lending().to else { return Ok(false) };
    if to == Thread::current() {
        return Err(io::Error::new(io::ErrorKind::Deadlock, IN_PLACE));
    }
    if waiting == Waiting::Never {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, IN_PLACE));
    }
    while place.lending().is_lent() {
        let left = waiting.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            break;
        }
        place.lending().waiting += 1;
        place = match left {
            None => back.wait(place).unwrap_or_else(PoisonError::into_inner),
            Some(left) => back.wait_timeout(place, left).unwrap_or_else(PoisonError::into_inner).0,
        };
        place.lending().waiting -= 1;
    }
    Ok(true)
}

/// What went wrong.
const IN_PLACE: &str = "a Reserved or Readable of this end is in use";
