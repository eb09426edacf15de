//! Children dropped while they ran: reaped when there is an occasion.
//!
//! No thread does this, for a thread of ours would keep the program from ever calling
//! [`fork`](crate::fork) again.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use streampipe_sys::process;

static ORPHANS: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Reaps this child if it has ended, else remembers it; reaps the others that have ended.
pub(super) fn adopt(pidfd: OwnedFd) {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.push(pidfd);
    reap(&mut orphans);
}

/// Reaps those that have ended.
pub(super) fn sweep() {
    reap(&mut ORPHANS.lock().unwrap_or_else(PoisonError::into_inner));
}

/// An error means that it is not ours to reap: reaped elsewhere, or a sibling seen from a fork.
fn reap(orphans: &mut Vec<OwnedFd>) {
    orphans.retain(|pidfd| matches!(process::try_wait(pidfd.as_fd()), Ok(None)));
}
