//! Processes by descriptor: a pidfd cannot come to mean another process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::fd::lift;
use crate::job::procfs;

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
            return Ok(exit_status(&status));
        }
    }
}

/// Reaps the child if it has ended. Never blocks.
///
/// # Errors
///
/// As [`wait`](fn@wait).
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let ended = wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(ended.map(|status| exit_status(&status)))
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

/// Sends a signal to a child of the calling process that the caller has not reaped.
///
/// As [`signal`](fn@signal), and where the kernel or a filter refuses that call (`ENOSYS` before Linux 5.1;
/// `EPERM` by old container profiles), by `kill(2)` with the child's number. The number is the child's
/// own as long as it is not reaped: the caller must not reap it in another thread meanwhile. If
/// somebody else has reaped it, or it is not a child of this process, `kill` is not called.
///
/// # Errors
///
/// As [`signal`](fn@signal); `ENOSYS` if the kernel refuses it, and the process is not this one's child.
pub fn signal_child(pid: u32, pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let refused = match signal(pidfd, number) {
        Err(error) if is_refusal(&error) => error,
        done => return done,
    };
    match is_unreaped_child(pidfd) {
        Ok(true) => kill(Recipient::Process(pid), number),
        Ok(false) => Err(refused),
        Err(error) => Err(error),
    }
}

/// Sends a signal to all processes of the group that a child of the calling process leads.
///
/// The number of the group is the child's own, so the child must not have been reaped, as for
/// [`signal_child`]: the number can then mean no other group. Never signals the caller's own group.
///
/// # Errors
///
/// `ESRCH` if the child was reaped by somebody else; `InvalidInput` if there is no such group, or the
/// caller is a member; `EPERM` if no member may be signalled.
pub fn signal_group(leader: u32, pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if !is_unreaped_child(pidfd)? {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    if group_of(0)?.unsigned_abs() == leader {
        let text = format!("this process itself is a member of the process group {leader}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match kill(Recipient::Group(leader), number) {
        // A leader that was not reaped is a member of its group, also when it has ended.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            let text = format!(
                "process {leader} leads no process group; a start makes it the leader of a new one"
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
        done => done,
    }
}

/// Whether a process group has a member that has not ended, besides its leader.
///
/// `None` where `/proc` does not tell, or is that of another PID namespace. A process that another user owns
/// may be hidden.
#[must_use]
pub fn group_has_others(leader: u32) -> Option<bool> {
    let leader = i32::try_from(leader).ok()?;
    let all = procfs::list().ok()?;
    Some(all.iter().any(|it| it.group == leader && it.pid != leader && !it.has_ended()))
}

/// Whether a kernel or a filter may have refused the call itself; `EPERM` can also mean the process.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Whether this is a child of the calling process that nobody has reaped: its number is its own.
///
/// # Errors
///
/// Those of `waitid(2)`, `ECHILD` and `EINTR` excepted.
pub fn is_unreaped_child(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match wait_with(pidfd, look) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        Err(error) => Err(error),
    }
}

enum Recipient {
    Process(u32),
    Group(u32),
}

/// Sends a signal by `kill(2)`. Numbers below 2 mean several processes, or the first one.
fn kill(whom: Recipient, signal: i32) -> io::Result<()> {
    let (Recipient::Process(pid) | Recipient::Group(pid)) = whom;
    let Some(number) = i32::try_from(pid).ok().filter(|&number| number > 1) else {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    };
    let number = if let Recipient::Group(_) = whom { -number } else { number };
    // SAFETY: the call takes two numbers and touches no memory.
    let sent = unsafe { libc::kill(number, signal) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calling process's id.
#[must_use]
pub fn own_id() -> u32 {
    std::process::id()
}

/// Whether the kernel may give this process the children of a child that ends: it is process 1 of its
/// namespace, or a subreaper.
#[must_use]
pub fn takes_in_orphans() -> bool {
    if std::process::id() == 1 {
        return true;
    }
    let mut is_subreaper: libc::c_int = 0;
    // SAFETY: this option writes an int through the pointer, which is valid for that.
    let asked = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is_subreaper) };
    asked == 0 && is_subreaper != 0
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
/// The group is 0 if its number means nothing in the caller's PID namespace.
///
/// # Errors
///
/// `ESRCH`.
pub fn group_of(pid: i32) -> io::Result<i32> {
    // Not rustix's function, which takes the 0 for impossible.
    // SAFETY: the call takes a number and touches no memory.
    let group = unsafe { libc::getpgid(pid) };
    if group < 0 { Err(io::Error::last_os_error()) } else { Ok(group) }
}

/// Waits by the pidfd, and by the number where the kernel cannot (`EINVAL` before Linux 5.4) or a filter refuses it
/// (`ENOSYS`, `EPERM`: the kernel itself answers neither).
fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
    use rustix::process::waitid;

    match retry_on_intr(|| waitid(WaitId::PidFd(pidfd), options)) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {}
        ended => return Ok(ended?),
    }
    let pid = number_of(pidfd)?;
    Ok(retry_on_intr(|| waitid(WaitId::Pid(pid), options))?)
}

/// The number of a process, as the kernel tells it of its pidfd: none once it was reaped.
fn number_of(pidfd: BorrowedFd<'_>) -> io::Result<Pid> {
    // Without `/proc`, what is left is what the kernel said of the pidfd. That of another PID namespace tells a
    // number which is somebody else's in this one.
    let refused = |_| io::Error::from_raw_os_error(libc::EINVAL);
    procfs::require_own_proc().map_err(refused)?;
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let facts = facts.map_err(refused)?;
    let number = facts.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    let number = number.filter(|&number: &i32| number > 0).and_then(Pid::from_raw);
    number.ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
}

/// The status as `wait(2)` would have given it, which is what std's type is made of.
pub(crate) fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let core = if status.dumped() { 0x80 } else { 0 };
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => (signal & 0x7f) | core,
        (None, None) => 0,
    };
    ExitStatus::from_raw(raw)
}

/// On which processor this thread runs; it may be another one by now.
#[must_use]
pub fn processor() -> Option<u32> {
    // SAFETY: a question that takes nothing and touches no memory.
    let number = unsafe { libc::sched_getcpu() };
    u32::try_from(number).ok()
}
