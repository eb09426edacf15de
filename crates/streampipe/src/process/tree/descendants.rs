use std::io;

use streampipe_sys::job::procfs::{self, ProcessStat};

/// The processes whose parents lead to some others, as `/proc` shows them.
///
/// One whose parent has ended leads nowhere, unless it was found before: so look before a signal makes orphans.
#[derive(Debug, Default)]
pub(crate) struct Descendants {
    found: Vec<ProcessStat>,
}

impl Descendants {
    /// Adds all that descend from these processes, and from those found before.
    ///
    /// # Errors
    ///
    /// Those of [`procfs::list`]: without `/proc`, nobody can be found.
    pub(crate) fn look(&mut self, ancestors: &[i32]) -> io::Result<Seen> {
        let all = procfs::list()?;
        let before = self.found.len();
        let mut parents = ancestors.to_vec();
        parents.extend(self.found.iter().filter(|it| all.iter().any(is(it))).map(|it| it.pid));
        let mut at = 0;
        while let Some(&parent) = parents.get(at) {
            for child in all.iter().filter(|it| it.parent == parent) {
                if !parents.contains(&child.pid) {
                    parents.push(child.pid);
                    self.found.push(*child);
                }
            }
            at += 1;
        }
        let family = all.iter().filter(|it| ancestors.contains(&it.pid) || self.contains(it));
        let not_held = family.filter(|it| !it.is_held()).map(|it| it.pid).collect();
        Ok(Seen { new_from: before, not_held })
    }

    /// All that were found, in the order in which they were.
    pub(crate) fn found(&self) -> &[ProcessStat] {
        &self.found
    }

    /// Whether this very process was found.
    pub(crate) fn contains(&self, process: &ProcessStat) -> bool {
        self.found.iter().any(is(process))
    }
}

/// What a look has shown.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Where those begin, among the found, that were not found before.
    pub(crate) new_from: usize,
    /// Those of the family, the ancestors included, that could start another process.
    pub(crate) not_held: Vec<i32>,
}

/// A process is known by its number and the time of its start.
fn is(process: &ProcessStat) -> impl Fn(&ProcessStat) -> bool {
    let (pid, started) = (process.pid, process.started);
    move |it| it.pid == pid && it.started == started
}
