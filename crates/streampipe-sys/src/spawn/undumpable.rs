use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// How often it is looked whether a child has left the memory: it does within microseconds, unless
/// somebody stops it just there.
const LOOKS: usize = 1000;

/// How many children that change their identity may be on this process's memory, and what was before.
static BORROWERS: Mutex<Borrowers> =
    Mutex::new(Borrowers { count: 0, before: None, one_may_stay: false });

struct Borrowers {
    count: usize,
    before: Option<DumpableBehavior>,
    /// Of one it is not known that it has left: nothing is put back any more.
    one_may_stay: bool,
}

/// While it exists, a child that changes its identity may borrow this process's memory.
///
/// The change marks the memory as not to be dumped or traced (`PR_SET_DUMPABLE`), which keeps the
/// child's new user away from it, and is none of the child's business afterwards. The mark belongs to
/// the memory, not to a child, so it is put back when the last such child has left, and not by each. And
/// the parent is woken *before* the child has left (`exec_mm_release` comes before the new memory), so
/// it is asked (`kcmp(2)`); where that is not to be had, the mark stays.
#[derive(Debug)]
pub(super) struct Undumpable(());

impl Undumpable {
    pub(super) fn begin() -> Self {
        let mut borrowers = lock();
        if borrowers.count == 0 {
            borrowers.before = dumpable_behavior().ok();
        }
        borrowers.count += 1;
        Self(())
    }

    /// The child has executed its program, or has ended; none if there never was one.
    pub(super) fn end(self, child: Option<(i32, BorrowedFd<'_>)>) {
        let has_left = child.is_none_or(|(pid, pidfd)| has_left(pid, pidfd));
        let mut borrowers = lock();
        borrowers.count -= 1;
        borrowers.one_may_stay |= !has_left;
        if borrowers.count == 0 && !borrowers.one_may_stay {
            if let Some(before) = borrowers.before.take() {
                // It was so before; where the system forbids it now, the mark stays.
                let _ = set_dumpable_behavior(before);
            }
        }
    }
}

/// Whether the child, which was not waited for, is known to be on another memory than this process.
fn has_left(pid: i32, pidfd: BorrowedFd<'_>) -> bool {
    /// `KCMP_VM` (`include/uapi/linux/kcmp.h`).
    const MEMORY: libc::c_int = 1;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for _ in 0..LOOKS {
        // SAFETY: the call takes numbers and touches no memory.
        match unsafe { libc::syscall(libc::SYS_kcmp, own, pid, MEMORY, 0, 0) } {
            0 => {}
            1.. => return true,
            // It has none any more, or we may not ask.
            _ => return crate::wait::has_ended(pidfd).unwrap_or(false),
        }
        std::thread::yield_now();
    }
    false
}

fn lock() -> MutexGuard<'static, Borrowers> {
    BORROWERS.lock().unwrap_or_else(PoisonError::into_inner)
}
