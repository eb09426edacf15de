use std::io;

use libc::c_int;

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading the description of the program.
    Describe,
    /// Finding the program's file: it is not there, or nobody may look.
    Find,
    /// Finding a file that may be executed: this one is there, and may not.
    Permission,
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

impl Step {
    /// Those that a child can tell.
    const OF_A_CHILD: [Self; 9] = [
        Self::Find,
        Self::Permission,
        Self::Group,
        Self::Descriptor,
        Self::Limit,
        Self::Identity,
        Self::Directory,
        Self::Privileges,
        Self::DeathSignal,
    ];

    /// The step that a child told by its number; of any other number, the last step.
    pub(super) fn from_number(number: c_int) -> Self {
        let told = Self::OF_A_CHILD.into_iter().find(|step| *step as c_int == number);
        told.unwrap_or(Self::Exec)
    }
}

/// Why there is no child.
#[derive(Debug)]
pub struct SpawnError {
    /// Where it went wrong.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}
