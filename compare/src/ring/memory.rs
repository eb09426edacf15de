//! What processes hold, all of them together.

use std::fs;
use std::io;
use std::ops::Sub;

/// What so many processes hold, or the difference of two such.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// KiB of the processes: their own pages, and of those that several have each its share (`Pss`).
    pub own: i64,
    /// KiB of the kernel's: tables of the processes' pages, and what is allocated for the whole machine (`Slab`).
    pub kernel: i64,
    /// Mappings.
    pub mappings: i64,
}

impl Memory {
    /// Of these processes.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn of(processes: &[libc::pid_t]) -> io::Result<Self> {
        let machine = fs::read_to_string("/proc/meminfo")?;
        let mut all = Self { kernel: kib(&machine, "Slab:"), ..Self::default() };
        for process in processes {
            let file = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
            all.own += kib(&file("smaps_rollup")?, "Pss:");
            all.kernel += kib(&file("status")?, "VmPTE:");
            all.mappings += file("maps")?.lines().count() as i64;
        }
        Ok(all)
    }
}

/// The number of KiB after a name.
fn kib(text: &str, name: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

impl Sub for Memory {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            own: self.own - other.own,
            kernel: self.kernel - other.kernel,
            mappings: self.mappings - other.mappings,
        }
    }
}
