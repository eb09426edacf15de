//! What a process or a thread has used: processor time and switches.

use std::iter::Sum;
use std::mem::MaybeUninit;
use std::ops::{Add, Sub};

use super::clock;

/// Processor time and switches from one task to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds on a processor.
    pub cpu: u64,
    /// Switches because it waited.
    pub waits: u64,
    /// Switches because another was to run.
    pub preempted: u64,
}

impl Usage {
    /// Of this process, all threads.
    pub fn of_process() -> Self {
        Self::of(libc::CLOCK_PROCESS_CPUTIME_ID, libc::RUSAGE_SELF)
    }

    /// Of the calling thread.
    pub fn of_thread() -> Self {
        Self::of(libc::CLOCK_THREAD_CPUTIME_ID, libc::RUSAGE_THREAD)
    }

    fn of(clock: libc::clockid_t, who: libc::c_int) -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to room for the answer, which is zeroed, a valid one.
        let usage = unsafe {
            libc::getrusage(who, usage.as_mut_ptr());
            usage.assume_init()
        };
        Self {
            cpu: clock::read(clock),
            waits: usage.ru_nvcsw as u64,
            preempted: usage.ru_nivcsw as u64,
        }
    }

    /// Switches of both kinds.
    pub fn switches(self) -> u64 {
        self.waits + self.preempted
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waits: self.waits.saturating_sub(earlier.waits),
            preempted: self.preempted.saturating_sub(earlier.preempted),
        }
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            waits: self.waits + other.waits,
            preempted: self.preempted + other.preempted,
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
