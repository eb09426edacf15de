//! The clone itself: a child on borrowed memory, or on a copy of it, with its pidfd.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::thread::futex;

use super::raw::{clone_with_clear_handlers, clone_with_cleared_word};
use super::request::CloneRequest;
use super::support::{CloneSupport, Memory, PidfdSource};
use crate::process::signal_child;
use crate::spawn::program::{Orders, child};
use crate::spawn::stack::Stack;
use crate::wait::timespec_until;

/// A child that has executed its program, or has ended; or, on a copy of the memory, is on its way there.
#[derive(Debug)]
pub(in crate::spawn) struct ChildProcess {
    pub(in crate::spawn) pid: i32,
    pub(in crate::spawn) pidfd: OwnedFd,
    /// Whether somebody kept it stopped, and it was killed.
    pub(in crate::spawn) was_held_up: bool,
}

/// How this thread waits for a child on its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The kernel holds it (`CLONE_VFORK`).
    InKernel,
    /// It looks at a word that the kernel clears (`CLONE_CHILD_CLEARTID`), and at the child.
    AtWord,
}

/// Makes the child, which follows the orders.
///
/// Returns when it has called `exec` or `_exit`, if it is on this process's memory.
///
/// `may_be_stopped`: whether somebody may send the child `SIGSTOP` before it has its program, which would hold
/// this thread for ever if it waited in the kernel.
pub(in crate::spawn) fn clone_child(
    support: CloneSupport,
    stack: &Stack,
    orders: &mut Orders<'_>,
    may_be_stopped: bool,
) -> io::Result<ChildProcess> {
    let is_shared = support.memory == Memory::Shared;
    let wait = if may_be_stopped && is_shared { Wait::AtWord } else { Wait::InKernel };
    let on_our_memory = AtomicU32::new(1);
    let mut pidfd: c_int = -1;
    let request = CloneRequest {
        function: child,
        data: ptr::null_mut(),
        stack,
        flags: libc::CLONE_VM | wait.flag() | support.flag(),
        exit_signal: libc::SIGCHLD,
        pidfd: &raw mut pidfd,
        on_our_memory: on_our_memory.as_ptr(),
    };
    let (pid, wait) = clone_in_some_way(support, request, orders, wait)?;
    // SAFETY: a number that is not negative was written by the clone, which opened it for this process.
    let from_clone = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    let pidfd = from_clone.map_or_else(|| open_pidfd(pid), Ok);
    let was_held_up = match (wait, &pidfd) {
        (Wait::InKernel, _) => false,
        (Wait::AtWord, Ok(pidfd)) => !leaves(&on_our_memory, pid, pidfd.as_fd()),
        (Wait::AtWord, Err(_)) => {
            kill_child(pid);
            leaves_within(&on_our_memory, None)
        }
    };
    match pidfd {
        Ok(pidfd) => Ok(ChildProcess { pid, pidfd, was_held_up }),
        Err(error) => {
            kill_child(pid);
            let _ = crate::process::reap_by_id(pid);
            Err(error)
        }
    }
}

impl Wait {
    fn flag(self) -> c_int {
        match self {
            Self::InKernel => libc::CLONE_VFORK,
            Self::AtWord => libc::CLONE_CHILD_CLEARTID,
        }
    }
}

impl CloneSupport {
    fn flag(self) -> c_int {
        match self.pidfd {
            PidfdSource::Clone => libc::CLONE_PIDFD,
            PidfdSource::Open => 0,
        }
    }
}

/// Clones by the best way that this system offers; says how this thread has to wait.
fn clone_in_some_way(
    support: CloneSupport,
    mut request: CloneRequest<'_>,
    orders: &mut Orders<'_>,
    wait: Wait,
) -> io::Result<(i32, Wait)> {
    // Emulators know the way that the C library's own `posix_spawn` goes, which is `clone`.
    if support.memory == Memory::Shared {
        orders.handlers_are_clear = true;
        request.data = (&raw mut *orders).cast::<c_void>();
        if let Some(cloned) = clone_with_clear_handlers(&request) {
            return Ok((cloned?, wait));
        }
        orders.handlers_are_clear = false;
    }
    request.data = (&raw mut *orders).cast::<c_void>();
    match request.by_library() {
        // The C library (musl) may refuse the flag that the word needs.
        Err(error) if wait == Wait::AtWord && error.raw_os_error() == Some(libc::EINVAL) => {
            if let Some(cloned) = clone_with_cleared_word(&request) {
                return Ok((cloned?, wait));
            }
            request.flags ^= Wait::AtWord.flag() | Wait::InKernel.flag();
            Ok((request.by_library()?, Wait::InKernel))
        }
        cloned => Ok((cloned?, wait)),
    }
}

/// Opens the pidfd of a child that the clone gave none for.
///
/// The number is the child's own as long as nobody has waited for it. Where nobody needs to (an ignored
/// `SIGCHLD`), it is only if the process is still a child of this one.
fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pidfd = crate::process::open(pid)?;
    if is_child(pid) { Ok(pidfd) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// Looks at a child that has ended or has not, and leaves its status to whoever waits for it.
const LOOK: WaitIdOptions =
    WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG).union(WaitIdOptions::NOWAIT);

/// Whether a process is a child of this one that nobody has waited for.
fn is_child(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|it| waitid(WaitId::Pid(it), LOOK).is_ok())
}

/// Kills a child of this process by its number; nobody else who has the number by now.
fn kill_child(pid: i32) {
    if is_child(pid) {
        crate::process::kill_by_id(pid);
    }
}

/// How long a child may be on this process's memory before it is looked at, and between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A child that so many looks found stopped is held up by somebody.
const MOST_STOPS_SEEN: u32 = 5;

/// Waits until the child has left the memory; kills one that is kept stopped, and says whether it did not have to.
///
/// A child that is slow is waited for: `execve` may have to fetch the program over a network. Only one that is
/// found stopped is given up. Looks are counted, not looks in a row, so that whoever lets it go between two looks
/// cannot hold it for ever.
///
/// Without `CAP_KILL`, this process may not kill another user's process, but may let one of its session go on: then
/// the child is let go at each further look.
fn leaves(word: &AtomicU32, pid: i32, pidfd: BorrowedFd<'_>) -> bool {
    let mut stops_seen = 0;
    while !leaves_within(word, Some(LOOK_EVERY)) {
        stops_seen += u32::from(is_stopped(pid));
        if stops_seen < MOST_STOPS_SEEN {
            continue;
        }
        if signal_child(pid.unsigned_abs(), pidfd, libc::SIGKILL).is_ok() {
            // It reads what the caller owns: nothing may be given back before it is gone.
            leaves_within(word, None);
            return false;
        }
        let _ = signal_child(pid.unsigned_abs(), pidfd, libc::SIGCONT);
    }
    true
}

/// Whether a child is stopped by a signal, asked without taking the news from whoever waits for it.
///
/// By a bare system call, as below.
fn is_stopped(pid: i32) -> bool {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let look = |pid| waitid(WaitId::Pid(pid), options);
    Pid::from_raw(pid).is_some_and(|it| matches!(look(it), Ok(Some(status)) if status.stopped()))
}

/// Waits until the kernel has cleared the word; says whether it has.
///
/// By bare system calls: until then the child has this thread's `errno`.
fn leaves_within(word: &AtomicU32, limit: Option<Duration>) -> bool {
    let deadline = limit.map(|limit| Instant::now() + limit);
    // Pairs with the kernel's own clearing, which the wake-up follows.
    while word.load(Ordering::Acquire) != 0 {
        let left = deadline.map(timespec_until);
        let expected = word.load(Ordering::Acquire);
        if expected == 0 {
            break;
        }
        match futex::wait(word, futex::Flags::empty(), expected, left.as_ref()) {
            Err(Errno::TIMEDOUT) if deadline.is_some_and(|at| Instant::now() >= at) => {
                return false;
            }
            // Woken, interrupted, or cleared just before.
            _ => {}
        }
    }
    true
}
