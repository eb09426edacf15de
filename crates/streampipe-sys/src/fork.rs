//! `fork(2)`, and the question that decides whether it may be called: are there other threads?

use std::io;
use std::time::{Duration, Instant};

use rustix::thread::UnshareFlags;

use crate::wait::pause;

/// The two sides of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In the caller; the child has this process id.
    Parent(i32),
    /// In the new process.
    Child,
}

/// What a fork is turned into: made before it, split by it.
///
/// Not for use outside of streampipe, whose `Fork` is the one implementation: it changes when
/// streampipe wants it to.
#[doc(hidden)]
pub trait FromFork: Sized {
    /// What both sides start from, for example a pair.
    type Prepared;

    /// Runs before the fork.
    ///
    /// # Errors
    ///
    /// Whatever keeps the fork from being tried.
    fn prepare() -> io::Result<Self::Prepared>;

    /// Runs on each side: keeps its share of what was prepared and drops the rest.
    ///
    /// # Errors
    ///
    /// Whatever makes the parent give up; it must leave no child then.
    fn split(prepared: Self::Prepared, side: Side) -> io::Result<Self>;
}

/// Forks a process that has no other threads.
///
/// # Errors
///
/// `None` if other threads run; else those of [`FromFork::prepare`], `fork(2)` (`EAGAIN` at a limit
/// on processes, `ENOMEM`) and [`FromFork::split`].
pub fn fork<T: FromFork>() -> io::Result<Option<T>> {
    if !is_single_threaded_soon()? {
        return Ok(None);
    }
    // SAFETY: this thread is the only one, and only it could start another: no lock is held by a
    // thread that will not be there, so the child may call anything.
    unsafe { fork_unchecked() }.map(Some)
}

/// Forks, whatever other threads there are. The child has a copy of the calling thread alone.
///
/// Goes through the C library's `fork`, so that its own locks and caches are right in the child.
///
/// # Errors
///
/// `EAGAIN` at a limit on processes, `ENOMEM`, `EMFILE`; there is no child then.
///
/// # Safety
///
/// If the process has other threads, the child may call only async-signal-safe functions until it
/// calls `exec` or `_exit` (`fork(2)`, `signal-safety(7)`): a lock that another thread held, the
/// allocator's among them, is held for ever there. Dropping the child's share of the result is
/// among what it may not do then.
pub unsafe fn fork_unchecked<T: FromFork>() -> io::Result<T> {
    let prepared = T::prepare()?;
    // SAFETY: the caller keeps the child to async-signal-safe functions where that is needed.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => T::split(prepared, Side::Child),
        pid => T::split(prepared, Side::Parent(pid)),
    }
}

/// Ends the process at once: no destructors, no `atexit` handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and touches no memory.
    unsafe { libc::_exit(code) }
}

/// How long a thread that is on its way out of the kernel is waited for.
const LEAVING: Duration = Duration::from_secs(10);

/// How long other threads are waited for if nobody tells whether they are on their way out.
const UNKNOWN: Duration = Duration::from_millis(100);

/// Whether the calling thread is the only one, once those that are ending have ended.
///
/// `pthread_join` returns before the kernel has taken the thread off its list: under load, a plain
/// look right after a join was wrong in one of fifty runs. A thread on its way out holds no lock.
fn is_single_threaded_soon() -> io::Result<bool> {
    let start = Instant::now();
    loop {
        if is_single_threaded()? {
            return Ok(true);
        }
        let patience = match others_are_leaving() {
            Some(true) => LEAVING,
            Some(false) => Duration::ZERO,
            None => UNKNOWN,
        };
        if start.elapsed() >= patience {
            // A last look: they may have gone between the two questions.
            return is_single_threaded();
        }
        pause(Duration::from_micros(100), None)?;
    }
}

/// Whether every other thread has begun to exit, which the kernel notes before it lets a join
/// return: `PF_EXITING` in the flags of `/proc/self/task/TID/stat` (`proc_pid_stat(5)`). `None` where
/// `/proc` does not tell.
fn others_are_leaving() -> Option<bool> {
    const PF_EXITING: u64 = 4;
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?;
        if task.file_name() == own.as_str() {
            continue;
        }
        // One that cannot be read has gone.
        let Ok(text) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        // The name, in parentheses, may hold anything; the flags are the seventh field behind it.
        let flags = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(6));
        let flags: u64 = flags.and_then(|flags| flags.parse().ok()).unwrap_or(0);
        if flags & PF_EXITING == 0 {
            return Some(false);
        }
    }
    Some(true)
}

/// Whether the calling thread is the only one of its process.
///
/// Asks the kernel by `unshare(CLONE_THREAD)`, which does nothing in a process of one thread and
/// fails with `EINVAL` in any other (`unshare(2)`). Where that says no, or a filter forbids the call, counts the
/// threads of the program: an emulator has one of its own beside them.
///
/// # Errors
///
/// `Unsupported` if neither the call nor `/proc` tells.
pub fn is_single_threaded() -> io::Result<bool> {
    // `CLONE_THREAD` is not among rustix's flags: elsewhere it would unshare something.
    let clone_thread = UnshareFlags::from_bits_retain(libc::CLONE_THREAD as u32);
    // SAFETY: unsharing the thread group of a process of one thread changes nothing, and is refused
    // in every other.
    match unsafe { rustix::thread::unshare_unsafe(clone_thread) } {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::INVAL) => Ok(threads().is_ok_and(|threads| threads == 1)),
        Err(errno) => match threads() {
            Ok(threads) => Ok(threads == 1),
            Err(error) => {
                let text = format!(
                    "cannot tell whether this process has other threads: unshare: {errno}; \
                     /proc/self/task: {error}"
                );
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        },
    }
}

/// How many threads the program has.
///
/// `num_threads` of `/proc/self/stat` (`proc_pid_stat(5)`). qemu-user writes that file itself: with the threads of
/// the emulated program alone, or, before version 8.2, with 0. Its own thread is among the entries of
/// `/proc/self/task` all the same.
fn threads() -> io::Result<usize> {
    const OF_EMULATOR: usize = 1;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold anything; the number is the 18th field behind it.
    let number = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(17));
    match number.and_then(|number| number.parse().ok()) {
        Some(0) => Ok(tasks()?.saturating_sub(OF_EMULATOR)),
        Some(number) => Ok(number),
        None => tasks(),
    }
}

fn tasks() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// The other threads of this process, for an error message; `None` where `/proc` does not tell.
#[must_use]
pub fn other_threads() -> Option<usize> {
    let others = threads().ok()?.saturating_sub(1);
    Some(others).filter(|&others| others > 0)
}
