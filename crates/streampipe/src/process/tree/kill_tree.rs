//! Killing a child with all that descends from it.

use std::io;
use std::time::{Duration, Instant};

use streampipe_sys::job::procfs;
use streampipe_sys::open::numbers;
use streampipe_sys::wait::pause;

use super::descendants::Descendants;
use crate::process::child_handle::ChildHandle;

/// The pause between two looks whether everybody is stopped.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long everybody may take to stop. A look reads all of `/proc`, so their number says nothing of time.
const STOP_WITHIN: Duration = Duration::from_secs(10);

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
    let deadline = Instant::now() + STOP_WITHIN;
    // Those that have taken another identity do not stop, however long they are waited for.
    let mut unreachable = Vec::new();
    loop {
        let seen = tree.look(&ancestors)?;
        let new = &tree.found()[seen.new_from..];
        if new.is_empty() && seen.not_held.iter().all(|pid| unreachable.contains(pid)) {
            return Ok(());
        }
        for process in new {
            match procfs::signal(process, numbers::SIGSTOP) {
                // Its kill will tell of it.
                Err(error) if error.raw_os_error() == Some(numbers::EPERM) => {
                    unreachable.push(process.pid);
                }
                // One that has ended meanwhile is not there.
                Ok(()) | Err(_) => {}
            }
        }
        if Instant::now() >= deadline {
            let text = format!("descendants of process {id} did not stop within {STOP_WITHIN:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        pause(LOOK_EVERY, Some(deadline))?;
    }
}
