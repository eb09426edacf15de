//! Statuses, process groups, terminals, and the end of a process by a signal.

use std::io;
use std::mem::MaybeUninit;
use std::process::ExitStatus;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions};

use crate::process::{exit_status, group_of};
use crate::signal::SignalSet;

/// Returns the status of a child that has ended, and leaves the child to be reaped.
///
/// By the child's number, which is its own until it is reaped.
///
/// # Errors
///
/// `ECHILD` if it was reaped by somebody else, or if this process ignores `SIGCHLD`.
pub fn ended_status(pid: i32) -> io::Result<Option<ExitStatus>> {
    wait_for(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
}

/// Reaps a child that has ended. Never blocks.
///
/// # Errors
///
/// As [`ended_status`].
pub fn reap(pid: i32) -> io::Result<()> {
    wait_for(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG).map(drop)
}

fn wait_for(pid: i32, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))?;
    let ended = retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
    Ok(ended.map(|status| exit_status(&status)))
}

/// Sends a signal to all processes of a group, if this child, not reaped yet, is one of them.
///
/// The member keeps the number of the group from becoming another's. Returns whether it was sent.
pub fn signal_group_of(member: i32, group: i32, number: i32) -> bool {
    if group <= 1 || group_of(0).is_ok_and(|own| own == group) {
        return false;
    }
    if !group_of(member).is_ok_and(|its| its == group) {
        return false;
    }
    // SAFETY: the call takes two numbers and touches no memory.
    unsafe { libc::kill(-group, number) == 0 }
}

/// Whether this process has a controlling terminal, and so may be subject to job control.
#[must_use]
pub fn has_terminal() -> bool {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open("/dev/tty", flags, Mode::empty()) {
        // Nobody has a file of this name without a terminal, except where `/dev` was made by hand.
        Ok(tty) => foreground_of(std::os::fd::AsRawFd::as_raw_fd(&tty)).is_some(),
        // No terminal, or one that was taken away.
        Err(Errno::NXIO | Errno::IO) => false,
        // No `/dev`, or not allowed to: a standard descriptor may be the terminal all the same.
        Err(_) => (0..=2).any(|number| foreground_of(number).is_some()),
    }
}

/// The foreground group of a terminal, if it is this process's controlling terminal.
fn foreground_of(number: i32) -> Option<i32> {
    // SAFETY: a question about a number; one that is not open is `EBADF`.
    let group = unsafe { libc::tcgetpgrp(number) };
    (group >= 0).then_some(group)
}

/// Whether this process ignores a signal.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads the present one, into `now`.
    unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: all zeros is a valid `sigaction`, whether or not the call wrote to it.
    unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Makes a write beyond the limit on file sizes an error, which else ends this process (`SIGXFSZ`).
pub fn survive_file_limit() {
    // SAFETY: an ignored signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Ends this process by the default action of a signal, without a core dump.
///
/// Returns if that does not end it: the first process of a PID namespace has no default actions.
pub fn die_of(signal: i32) {
    // A core dump would be one of a program that only passes on what happened to another.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    // The limit does not bind a core dump that goes to a program.
    // SAFETY: this option takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let this = SignalSet::of(&[signal]);
    let _ = this.block();
    // SAFETY: a number alone is passed.
    unsafe { libc::raise(signal) };
    this.unblock();
}
