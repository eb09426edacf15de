//! What `/proc` shows of other processes: state, parents, what they wait for.
//!
//! Every function first makes sure that `/proc` is mounted and numbers processes as this one does: in
//! a new PID namespace an inherited `/proc` shows strangers under the numbers of children.

use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::process;

/// The flag of a task that has begun to exit (`PF_EXITING`, `include/linux/sched.h`).
const EXITING: u64 = 0x4;

/// One process, as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Its process id.
    pub pid: i32,
    /// The process id of its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// How many threads it has.
    pub threads: u64,
    /// When it was started, in clock ticks since boot: with the number, its identity.
    pub started: u64,
    state: u8,
    flags: u64,
}

impl ProcessStat {
    /// Whether it has ended, and is only waited for.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it can start no process before somebody lets it go on: it is stopped, has ended, or waits in the
    /// kernel for something else, as for the program of a child (`vfork(2)`).
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_stopped() || self.has_ended() || self.state == b'D'
    }

    fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// What a process was doing when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It was running, or about to.
    Running,
    /// It was asleep in a call, or stopped.
    Asleep(AsleepIn),
    /// It had ended.
    Ended,
    /// It could not be looked at.
    Unknown,
}

/// What a process is asleep in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsleepIn {
    /// Reading from this descriptor.
    Read(i32, FileName),
    /// Writing to this descriptor.
    Write(i32, FileName),
    /// Waiting for a child of its own.
    Wait,
    /// Another call, such as a sleep, or a wait for several descriptors.
    Other,
    /// Nothing: a signal stopped it.
    Stopped,
}

/// The kernel's name of an open file: `pipe:[INODE]`, `socket:[INODE]`, or a path.
///
/// Read from a link, which asks no server of a network file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileName(Option<String>);

impl FileName {
    /// The name of an unnamed pipe or a socket of this process; needs no `/proc`.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`.
    pub fn of_unnamed(fd: impl AsFd) -> io::Result<Self> {
        let facts = rustix::fs::fstat(fd)?;
        let is_socket = FileType::from_raw_mode(facts.st_mode) == FileType::Socket;
        let kind = if is_socket { "socket" } else { "pipe" };
        Ok(Self(Some(format!("{kind}:[{}]", facts.st_ino))))
    }

    /// The name of the file behind a standard descriptor of this process, 0, 1 or 2.
    #[must_use]
    pub fn of_standard(number: i32) -> Self {
        Self(link("self", number))
    }

    /// Whether the file could be named.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Whether both are surely the same file.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        // Two deleted files can have one name.
        self.0.as_ref().is_some_and(|name| !name.ends_with(" (deleted)")) && self == other
    }
}

/// Looks at one process.
///
/// # Errors
///
/// `NotFound` if there is no such process or no `/proc` of this process's own; `InvalidData`.
pub fn stat(pid: i32) -> io::Result<ProcessStat> {
    require_own_proc()?;
    stat_at(&format!("/proc/{pid}/stat"))
}

/// Lists all processes that this one can see.
///
/// # Errors
///
/// `NotFound` if there is no `/proc` of this process's own; those of reading a directory.
pub fn list() -> io::Result<Vec<ProcessStat>> {
    require_own_proc()?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that cannot be read has ended meanwhile.
        found.extend(stat_at(&format!("/proc/{pid}/stat")));
    }
    Ok(found)
}

/// Whether all threads of a process have begun to exit: its descriptors are closed, or will be at once.
///
/// `None` if it cannot be looked at.
#[must_use]
pub fn is_exiting(pid: i32) -> Option<bool> {
    let whole = stat(pid).ok()?;
    if whole.flags & EXITING == 0 {
        return Some(whole.has_ended());
    }
    if whole.threads <= 1 {
        return Some(true);
    }
    let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(tasks.all(|task| {
        let path = task.map(|task| task.path().join("stat"));
        let stat = path.ok().and_then(|path| stat_at(path.to_str()?).ok());
        stat.is_none_or(|stat| stat.flags & EXITING != 0)
    }))
}

/// Looks at what the main thread of a process is doing (`/proc/PID/stat`, `/proc/PID/syscall`).
#[must_use]
pub fn activity(pid: i32) -> Activity {
    let Ok(stat) = stat(pid) else { return Activity::Unknown };
    if stat.has_ended() {
        return Activity::Ended;
    }
    if stat.is_stopped() {
        return Activity::Asleep(AsleepIn::Stopped);
    }
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/syscall")) else {
        // The state alone is shown to everybody.
        return if stat.state == b'R' { Activity::Running } else { Activity::Unknown };
    };
    let Some(call) = Call::parse(&text) else { return Activity::Running };
    // The calls of another kind of program have other numbers.
    let Some(calls) = Calls::of(pid) else { return Activity::Asleep(AsleepIn::Other) };
    let file = FileName(call.fd.and_then(|fd| link(&pid.to_string(), fd)));
    let asleep = call.asleep_in(calls, file);
    // The file belongs to the call only if the process still sleeps in it.
    let again = std::fs::read_to_string(format!("/proc/{pid}/syscall"));
    if again.is_ok_and(|again| again == text) {
        Activity::Asleep(asleep)
    } else {
        Activity::Running
    }
}

/// Sends a signal to the process that was started at this time, if it still runs.
///
/// # Errors
///
/// `ESRCH` if it has ended, `EPERM`.
pub fn signal(process: &ProcessStat, number: i32) -> io::Result<()> {
    let is_it = || stat(process.pid).is_ok_and(|now| now.started == process.started);
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    match process::open(process.pid) {
        // The number cannot come to mean another process while it is looked at by its pidfd.
        Ok(pidfd) if is_it() => match process::signal(pidfd.as_fd(), number) {
            Err(error) if may_be_refused(&error) && is_it() => kill(process.pid, number),
            done => done,
        },
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) && is_it() => {
            kill(process.pid, number)
        }
        _ => Err(gone()),
    }
}

fn may_be_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

fn kill(pid: i32, number: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: the call takes two numbers and touches no memory.
    let sent = unsafe { libc::kill(pid, number) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A line of `/proc/PID/syscall`.
struct Call {
    number: libc::c_long,
    fd: Option<i32>,
}

impl Call {
    /// `None` for a process that runs, or sleeps outside of any call (-1), as in a page fault.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
        let first = words.next().and_then(|word| word.strip_prefix("0x"));
        let first = first.and_then(|word| u64::from_str_radix(word, 16).ok());
        // A descriptor is the lower half of a register.
        let fd = first.map(|first| first as u32 as i32).filter(|fd| *fd >= 0);
        Some(Self { number, fd })
    }

    fn asleep_in(&self, calls: &Calls, file: FileName) -> AsleepIn {
        match self.fd {
            Some(fd) if calls.reads.contains(&self.number) => AsleepIn::Read(fd, file),
            Some(fd) if calls.writes.contains(&self.number) => AsleepIn::Write(fd, file),
            _ if calls.waits.contains(&self.number) => AsleepIn::Wait,
            _ => AsleepIn::Other,
        }
    }
}

/// The numbers of the calls that a program sleeps in.
struct Calls {
    reads: &'static [libc::c_long],
    writes: &'static [libc::c_long],
    waits: &'static [libc::c_long],
}

/// This program's own.
const OWN_CALLS: Calls = Calls {
    reads: &[libc::SYS_read, libc::SYS_readv, libc::SYS_recvfrom, libc::SYS_recvmsg],
    writes: &[libc::SYS_write, libc::SYS_writev, libc::SYS_sendto, libc::SYS_sendmsg],
    waits: &[libc::SYS_wait4, libc::SYS_waitid],
};

/// Those of 32-bit programs on x86-64 (`arch/x86/entry/syscalls/syscall_32.tbl`).
const I386_CALLS: Calls =
    Calls { reads: &[3, 145, 371, 372], writes: &[4, 146, 369, 370], waits: &[7, 114, 284] };

/// Those of 32-bit programs on aarch64 (`arch/arm/tools/syscall.tbl`).
const ARM_CALLS: Calls =
    Calls { reads: &[3, 145, 291, 292, 297], writes: &[4, 146, 289, 290, 296], waits: &[114, 280] };

impl Calls {
    /// Those of the program that a process runs, if they are known.
    fn of(pid: i32) -> Option<&'static Self> {
        if is_of_own_kind(pid) {
            return Some(&OWN_CALLS);
        }
        match machine_of(pid)? {
            libc::EM_386 if cfg!(target_arch = "x86_64") => Some(&I386_CALLS),
            libc::EM_ARM if cfg!(target_arch = "aarch64") => Some(&ARM_CALLS),
            _ => None,
        }
    }
}

/// What the program of a process is built for (`elf(5)`).
fn machine_of(pid: i32) -> Option<u16> {
    let mut header = [0; 20];
    let mut program = std::fs::File::open(format!("/proc/{pid}/exe")).ok()?;
    program.read_exact(&mut header).ok()?;
    // In the byte order of this kernel, which runs the program.
    header.starts_with(b"\x7fELF").then(|| u16::from_ne_bytes([header[18], header[19]]))
}

/// Fails unless `/proc` is that of this process's own PID namespace.
pub(crate) fn require_own_proc() -> io::Result<()> {
    let own = std::fs::read_link("/proc/self")?;
    let is_own = own.to_str().and_then(|text| text.parse::<u32>().ok()) == Some(process::own_id());
    if is_own { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn link(process: &str, fd: i32) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/{process}/fd/{fd}")).ok()?;
    Some(target.to_string_lossy().into_owned())
}

fn stat_at(path: &str) -> io::Result<ProcessStat> {
    let mut text = Vec::with_capacity(1024);
    std::fs::File::open(path)?.read_to_end(&mut text)?;
    parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Parses a line as `proc_pid_stat(5)` describes it. The name in parentheses may hold anything.
fn parse(text: &[u8]) -> Option<ProcessStat> {
    let text = String::from_utf8_lossy(text);
    let (before, after) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // The first field behind the name is the third of the manual.
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    Some(ProcessStat {
        pid: before.split_once(' ')?.0.parse().ok()?,
        state: *field(3)?.as_bytes().first()?,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        flags: field(9)?.parse().ok()?,
        threads: field(20)?.parse().ok()?,
        started: field(22)?.parse().ok()?,
    })
}

/// Whether a process has words as long as this one's, and so the same numbers of calls.
fn is_of_own_kind(pid: i32) -> bool {
    let mut first = [0; 8];
    let read = std::fs::File::open(format!("/proc/{pid}/auxv"))
        .and_then(|mut auxv| auxv.read_exact(&mut first));
    // It begins with a small number, and in words of 32 bits with a value right behind it.
    let has_long_words = u64::from_ne_bytes(first) >> 32 == 0;
    read.is_ok() && has_long_words == cfg!(target_pointer_width = "64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_no_field() {
        let text = b"12 (a) R 1 (b) S 7 8 9 0 -1 4194308 0 0 0 0 0 0 0 0 20 0 3 0 4711 0 0";
        let stat = parse(text).expect("a line");
        assert_eq!((stat.pid, stat.parent, stat.group), (12, 7, 8));
        assert_eq!((stat.threads, stat.started, stat.state), (3, 4711, b'S'));
        assert_ne!(stat.flags & EXITING, 0);
    }

    #[test]
    fn half_a_line_is_no_process() {
        assert_eq!(parse(b"12 (cat) S 7"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_running_process_is_in_no_call() {
        assert!(Call::parse("running\n").is_none());
        let call = Call::parse("1 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8").expect("a call");
        assert_eq!((call.number, call.fd), (1, Some(1)));
    }
}
