use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use super::clone::clone_child;
use super::moves::Moves;
use super::own_id::OwnId;
use super::program::Orders;
use super::stack::Stack;
use super::{Image, Setup};
use crate::fd::lift;
use crate::signal::SignalSet;

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
    let dumpable = setup.identity.changes().then(|| dumpable_behavior().ok()).flatten();

    let before = SignalSet::all().set();
    let mut orders = Orders {
        paths: &image.paths,
        args: args.as_ptr(),
        environment: environment.as_ptr(),
        directory: image.directory.as_deref(),
        setup,
        moves: &mut moves,
        own_id: own_id.as_mut(),
        mask: setup.mask.unwrap_or(before),
        parent: rustix::process::getpid(),
        handlers_are_clear: false,
        failed: None,
    };
    let cloned = clone_child(&stack, &mut orders).and_then(|(pid, pidfd)| take(pid, pidfd));
    before.set();
    stack.put_back();
    restore_dumpable(dumpable);

    let spawned = cloned.map_err(at(Step::Clone))?;
    match orders.failed {
        None => Ok(spawned),
        Some((step, errno)) => {
            // The child has ended already, by `_exit`: this waits for nothing.
            let _ = crate::process::reap_by_id(spawned.pid);
            Err(at(step)(io::Error::from_raw_os_error(errno)))
        }
    }
}

/// A change of identity marks the memory as not to be dumped or traced (`PR_SET_DUMPABLE`), which
/// is right while the child borrows it, and none of its business afterwards.
fn restore_dumpable(before: Option<DumpableBehavior>) {
    if let Some(before) = before {
        let _ = set_dumpable_behavior(before);
    }
}

/// The child's pidfd, at a number that is nobody's standard input.
fn take(pid: i32, pidfd: OwnedFd) -> io::Result<Spawned> {
    match lift(pidfd) {
        Ok(pidfd) => Ok(Spawned { pid, pidfd }),
        Err(error) => {
            // Standard input was closed and the table is full: there is no child to speak of.
            crate::process::kill_by_id(pid);
            let _ = crate::process::reap_by_id(pid);
            Err(error)
        }
    }
}
