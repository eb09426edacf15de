//! Which processors the two processes run on.
//!
//! A round trip of a small message costs ten times as much across two processors as on one; which it
//! is, is luck and lasts, unless it is said.

use std::io;
use std::time::{Duration, Instant};

const WARM: Duration = Duration::from_millis(200);

/// Where each of the two processes runs; `None` is wherever the kernel likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The processor of the process that measures.
    pub ours: Option<usize>,
    /// The processor of its peer.
    pub theirs: Option<usize>,
}

impl Place {
    /// Wherever the kernel likes.
    pub const ANYWHERE: Self = Self { ours: None, theirs: None };
}

/// The processors that this process may use.
pub struct Processors {
    all: libc::cpu_set_t,
    numbers: Vec<usize>,
}

impl Processors {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn of_this_process() -> io::Result<Self> {
        let mut all = empty();
        // SAFETY: the pointer is to a set of the size said.
        let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut all) };
        if code < 0 {
            return Err(io::Error::last_os_error());
        }
        let size = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        // SAFETY: the number is within a set.
        let numbers = (0..size).filter(|it| unsafe { libc::CPU_ISSET(*it, &all) }).collect();
        Ok(Self { all, numbers })
    }

    /// Both processes on the first processor.
    pub fn one(&self) -> Place {
        let first = self.numbers.first().copied();
        Place { ours: first, theirs: first }
    }

    /// Each on a processor of its own, if there are two.
    pub fn two(&self) -> Option<Place> {
        let [first, second, ..] = self.numbers[..] else { return None };
        Some(Place { ours: Some(first), theirs: Some(second) })
    }

    /// Puts this process where `place` has it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn settle(&self, place: Place) -> io::Result<()> {
        match place.ours {
            Some(number) => pin(number),
            None => set(&self.all),
        }
    }

    /// Keeps the first two busy for a while, so that the first to be measured is not the one who
    /// wakes them.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn warm_up(&self) -> io::Result<()> {
        for number in self.numbers.iter().take(2) {
            pin(*number)?;
            let start = Instant::now();
            while start.elapsed() < WARM {
                std::hint::spin_loop();
            }
        }
        set(&self.all)
    }
}

/// Keeps this thread on one processor.
///
/// # Errors
///
/// The kernel's.
pub fn pin(number: usize) -> io::Result<()> {
    let mut only = empty();
    if number >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the number is within a set.
    unsafe { libc::CPU_SET(number, &mut only) };
    set(&only)
}

fn empty() -> libc::cpu_set_t {
    // SAFETY: all zeros is an empty set.
    unsafe { std::mem::zeroed() }
}

fn set(processors: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: the pointer is to a set of the size said.
    let code = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), processors) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
