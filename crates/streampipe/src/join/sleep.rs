//! What a program slept in when the time was up, and what two of them waited for.

use streampipe_sys::job::procfs::{self, Activity, FileName};

use super::wiring::JoinedFiles;
use super::{AsleepIn, SleepFile, Standstill};

/// What one program was doing when the time was up.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    pub(super) call: Option<AsleepIn>,
    pub(super) file: Option<SleepFile>,
    name: FileName,
    /// Whether nobody else could be doing the program's work: neither a thread nor a child.
    is_alone: bool,
}

impl Sleep {
    pub(super) fn of(activity: Activity, pid: i32, joined: &JoinedFiles) -> Self {
        use procfs::AsleepIn as Seen;
        let asleep = |call| Self { call: Some(call), ..Self::default() };
        let on_file = |call, name: FileName| Self {
            call: Some(call),
            file: Some(file_of(&name, joined)),
            name,
            is_alone: is_alone(pid),
        };
        match activity {
            Activity::Running | Activity::Ended => Self::default(),
            Activity::Unknown => asleep(AsleepIn::Unknown),
            Activity::Asleep(Seen::Read(fd, name)) => on_file(AsleepIn::Read(fd), name),
            Activity::Asleep(Seen::Write(fd, name)) => on_file(AsleepIn::Write(fd), name),
            Activity::Asleep(Seen::Wait) => asleep(AsleepIn::Wait),
            Activity::Asleep(Seen::Other) => asleep(AsleepIn::Other),
            Activity::Asleep(Seen::Stopped) => asleep(AsleepIn::Stopped),
        }
    }

    /// Why neither goes on, if what both sleep in says so.
    pub(super) fn standstill(one: &Self, other: &Self) -> Option<Standstill> {
        let writes = |it: &Self| matches!(it.call, Some(AsleepIn::Write(_)));
        let reads = |it: &Self| matches!(it.call, Some(AsleepIn::Read(_)));
        let is_joined = |it: &Self| it.file == Some(SleepFile::Joined);
        if writes(one) && writes(other) && is_joined(one) && is_joined(other) {
            return (one.is_alone && other.is_alone).then_some(Standstill::BothWrite);
        }
        let same = (writes(one) && writes(other)) || (reads(one) && reads(other));
        let elsewhere = !is_joined(one) && one.name.is_same(&other.name);
        (same && elsewhere).then_some(Standstill::SameFile)
    }
}

/// Which file this is: a joined end, one that this process has as a standard descriptor, or another.
fn file_of(name: &FileName, joined: &JoinedFiles) -> SleepFile {
    if !name.is_known() {
        return SleepFile::Unknown;
    }
    if joined.contains(name) {
        return SleepFile::Joined;
    }
    let own = [1, 2, 0].into_iter().find(|&number| FileName::of_standard(number).is_same(name));
    own.map_or(SleepFile::Other, SleepFile::Standard)
}

/// Whether the process has one thread and no child.
fn is_alone(pid: i32) -> bool {
    let one_thread = procfs::stat(pid).is_ok_and(|stat| stat.threads == 1);
    one_thread && procfs::list().is_ok_and(|all| all.iter().all(|it| it.parent != pid))
}
