//! Processes by descriptor: a pidfd cannot come to mean another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::fd::lift;

/// Opens a pidfd for a child that has not been waited for. Close-on-exec.
///
/// # Errors
///
/// `ESRCH` if there is no such process, `EMFILE`, `ENFILE`.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    lift(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Opens a pidfd of the calling process, for others to learn of its end. Close-on-exec.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn open_own() -> io::Result<OwnedFd> {
    lift(rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)
}

/// Kills a child by number: one that never got a pidfd, and was not waited for.
pub fn kill_by_id(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether two pidfds are of one process; `None` where the kernel does not tell (before Linux 6.9, all
/// pidfds are one file).
#[must_use]
pub fn same_process(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Option<bool> {
    /// The file system of pidfds (`PID_FS_MAGIC`, `include/uapi/linux/magic.h`).
    const PIDFS: u64 = 0x5049_4446;
    let is_pidfs = |fd| rustix::fs::fstatfs(fd).is_ok_and(|facts| facts.f_type as u64 == PIDFS);
    if !is_pidfs(one) || !is_pidfs(other) {
        return None;
    }
    let inode = |fd| rustix::fs::fstat(fd).ok().map(|facts| facts.st_ino);
    Some(inode(one)? == inode(other)?)
}

/// Waits until the child has ended, and reaps it.
///
/// # Errors
///
/// `ECHILD` if it was reaped by somebody else, or if this process ignores `SIGCHLD`.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = wait_with(pidfd, WaitIdOptions::EXITED)? {
            return Ok(status);
        }
    }
}

/// Reaps the child if it has ended. Never blocks.
///
/// # Errors
///
/// As [`wait`](fn@wait).
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Sends a signal, a real-time one or 0 included; it can never reach another process.
///
/// # Errors
///
/// `ESRCH` if the process has ended and was reaped, `EPERM`, `EINVAL` for no such signal.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the pidfd is open; without information the kernel reads no memory.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_information, 0)
    };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calling process's id.
#[must_use]
pub fn own_id() -> u32 {
    std::process::id()
}

/// Waits for a child by number: for one that never got a pidfd.
///
/// # Errors
///
/// Those of `waitid(2)`, `EINTR` excepted.
pub fn reap_by_id(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))?;
    retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED))?;
    Ok(())
}

/// The process group of a process, 0 for the caller's own.
///
/// # Errors
///
/// `ESRCH`.
pub fn group_of(pid: i32) -> io::Result<i32> {
    Ok(rustix::process::getpgid(Pid::from_raw(pid))?.as_raw_nonzero().get())
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let ended = retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options))?;
    Ok(ended.map(|status| exit_status(&status)))
}

/// The status as `wait(2)` would have given it, which is what std's type is made of.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let core = if status.dumped() { 0x80 } else { 0 };
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => (signal & 0x7f) | core,
        (None, None) => 0,
    };
    ExitStatus::from_raw(raw)
}

/// What a process is asleep in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsleepIn {
    /// Reading from this descriptor.
    Read(i32),
    /// Writing to this descriptor.
    Write(i32),
    /// Waiting for a child of its own.
    Wait,
    /// Another call, such as a sleep, or a wait for several descriptors.
    Other,
    /// Nothing: a signal stopped it.
    Stopped,
}

/// Looks at what the main thread of a process is asleep in (`/proc/PID/stat`, `/proc/PID/syscall`).
///
/// `None` if it is not asleep, or if this process may not look.
#[must_use]
pub fn asleep_in(pid: i32) -> Option<AsleepIn> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit(')').next()?.split_whitespace().next()?;
    if matches!(state, "T" | "t") {
        return Some(AsleepIn::Stopped);
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = text.split_ascii_whitespace();
    let call: libc::c_long = words.next()?.parse().ok()?;
    let first = words.next()?.strip_prefix("0x")?;
    let fd = i32::try_from(u64::from_str_radix(first, 16).ok()?).ok();
    match call {
        libc::SYS_read | libc::SYS_readv | libc::SYS_recvfrom | libc::SYS_recvmsg => {
            Some(AsleepIn::Read(fd?))
        }
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendto | libc::SYS_sendmsg => {
            Some(AsleepIn::Write(fd?))
        }
        libc::SYS_wait4 | libc::SYS_waitid => Some(AsleepIn::Wait),
        // -1: outside of any call, for example in a page fault.
        0.. => Some(AsleepIn::Other),
        _ => None,
    }
}

/// On which processor this thread runs; it may be another one by now.
#[must_use]
pub fn processor() -> Option<u32> {
    // SAFETY: a question that takes nothing and touches no memory.
    let number = unsafe { libc::sched_getcpu() };
    u32::try_from(number).ok()
}
