//! Room in this process's descriptor table.
//!
//! The kernel hands descriptors over by opening them, and closes those for which there is no number: what is lost
//! then is lost. So who knows that some will come looks first.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Resource, getrlimit};

use crate::fd;

/// Up to so many, opening them is cheaper than asking how many are open (measured with Linux 6.18: 0.15 µs
/// each, against 0.9 µs).
const CHEAP: usize = 4;

/// How many more should be free for a count to be enough: other threads open descriptors, too.
const MARGIN: u64 = 64;

/// Looks whether so many descriptors can be opened now.
///
/// It opens copies of the given one, and closes them again, if it cannot tell otherwise. Another thread may
/// take the room right after.
///
/// # Errors
///
/// `EMFILE` or `ENFILE` if they cannot.
pub fn look_for_room(count: usize, like: impl AsFd) -> io::Result<()> {
    if count > CHEAP && has_plenty(count) {
        return Ok(());
    }
    let opened: io::Result<Vec<OwnedFd>> = (0..count).map(|_| fd::duplicate(&like)).collect();
    match opened {
        Ok(_) => Ok(()),
        // The limit is so low that no number from 3 on can be asked for: a sandbox of `RLIMIT_NOFILE` 0.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        }
        Err(error) => Err(error),
    }
}

/// Possibly there is plenty: fewer are open than the limit allows. (Since Linux 6.2 the size of `/proc/self/fd`
/// is how many are open; before, it is 0.)
fn has_plenty(count: usize) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    let Ok(open) = rustix::fs::stat("/proc/self/fd").map(|stat| stat.st_size) else { return false };
    let Ok(open) = u64::try_from(open) else { return false };
    open > 0 && open.saturating_add(count as u64 + MARGIN) <= limit
}
