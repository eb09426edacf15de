use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use libc::{c_int, c_void};

use super::raw::clone_with_clear_handlers;
use super::request::CloneRequest;
use crate::signal::SignalSet;
use crate::spawn::stack::Stack;

/// What the system makes of a clone: asked once in a process, with a child that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spawn) struct CloneSupport {
    pub(in crate::spawn) memory: Memory,
    pub(super) pidfd: PidfdSource,
}

/// Whose memory a child has between the clone and `exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spawn) enum Memory {
    /// The parent's, as asked for.
    Shared,
    /// A copy: valgrind and qemu-user make a fork of every clone that is no thread.
    Copied,
}

/// Where the pidfd of a child comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PidfdSource {
    /// From the clone (`CLONE_PIDFD`).
    Clone,
    /// From `pidfd_open(2)`: the clone refuses the flag, or ignores it.
    Open,
}

/// The answer, once known: 0, or the place in `ANSWERS` plus 1.
static KNOWN: AtomicU8 = AtomicU8::new(0);

const ANSWERS: [Option<CloneSupport>; 5] = [
    Some(CloneSupport { memory: Memory::Shared, pidfd: PidfdSource::Clone }),
    Some(CloneSupport { memory: Memory::Shared, pidfd: PidfdSource::Open }),
    Some(CloneSupport { memory: Memory::Copied, pidfd: PidfdSource::Clone }),
    Some(CloneSupport { memory: Memory::Copied, pidfd: PidfdSource::Open }),
    // A child could not be held: there are no pidfds.
    None,
];

impl CloneSupport {
    /// What this system is known to do; tries it the first time.
    ///
    /// # Errors
    ///
    /// `ENOSYS` if there are no pidfds (Linux before 5.2, or a filter): nothing may be started then.
    pub(in crate::spawn) fn of_this_system() -> io::Result<Self> {
        // A racing thread tries it, too, and stores the same answer.
        let known = KNOWN.load(Ordering::Relaxed);
        let answer = match usize::from(known).checked_sub(1).and_then(|at| ANSWERS.get(at)) {
            Some(answer) => *answer,
            None => match Self::try_out()? {
                Some(answer) => {
                    let at = ANSWERS.iter().position(|it| *it == answer).unwrap_or(0);
                    KNOWN.store(at as u8 + 1, Ordering::Relaxed);
                    answer
                }
                // Something else went wrong, which the start itself meets and tells.
                None => ANSWERS[0],
            },
        };
        answer.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSYS))
    }

    /// Makes a child that does nothing; `None` if there was none to learn from.
    fn try_out() -> io::Result<Option<Option<Self>>> {
        let stack = Stack::take()?;
        let word = AtomicU32::new(0);
        let mut pidfd: c_int = -1;
        let blocked = SignalSet::all().set_scoped();
        let cloned = try_clone(&stack, &word, &mut pidfd);
        drop(blocked);
        let answer = cloned.ok().and_then(|pid| {
            // SAFETY: a number that is not negative was written by the clone, which opened it for this process.
            let from_clone = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
            let ended = Ended::of(pid, from_clone);
            ended.judge(word.load(Ordering::Relaxed) == 1)
        });
        stack.put_back();
        Ok(answer)
    }
}

/// Clones with a pidfd, or, where the flag is refused, without; returns the child's number.
///
/// The child sends no signal when it ends, so that nobody who waits for children of this process meets it; unless
/// that is refused, as qemu-user does.
fn try_clone(stack: &Stack, word: &AtomicU32, pidfd: &mut c_int) -> io::Result<i32> {
    let mut request = CloneRequest {
        function: set_and_exit,
        data: ptr::from_ref(word).cast_mut().cast::<c_void>(),
        stack,
        flags: libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD,
        exit_signal: 0,
        pidfd: &raw mut *pidfd,
        on_our_memory: ptr::null_mut(),
    };
    if let Some(cloned) = clone_with_clear_handlers(&request) {
        return cloned;
    }
    let is_refused = |cloned: &io::Result<i32>| matches!(cloned, Err(error) if error.raw_os_error() == Some(libc::EINVAL));
    let mut cloned = request.by_library();
    if is_refused(&cloned) {
        request.flags &= !libc::CLONE_PIDFD;
        cloned = request.by_library();
    }
    if is_refused(&cloned) {
        request.exit_signal = libc::SIGCHLD;
        cloned = request.by_library();
    }
    cloned
}

extern "C" fn set_and_exit(word: *mut c_void) -> c_int {
    // SAFETY: `try_clone` passed a pointer to its word, which lives until this child has ended.
    let word = unsafe { &*word.cast::<AtomicU32>() };
    word.store(1, Ordering::Relaxed);
    // SAFETY: `_exit` has no preconditions; it runs none of the parent's destructors.
    unsafe { libc::_exit(0) }
}

/// How the child that did nothing was held and waited for.
struct Ended {
    /// Where its pidfd came from; or why there was none.
    source: io::Result<PidfdSource>,
    exited: bool,
}

impl Ended {
    fn of(pid: i32, from_clone: Option<OwnedFd>) -> Self {
        let source = match from_clone {
            Some(_) => Ok(PidfdSource::Clone),
            // The child was not waited for, so the number is still its own.
            None => crate::process::open(pid).map(|_| PidfdSource::Open),
        };
        let exited = match wait_for(pid) {
            // Somebody who waits for all children of this process was first.
            Err(error) => error.raw_os_error() == Some(libc::ECHILD),
            Ok(exited) => exited,
        };
        Self { source, exited }
    }

    /// What that says of the system; `None` if it says nothing.
    fn judge(&self, is_word_set: bool) -> Option<Option<CloneSupport>> {
        let memory = if is_word_set { Memory::Shared } else { Memory::Copied };
        let refused = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL];
        match &self.source {
            _ if !self.exited => None,
            Ok(pidfd) => Some(Some(CloneSupport { memory, pidfd: *pidfd })),
            Err(error) if error.raw_os_error().is_some_and(|it| refused.contains(&it)) => {
                Some(None)
            }
            // No free descriptor, for example.
            Err(_) => None,
        }
    }
}

/// Reaps a child that sends no signal when it ends; says whether it exited by itself.
fn wait_for(pid: i32) -> io::Result<bool> {
    loop {
        // SAFETY: all zeros is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::__WALL;
        // SAFETY: the kernel writes what it has to say into `info`.
        let waited =
            unsafe { libc::waitid(libc::P_PID, pid.unsigned_abs(), &raw mut info, options) };
        match (waited, io::Error::last_os_error()) {
            (0, _) => return Ok(info.si_code == libc::CLD_EXITED),
            (_, error) if error.kind() == io::ErrorKind::Interrupted => {}
            (_, error) => return Err(error),
        }
    }
}
