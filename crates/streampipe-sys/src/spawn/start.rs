use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::clone::{ChildProcess, CloneSupport, Memory, ReportReader, Verdict, clone_child};
use super::in_flight::StartGuard;
use super::moves::Moves;
use super::own_id::OwnId;
use super::program::Orders;
use super::stack::Stack;
use super::undumpable::Undumpable;
use super::{Image, Limit, Resource, Setup, SpawnError, Step};
use crate::fd::{LOWEST, duplicate};
use crate::process::signal_child;
use crate::signal::SignalSet;
use crate::table::limits;

/// A child that has become the program.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id.
    pub pid: i32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

/// Starts the program.
///
/// `Ok` means that `exec` succeeded. After an error there is no child, no zombie and no new
/// descriptor.
///
/// # Errors
///
/// A [`SpawnError`] that names the step and holds the kernel's error number.
pub fn spawn(image: &Image, setup: &Setup<'_>) -> Result<Spawned, SpawnError> {
    let at = |step| move |source| SpawnError { step, source };
    let _start = StartGuard::begin();
    let support = CloneSupport::of_this_system().map_err(at(Step::Clone))?;
    let mut own_id = setup.announces_id.then(OwnId::new);
    let args = image.args.pointers(None);
    let environment = image.environment.pointers(own_id.as_ref().map(OwnId::as_ptr));
    let mut moves = Moves::plan(&setup.placements).map_err(at(Step::Descriptor))?;
    let stack = Stack::take().map_err(at(Step::Clone))?;
    let late_limits = late_limits(setup);
    let report = match support.memory {
        Memory::Shared => None,
        Memory::Copied => Some(ReportReader::open().map_err(at(Step::Clone))?),
    };
    let changes_on_our_memory = setup.identity.changes() && support.memory == Memory::Shared;
    let undumpable = changes_on_our_memory.then(Undumpable::begin);
    // Somebody of the new user can stop the child before it has its program, for ever.
    let may_be_stopped = changes_on_our_memory && !is_traced();

    let blocked = SignalSet::all().set_scoped();
    let mut orders = Orders {
        image,
        args: args.as_ptr(),
        environment: environment.as_ptr(),
        setup,
        late_limits: &late_limits,
        moves: &mut moves,
        own_id: own_id.as_mut(),
        mask: setup.mask.unwrap_or(blocked.before()),
        parent: rustix::process::getpid(),
        handlers_are_clear: false,
        tries_exec: false,
        failed: None,
        report: report.as_ref().map(ReportReader::for_child),
    };
    let cloned = clone_child(support, &stack, &mut orders, may_be_stopped);
    drop(blocked);
    let child = cloned.as_ref().ok().map(|child| (child.pid, child.pidfd.as_fd()));
    if let Some(undumpable) = undumpable {
        undumpable.end(child);
    }
    stack.put_back();

    let child = cloned.map_err(at(Step::Clone))?;
    let verdict = match report {
        None => orders.verdict(),
        // A report that cannot be read says no more than that of a child that was killed.
        Some(report) => report.read().unwrap_or(Verdict::Killed),
    };
    started(child, verdict)
}

/// The child, if it has become the program; else the reason, and there is no child.
fn started(child: ChildProcess, verdict: Verdict) -> Result<Spawned, SpawnError> {
    let (step, source) = match verdict {
        Verdict::Executed if !child.was_held_up => {
            let taken = take(child.pid, child.pidfd);
            return taken.map_err(|source| SpawnError { step: Step::Clone, source });
        }
        Verdict::Failed(step, errno) => (step, io::Error::from_raw_os_error(errno)),
        Verdict::Executed => (Step::Exec, held_up()),
        Verdict::Killed if child.was_held_up => (Step::Identity, held_up()),
        Verdict::Killed => {
            (Step::Exec, io::Error::other("the child was killed before it came to that"))
        }
    };
    if verdict == Verdict::Killed {
        // It has ended, as far as is known; if it has not, nobody must wait for it to do so.
        let _ = signal_child(child.pid.unsigned_abs(), child.pidfd.as_fd(), libc::SIGKILL);
    }
    // It has ended already: this waits for nothing.
    let _ = crate::process::wait(child.pidfd.as_fd());
    Err(SpawnError { step, source })
}

fn held_up() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "a signal kept the child stopped")
}

/// Whether a debugger or `strace` traces this thread.
///
/// A debugger takes a child that shares the memory and does not hold its parent for a fork, and removes its
/// breakpoints from the memory of both.
fn is_traced() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// Which limits come after the change of identity.
///
/// A user who has more processes than `RLIMIT_NPROC` allows at the moment of the change gets no `exec`
/// afterwards (`execve(2)`, `EAGAIN`), so that limit comes later; one that raises the hard limit comes
/// before, for that takes rights.
fn late_limits(setup: &Setup<'_>) -> Vec<bool> {
    let raises = |limit: &Limit| {
        let now = limits(limit.resource).map(|now| now.hard).filter(|&now| now != u64::MAX);
        now.is_some_and(|now| limit.hard.is_none_or(|hard| hard > now))
    };
    let is_late = |limit: &Limit| {
        setup.identity.uid.is_some() && limit.resource == Resource::Nproc && !raises(limit)
    };
    setup.limits.iter().map(is_late).collect()
}

/// The child's pidfd, at a number that is nobody's standard input.
fn take(pid: i32, pidfd: OwnedFd) -> io::Result<Spawned> {
    match duplicate_if_standard(&pidfd) {
        Ok(lifted) => Ok(Spawned { pid, pidfd: lifted.unwrap_or(pidfd) }),
        Err(error) => {
            // Standard input was closed and the table is full: there is no child to speak of.
            let _ = crate::process::signal_child(pid.unsigned_abs(), pidfd.as_fd(), libc::SIGKILL);
            let _ = crate::process::wait(pidfd.as_fd());
            Err(error)
        }
    }
}

fn duplicate_if_standard(pidfd: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if pidfd.as_raw_fd() >= LOWEST { Ok(None) } else { duplicate(pidfd).map(Some) }
}
