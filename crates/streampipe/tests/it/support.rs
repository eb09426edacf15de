//! What tests stand on: a process of their own, and a look at its descriptors.
//!
//! The tests of a binary run in threads of one process and share its descriptor table, in which
//! nothing can be compared before and after. So a test that touches descriptors runs its body in a
//! process of its own, single-threaded (`fork` wants that), under a time limit, and fails if the
//! body leaves a descriptor, a queued descriptor, or a child behind.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

/// Set in the process of its own to the test's path.
const ALONE: &str = "STREAMPIPE_TEST_ALONE";

/// How long the process of its own may take; a hang is a failure, not a wait.
const LIMIT: Duration = Duration::from_secs(120);

/// Defines tests whose bodies run alone.
macro_rules! tests_alone {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        #[test]
        $(#[$meta])*
        fn $name() {
            crate::support::alone(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )*};
}
pub(crate) use tests_alone;

/// Runs the body in a process of its own, and fails with what it printed if it fails.
pub(crate) fn alone(path: &str, body: impl FnOnce()) {
    if is_alone(path) {
        return checked(body);
    }
    let ran = rerun(path, &[]);
    assert!(ran.status.success(), "in its own process: {}\n{}", ran.status, ran.output);
    pass_on_skips(&ran.output);
}

/// Whether this is the process in which the test with this path runs its body.
pub(crate) fn is_alone(path: &str) -> bool {
    std::env::var_os(ALONE).is_some_and(|it| it == path)
}

/// The path of the test that this process is for, if it is a process of its own.
pub(crate) fn own_path() -> Option<String> {
    std::env::var(ALONE).ok()
}

/// Runs the body; fails if it leaves something behind.
pub(crate) fn checked(body: impl FnOnce()) {
    let threads = threads();
    let before = Descriptors::now();
    body();
    // `thread::scope` returns when its closures are done, not when its threads have ended, and the C
    // library's allocator opens a file of `/proc` for an instant while one ends.
    let deadline = std::time::Instant::now() + LEAVING;
    while self::threads() > threads && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = Descriptors::now();
    assert_eq!(before, after, "the body left other descriptors than it found");
    assert!(!has_children(), "the body left a child");
}

/// How long threads of a body that is over may take to end.
const LEAVING: Duration = Duration::from_secs(5);

/// How many threads this process has.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// What a process of its own did.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

/// Runs this binary again for one test, behind a prefix such as `strace` and its options.
pub(crate) fn rerun(path: &str, prefix: &[&str]) -> Ran {
    let (_, name) = path.split_once("::").expect("a path has the crate in front");
    let program = std::env::current_exe().expect("the test binary");
    let mut words: Vec<PathBuf> = prefix.iter().map(PathBuf::from).collect();
    words.push(program);
    let mut output = tempfile::tempfile().expect("a temporary file");
    let handle = || output.try_clone().expect("a duplicate");
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args([name, "--exact", "--include-ignored", "--test-threads=1", "--nocapture"])
        .env(ALONE, path)
        .stdin(std::process::Stdio::null())
        .stdout(handle())
        .stderr(handle())
        .spawn()
        .expect("the process starts");
    let in_time = ends_within(child.id(), LIMIT);
    if !in_time {
        child.kill().expect("the process can be killed");
    }
    let status = child.wait().expect("the process is ours");
    output.seek(SeekFrom::Start(0)).expect("a file can seek");
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).expect("the file is there");
    let mut output = String::from_utf8_lossy(&bytes).into_owned();
    if !in_time {
        output.push_str(&format!("\nkilled: it had not ended after {LIMIT:?}\n"));
    }
    Ran { status, output }
}

/// Waits for a process, at most so long; says whether it ended.
pub(crate) fn ends_within(pid: u32, limit: Duration) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a small number")).expect("a process id");
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a child not waited for");
    readable_within(pidfd.as_fd(), limit)
}

/// Waits until the descriptor is readable, at most so long; says whether it is.
pub(crate) fn readable_within(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let limit = Timespec::try_from(limit).expect("a short time");
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, Some(&limit)));
    ready.expect("poll") > 0
}

/// Says on the real standard error, past the test harness, what was not tested and why.
pub(crate) fn skip(what: &str, why: &str) {
    // Not `eprintln!`, which the harness captures when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {why}");
}

pub(crate) fn pass_on_skips(output: &str) {
    // Behind the test's name, if it is the first thing that the test prints.
    for line in output.lines().filter_map(|line| Some(&line[line.find("skipped: ")?..])) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Whether a program is there; if not, says that the test is skipped.
pub(crate) fn has_program(program: &str, what: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|at| at.join(program).is_file());
    if !there {
        skip(what, &format!("{program} is not installed"));
    }
    there
}

/// The open descriptors of this process: what each refers to, and how many wait in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Descriptors(BTreeMap<u32, (String, Option<String>)>);

impl Descriptors {
    pub(crate) fn now() -> Self {
        let listing = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
        let numbers: Vec<u32> =
            listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The descriptor of the listing itself is closed by now, and reads as gone.
        let open = numbers.into_iter().filter_map(|number| {
            let target = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
            let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
            let queued = facts.lines().find(|line| line.starts_with("scm_fds")).map(str::to_owned);
            Some((number, (target.to_string_lossy().into_owned(), queued)))
        });
        Self(open.collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The numbers, each with what it refers to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(&number, (target, _))| (number, target.as_str()))
    }
}

/// Whether this process has children, running or not waited for.
pub(crate) fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

/// Waits until there are no children left, which somebody else reaps, at most so long.
pub(crate) fn is_childless_within(limit: Duration) -> bool {
    let deadline = std::time::Instant::now() + limit;
    while has_children() {
        if std::time::Instant::now() >= deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// A file with this content, rewound.
pub(crate) fn file_with(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(content).expect("room in the file");
    file.seek(SeekFrom::Start(0)).expect("a file can seek");
    file
}

/// The identity of an open file.
pub(crate) fn identity(fd: impl AsFd) -> (u64, u64) {
    let facts = rustix::fs::fstat(fd).expect("fstat");
    (facts.st_dev, facts.st_ino)
}

/// Leaves this process exactly so many free descriptors until the guard is dropped.
pub(crate) struct FreeDescriptors {
    before: rustix::process::Rlimit,
}

impl FreeDescriptors {
    pub(crate) fn exactly(free: usize) -> Self {
        let resource = rustix::process::Resource::Nofile;
        let before = rustix::process::getrlimit(resource);
        // The table is filled up to the limit by number, so the limit goes just above the numbers
        // that are to stay free.
        let used: Vec<u32> = Descriptors::now().0.into_keys().collect();
        let mut limit = 0;
        let mut found = 0;
        while found < free || used.contains(&limit) {
            if !used.contains(&limit) {
                found += 1;
            }
            limit += 1;
        }
        let lowered = rustix::process::Rlimit { current: Some(limit.into()), ..before };
        rustix::process::setrlimit(resource, lowered).expect("a limit can be lowered");
        Self { before }
    }

    /// None, and none of those that are closed meanwhile, but those up to 3.
    pub(crate) fn none_ever() -> Self {
        let resource = rustix::process::Resource::Nofile;
        let before = rustix::process::getrlimit(resource);
        let lowered = rustix::process::Rlimit { current: Some(4), ..before };
        rustix::process::setrlimit(resource, lowered).expect("a limit can be lowered");
        Self { before }
    }
}

impl Drop for FreeDescriptors {
    fn drop(&mut self) {
        let resource = rustix::process::Resource::Nofile;
        rustix::process::setrlimit(resource, self.before).expect("back to what it was");
    }
}
