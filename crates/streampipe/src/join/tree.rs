//! What two programs have started themselves, as far as a signal can reach it.

use streampipe_sys::job;
use streampipe_sys::job::procfs::{self, ProcessStat};
use streampipe_sys::open::numbers;

use crate::process::Descendants;

/// The processes that the programs have started, found by their parents in `/proc`, and by the
/// programs' process group if they have one of their own.
///
/// Without `/proc` there is only the group.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The programs' own group; `None` if they share this process's.
    group: Option<i32>,
    descendants: Descendants,
}

impl Tree {
    /// The left program leads a group of its own, which the right one joins.
    pub(super) fn set_group(&mut self, leader: i32) {
        self.group = Some(leader);
    }

    pub(super) fn group(&self) -> Option<i32> {
        self.group
    }

    /// Looks who there is, before a signal makes orphans of them that nobody can find by their parents.
    pub(super) fn look(&mut self, programs: &[i32]) {
        // Without `/proc` there is only the group.
        let _ = self.descendants.look(programs);
    }

    /// Signals the whole group, through a program in it that was not reaped.
    pub(super) fn signal_group(&self, member: i32, signal: i32) -> bool {
        self.group.is_some_and(|group| job::signal_group_of(member, group, signal))
    }

    /// Signals what was found, but for the members of a group that was signalled already.
    pub(super) fn signal_found(&self, signal: i32, group_was_signalled: bool) {
        let group = self.group.filter(|_| group_was_signalled);
        for process in self.descendants.found().iter().filter(|it| Some(it.group) != group) {
            // One that has ended meanwhile does not mind; another user's cannot be reached.
            let _ = procfs::signal(process, signal);
        }
    }

    /// Whether something still runs, the programs themselves aside; `None` if nobody can tell.
    pub(super) fn is_alive(&self, programs: &[i32]) -> Option<bool> {
        let all = procfs::list().ok()?;
        let counts = |it: &&ProcessStat| {
            let is_ours = self.group == Some(it.group) || self.descendants.contains(it);
            is_ours && !programs.contains(&it.pid) && !it.has_ended()
        };
        Some(all.iter().filter(counts).any(can_be_signalled))
    }
}

/// Another user's process can be waited for in vain.
fn can_be_signalled(process: &ProcessStat) -> bool {
    let answer = procfs::signal(process, 0);
    !answer.is_err_and(|error| error.raw_os_error() == Some(numbers::EPERM))
}
