use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use streampipe_sys::spawn::StartMark;
use streampipe_sys::wait::has_ended;

use super::PeerGone;

/// How long the end of a process that has ended may stay open, before it counts as held by another.
///
/// The kernel closes the descriptors of a process before its pidfd says that it has ended, so no more time
/// is needed for the process itself. Another program that is just being started has copies of everything
/// until it executes. Of this library's own starts it is known when they are over; this time is for those of
/// others: of std's `Command` in other threads, or of the dead process.
const CLOSE_GRACE: Duration = Duration::from_millis(80);

/// How often the end is looked at meanwhile. One look counts for no more of the grace than this, however late
/// it comes: a process that does not get to run learns nothing of time that others could not use, either.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A look that comes so late was not waited for: then all the time counts.
const SELDOM: Duration = Duration::from_secs(1);

/// The process at the other end, by its pidfd; shared by all handles of the end.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pidfd: Arc<OwnedFd>,
    id: u32,
    /// Set when it was first seen to have ended.
    grace: Arc<OnceLock<Grace>>,
}

/// What is known of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Lives,
    /// It has ended, and its end may still be closing; the next look is due then.
    Closing(Instant),
    Gone,
}

impl Watch {
    pub(crate) fn new(pidfd: Arc<OwnedFd>, id: u32) -> Self {
        Self { pidfd, id, grace: Arc::default() }
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn gone(&self) -> PeerGone {
        PeerGone { id: self.id }
    }

    /// Looks at the process, and counts the time since it was first seen to have ended.
    pub(crate) fn life(&self) -> io::Result<Life> {
        let grace = match self.grace.get() {
            Some(grace) => grace,
            None if !has_ended(self.pidfd())? => return Ok(Life::Lives),
            None => self.grace.get_or_init(Grace::begin),
        };
        Ok(grace.look())
    }

    /// What was seen before.
    pub(super) fn known_life(&self) -> Life {
        match self.grace.get() {
            None => Life::Lives,
            Some(grace) if grace.is_over() => Life::Gone,
            Some(_) => Life::Closing(Instant::now() + LOOK_EVERY),
        }
    }

    /// So much of this time as may pass before the next look is due.
    pub(crate) fn until_next_look(&self, time: Duration) -> Duration {
        if let Life::Closing(_) = self.known_life() { time.min(LOOK_EVERY) } else { time }
    }
}

/// The time in which the end of a process that has ended may still close.
#[derive(Debug)]
struct Grace {
    /// Starts that were under way when it was seen to have ended: a later one has no copy, for ours of the
    /// end was closed when the process was started.
    starts: StartMark,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    /// When it was last looked at.
    looked_at: Instant,
    time: Duration,
}

impl Grace {
    fn begin() -> Self {
        let counted = Counted { looked_at: Instant::now(), time: Duration::ZERO };
        Self { starts: StartMark::now(), counted: Mutex::new(counted) }
    }

    fn look(&self) -> Life {
        if self.is_over() {
            return Life::Gone;
        }
        let is_awaited = self.starts.is_awaited();
        let now = Instant::now();
        let mut counted = self.lock();
        counted.look(now, is_awaited);
        if counted.is_over() { Life::Gone } else { Life::Closing(now + LOOK_EVERY) }
    }

    fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Counts the time since the last look, unless a start is under way.
    fn look(&mut self, now: Instant, start_is_awaited: bool) {
        let since = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        if !start_is_awaited {
            self.time += if since < SELDOM { since.min(LOOK_EVERY) } else { since };
        }
    }

    fn is_over(&self) -> bool {
        self.time >= CLOSE_GRACE
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{CLOSE_GRACE, Counted, LOOK_EVERY, SELDOM};

    /// How many looks, each so long after the one before, it takes.
    fn looks(apart: Duration, start_is_awaited: bool) -> Option<u32> {
        let mut now = Instant::now();
        let mut counted = Counted { looked_at: now, time: Duration::ZERO };
        (1..1000).find(|_| {
            now += apart;
            counted.look(now, start_is_awaited);
            counted.is_over()
        })
    }

    #[test]
    fn looks_that_come_late_count_as_those_in_time() {
        let in_time = looks(LOOK_EVERY, false);
        assert_eq!(in_time, Some(16));
        // A process that was stopped, or had used up its share of the processor.
        assert_eq!(looks(Duration::from_millis(100), false), in_time);
        assert_eq!(looks(Duration::from_millis(900), false), in_time);
        // Looks that come more often bring the end no sooner.
        assert_eq!(looks(CLOSE_GRACE / 100, false), Some(100));
    }

    #[test]
    fn who_looks_seldom_has_waited_all_the_time() {
        assert_eq!(looks(SELDOM, false), Some(1));
    }

    #[test]
    fn while_a_start_is_under_way_no_time_counts() {
        assert_eq!(looks(LOOK_EVERY, true), None);
        assert_eq!(looks(SELDOM, true), None);
    }
}
