//! Which process this is, since the last fork, for the price of a load.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// A number that a fork, by whatever means, does not inherit.
#[derive(Clone, Copy, Debug)]
pub struct Generation {
    /// On a page that the kernel clears in a child (`MADV_WIPEONFORK`, Linux 4.14).
    word: &'static AtomicU64,
}

static WORD: OnceLock<&'static AtomicU64> = OnceLock::new();

impl Generation {
    /// The word of this process.
    ///
    /// # Errors
    ///
    /// Those of `mmap(2)` and `madvise(2)`, of the first call alone.
    pub fn of_this_process() -> io::Result<Self> {
        if let Some(word) = WORD.get() {
            return Ok(Self { word });
        }
        let word = page()?;
        // Of two threads that come here at once, one has made a page that stays.
        Ok(Self { word: WORD.get_or_init(|| word) })
    }

    /// The number: the same until a fork, and another one in the child. Never 0.
    #[inline]
    #[must_use]
    pub fn number(self) -> u64 {
        match self.word.load(Relaxed) {
            0 => self.begin(),
            number => number,
        }
    }

    #[cold]
    fn begin(self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A process id is used again, but not within the nanosecond.
        let number = (u64::from(std::process::id()) << 40 ^ since.as_nanos() as u64) | 1;
        match self.word.compare_exchange(0, number, Relaxed, Relaxed) {
            Ok(_) => number,
            Err(another_thread) => another_thread,
        }
    }
}

fn page() -> io::Result<&'static AtomicU64> {
    const LEN: usize = 4096;
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping where the kernel likes.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, protection, flags) }?;
    // SAFETY: our own page, which holds zeros.
    unsafe { madvise(page, LEN, Advice::LinuxWipeOnFork) }?;
    // SAFETY: aligned, never unmapped, zeros in every process that has it.
    Ok(unsafe { AtomicU64::from_ptr(page.cast()) })
}
