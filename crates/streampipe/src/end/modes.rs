//! How one handle waits: kept beside the descriptor, never in the open file description, which the
//! other process shares (invariant 8).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::ring::Wait;

/// How long one operation may wait, as an instant: one deadline for all its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Forever,
    Until(Instant),
    Never,
}

impl Waiting {
    /// Whether the time for another step of the same operation is up.
    ///
    /// A peer that always has something ready must not keep the operation going (P7).
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Until(deadline) if Instant::now() >= deadline)
    }

    /// Whether the call may not sleep, now: it does not wait, or its deadline has passed.
    pub(crate) fn is_hurried(self) -> bool {
        self == Self::Never || self.is_over()
    }

    /// At most so long from now.
    pub(crate) fn within(timeout: Duration) -> Self {
        // One that ends after all clocks is none.
        Instant::now().checked_add(timeout).map_or(Self::Forever, Self::Until)
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Forever | Self::Never => None,
        }
    }
}

/// The settings of a handle. Each is independent of every other memory, so `Relaxed` is enough.
#[derive(Debug, Default)]
pub(super) struct Modes {
    nonblocking: AtomicBool,
    wary: AtomicBool,
    /// How it waits for a ring.
    wait: AtomicU8,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

impl Modes {
    pub(super) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Relaxed);
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Relaxed)
    }

    /// Says that the peer is not trusted: a channel over this end starts careful.
    pub(super) fn set_wary(&self) {
        self.wary.store(true, Relaxed);
    }

    pub(super) fn is_wary(&self) -> bool {
        self.wary.load(Relaxed)
    }

    pub(super) fn set_wait(&self, wait: Wait) {
        self.wait.store(wait.to_number(), Relaxed);
    }

    #[inline]
    pub(super) fn wait(&self) -> Wait {
        Wait::from_number(self.wait.load(Relaxed))
    }

    pub(super) fn read_timeout(&self) -> &Timeout {
        &self.read_timeout
    }

    pub(super) fn write_timeout(&self) -> &Timeout {
        &self.write_timeout
    }

    /// How a read that starts now may wait.
    #[inline]
    pub(super) fn reading(&self) -> Waiting {
        self.waiting(&self.read_timeout)
    }

    /// How a write that starts now may wait.
    #[inline]
    pub(super) fn writing(&self) -> Waiting {
        self.waiting(&self.write_timeout)
    }

    #[inline]
    fn waiting(&self, timeout: &Timeout) -> Waiting {
        if self.is_nonblocking() {
            return Waiting::Never;
        }
        match timeout.get().map(|timeout| Instant::now().checked_add(timeout)) {
            Some(Some(deadline)) => Waiting::Until(deadline),
            // No timeout, or one that ends after all clocks.
            Some(None) | None => Waiting::Forever,
        }
    }
}

impl Clone for Modes {
    fn clone(&self) -> Self {
        let copy = Self::default();
        copy.set_nonblocking(self.is_nonblocking());
        copy.wary.store(self.is_wary(), Relaxed);
        copy.set_wait(self.wait());
        copy.read_timeout.0.store(self.read_timeout.0.load(Relaxed), Relaxed);
        copy.write_timeout.0.store(self.write_timeout.0.load(Relaxed), Relaxed);
        copy
    }
}

/// Nanoseconds; 0 for none. The longest that fits is 584 years.
#[derive(Debug, Default)]
pub(super) struct Timeout(AtomicU64);

impl Timeout {
    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    pub(super) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        let nanoseconds = match timeout {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a timeout of 0; use set_nonblocking, or None to wait for ever",
                ));
            }
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        };
        self.0.store(nanoseconds, Relaxed);
        Ok(())
    }
}
