//! Killing a child with all that descends from it.

use std::io;
use std::time::Duration;

use streampipe_sys::job::procfs;
use streampipe_sys::open::numbers;
use streampipe_sys::wait::pause;

use super::descendants::Descendants;
use crate::process::child_handle::ChildHandle;

/// How often it is looked whether everybody is stopped, and for how long: some ten seconds.
const LOOKS: u32 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Kills the child, its process group if it leads one, and its descendants.
///
/// They are stopped first, one generation after the other, until a look shows nobody new and everybody stopped: a
/// process that is stopped starts no others, and is nobody's orphan, so none is missed.
pub(in crate::process) fn kill_tree(child: &ChildHandle) -> io::Result<()> {
    child.signal(numbers::SIGSTOP)?;
    let mut tree = Descendants::default();
    let stopped = stop_all(child, &mut tree);
    let mut refused = None;
    for process in tree.found() {
        match procfs::signal(process, numbers::SIGKILL) {
            Err(error) if error.raw_os_error() != Some(numbers::ESRCH) => refused = Some(error),
            Ok(()) | Err(_) => {}
        }
    }
    // The child may lead no group.
    let _ = child.signal_group(numbers::SIGKILL);
    child.signal(numbers::SIGKILL)?;
    refused.map_or(stopped, Err)
}

fn stop_all(child: &ChildHandle, tree: &mut Descendants) -> io::Result<()> {
    let id = child.id();
    let ancestors = [i32::try_from(id).unwrap_or(i32::MAX)];
    for _ in 0..LOOKS {
        let seen = tree.look(&ancestors)?;
        let new = &tree.found()[seen.new_from..];
        if new.is_empty() && seen.all_held {
            return Ok(());
        }
        for process in new {
            // One that has ended meanwhile is not there; one that cannot be reached is told of by its kill.
            let _ = procfs::signal(process, numbers::SIGSTOP);
        }
        pause(LOOK_EVERY, None)?;
    }
    let text = format!("descendants of process {id} did not stop within {LOOKS} looks");
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}
