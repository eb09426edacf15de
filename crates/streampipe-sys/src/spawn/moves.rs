use std::io;
use std::os::fd::AsRawFd;

use libc::c_int;

use super::Placement;
use super::program::{check, errno};

/// Which descriptors go where, in two phases.
///
/// No number is reserved: a source that stands where another descriptor must go first gets out of
/// the way, to any free number that is nobody's target.
#[derive(Debug)]
pub(super) struct Moves {
    /// The present number of each source; phase one rewrites some of them.
    sources: Vec<c_int>,
    targets: Vec<c_int>,
    /// Whether a source stands where another descriptor must go.
    in_the_way: Vec<bool>,
}

impl Moves {
    pub(super) fn plan(placements: &[Placement<'_>]) -> io::Result<Self> {
        let sources: Vec<c_int> = placements.iter().map(|p| p.source.as_raw_fd()).collect();
        let targets: Vec<c_int> = placements.iter().map(|p| p.target).collect();
        let twice = (1..targets.len()).any(|at| targets[..at].contains(&targets[at]));
        if twice || targets.iter().any(|&target| target < 0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let in_the_way = sources
            .iter()
            .zip(&targets)
            .map(|(source, target)| source != target && targets.contains(source))
            .collect();
        Ok(Self { sources, targets, in_the_way })
    }

    /// In the child: duplicates a descriptor that stands where another must go; says to which number.
    pub(super) fn make_room(&self, number: Option<c_int>) -> Result<Option<c_int>, c_int> {
        match number.filter(|number| self.targets.contains(number)) {
            Some(number) => stand_in(number, &self.targets).map(Some),
            None => Ok(None),
        }
    }

    /// In the child: system calls and array accesses within bounds, nothing else.
    pub(super) fn carry_out(&mut self) -> Result<(), c_int> {
        for (source, in_the_way) in self.sources.iter_mut().zip(&self.in_the_way) {
            if *in_the_way {
                *source = stand_in(*source, &self.targets)?;
            }
        }
        for (&source, &target) in self.sources.iter().zip(&self.targets) {
            if source == target {
                // `dup2` would leave close-on-exec set (D3).
                // SAFETY: the source is open; the flag is the child's own.
                check(unsafe { libc::fcntl(source, libc::F_SETFD, 0) })?;
            } else {
                // SAFETY: the source is open, and no later source stands at `target`.
                check(unsafe { libc::dup2(source, target) })?;
            }
        }
        Ok(())
    }
}

/// Duplicates a source to a number that is nobody's target; `exec` closes the duplicate.
fn stand_in(source: c_int, targets: &[c_int]) -> Result<c_int, c_int> {
    let mut lowest = 0;
    loop {
        // SAFETY: the parent's `Placement` keeps the source open; the call touches no memory.
        let copy = unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, lowest) };
        if copy < 0 {
            // `EINVAL`: all numbers below the limit have been tried.
            let errno = errno();
            return Err(if errno == libc::EINVAL { libc::EMFILE } else { errno });
        }
        if !targets.contains(&copy) {
            return Ok(copy);
        }
        // Left where it is: what belongs there will be placed over it.
        lowest = copy + 1;
    }
}
