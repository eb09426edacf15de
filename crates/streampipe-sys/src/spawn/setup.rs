use std::os::fd::BorrowedFd;

use rustix::process::{Gid, Resource};

use crate::signal::SignalSet;

/// One descriptor of the parent's and the number it gets in the child.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'fd> {
    /// Whose copy the child gets.
    pub source: BorrowedFd<'fd>,
    /// Its number in the child; what else stood there is closed in the child.
    pub target: i32,
}

/// What the child does before it becomes the program.
#[derive(Debug, Default)]
pub struct Setup<'fd> {
    /// Descriptors to place. No two may have the same target.
    pub placements: Vec<Placement<'fd>>,
    /// Whether all other descriptors from 3 on are closed in the program, whatever their flags.
    pub closes_others: bool,
    /// The process group and session.
    pub group: Group,
    /// Limits on resources.
    pub limits: Vec<Limit>,
    /// User and groups. A child that somebody keeps stopped after a change is killed after about 5 seconds.
    pub identity: Identity,
    /// Whether no `exec` of the child's can give it more rights (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// The signal the child gets when the thread that spawned it ends.
    pub death_signal: Option<i32>,
    /// Whether the program's environment has `LISTEN_PID`, with its own process id.
    pub announces_id: bool,
    /// The signal mask of the new program; the calling thread's if `None`.
    pub mask: Option<SignalSet>,
}

/// The process group and session of the child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// The parent's.
    #[default]
    Inherited,
    /// This process group of the parent's session; 0 for a new one that the child leads.
    Of(i32),
    /// A new session, and in it a new process group, that the child leads.
    NewSession,
}

/// The user and the groups of the child; those of the parent where `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The supplementary groups.
    pub groups: SupplementaryGroups,
    /// The real, effective and saved group.
    pub gid: Option<u32>,
    /// The real, effective and saved user.
    pub uid: Option<u32>,
}

impl Identity {
    /// Sets the supplementary groups.
    pub fn set_groups(&mut self, groups: impl IntoIterator<Item = u32>) {
        self.groups = SupplementaryGroups::Set(groups.into_iter().map(Gid::from_raw).collect());
    }

    /// Whether anything changes.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.groups != SupplementaryGroups::Keep || self.gid.is_some() || self.uid.is_some()
    }
}

/// What becomes of the parent's supplementary groups in the child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SupplementaryGroups {
    /// The child keeps them.
    #[default]
    Keep,
    /// The child gives them up, unless the kernel does not permit that (`EPERM`).
    ///
    /// The kernel's answer decides, not the user id: capabilities and user namespaces permit it to other users
    /// and refuse it to root.
    ClearIfPermitted,
    /// The child has these groups instead, or does not start.
    Set(Vec<Gid>),
}

/// A limit on a resource, as `setrlimit(2)` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Which resource.
    pub resource: Resource,
    /// The soft limit; none if `None`.
    pub soft: Option<u64>,
    /// The hard limit; none if `None`.
    pub hard: Option<u64>,
}
