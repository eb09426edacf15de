use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use super::clone::clone_child;
use super::moves::Moves;
use super::own_id::OwnId;
use super::program::Orders;
use super::stack::Stack;
use super::undumpable::Undumpable;
use super::{Image, Limit, Resource, Setup};
use crate::fd::{LOWEST, duplicate};
use crate::signal::SignalSet;

/// How long a child that takes another identity may be on the way to its program.
const PATIENCE: Duration = Duration::from_secs(5);

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making the process.
    Clone,
    /// Joining a process group, or starting a session.
    Group,
    /// Placing a descriptor, or closing the others.
    Descriptor,
    /// Setting a limit.
    Limit,
    /// Changing the user or the groups.
    Identity,
    /// Changing the directory.
    Directory,
    /// Giving up new privileges.
    Privileges,
    /// Asking for a signal at the parent's death.
    DeathSignal,
    /// Executing the program.
    Exec,
}

/// Why there is no child.
#[derive(Debug)]
pub struct SpawnError {
    /// Where it went wrong.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}

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
    let mut own_id = setup.announces_id.then(OwnId::new);
    let args = image.args.pointers(None);
    let environment = image.environment.pointers(own_id.as_ref().map(OwnId::as_ptr));
    let mut moves = Moves::plan(&setup.placements).map_err(at(Step::Descriptor))?;
    let stack = Stack::take().map_err(at(Step::Clone))?;
    let late_limits = late_limits(setup);
    let undumpable = setup.identity.changes().then(Undumpable::begin);

    let before = SignalSet::all().set();
    let mut orders = Orders {
        paths: &image.paths,
        args: args.as_ptr(),
        environment: environment.as_ptr(),
        directory: image.directory.as_deref(),
        setup,
        late_limits: &late_limits,
        moves: &mut moves,
        own_id: own_id.as_mut(),
        mask: setup.mask.unwrap_or(before),
        parent: rustix::process::getpid(),
        handlers_are_clear: false,
        tries_exec: false,
        failed: None,
    };
    // Somebody of the new user can stop the child before it has its program, for ever.
    let patience = setup.identity.changes().then_some(PATIENCE);
    let cloned = clone_child(&stack, &mut orders, patience);
    before.set();
    let child = cloned.as_ref().ok().map(|child| (child.pid, child.pidfd.as_fd()));
    if let Some(undumpable) = undumpable {
        undumpable.end(child);
    }
    stack.put_back();

    let child = cloned.map_err(at(Step::Clone))?;
    let verdict = match orders.failed {
        Some((step, errno)) => Err(at(step)(io::Error::from_raw_os_error(errno))),
        None if child.was_late => Err(at(Step::Exec)(io::ErrorKind::TimedOut.into())),
        None if orders.tries_exec => Ok(()),
        None => {
            Err(at(Step::Exec)(io::Error::other("the child was killed before it came to that")))
        }
    };
    match verdict {
        Ok(()) => take(child.pid, child.pidfd).map_err(at(Step::Clone)),
        Err(error) => {
            // The child has ended already: this waits for nothing.
            let _ = crate::process::wait(child.pidfd.as_fd());
            Err(error)
        }
    }
}

/// Which limits come after the change of identity.
///
/// A user who has more processes than `RLIMIT_NPROC` allows at the moment of the change gets no `exec`
/// afterwards (`execve(2)`, `EAGAIN`), so that limit comes later; one that raises the hard limit comes
/// before, for that takes rights.
fn late_limits(setup: &Setup<'_>) -> Vec<bool> {
    let raises = |limit: &Limit| {
        let now = rustix::process::getrlimit(limit.resource).maximum;
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
            let _ = crate::process::signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = crate::process::wait(pidfd.as_fd());
            Err(error)
        }
    }
}

fn duplicate_if_standard(pidfd: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    if pidfd.as_raw_fd() >= LOWEST { Ok(None) } else { duplicate(pidfd).map(Some) }
}
