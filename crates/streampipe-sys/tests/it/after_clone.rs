//! Between the clone and `exec` (promise P12): the listed system calls, and no allocation.
//!
//! The calls are seen by `strace`. An allocation is seen by this binary's own allocator: the child
//! borrows the parent's memory, so what it notes there, the parent reads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::Relaxed};

use streampipe_sys::signal::SignalSet;
use streampipe_sys::spawn::{
    Group, Identity, Image, Limit, Placement, Resource, Setup, Step, spawn,
};
use streampipe_sys::{open, process};

use crate::support::{self, tests_alone};

/// The process whose memory it is, while somebody wants to know who else allocates from it.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// How often another process allocated, or freed, in this one's memory.
static BY_OTHERS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which notes who asks.
struct Noting;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

impl Noting {
    fn note(&self) {
        let owner = OWNER.load(Relaxed);
        if owner != 0 && real_pid() != owner {
            BY_OTHERS.fetch_add(1, Relaxed);
        }
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, which keeps the contract.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.note();
        // SAFETY: the pointer came from `alloc` above, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The process id from the kernel: no library may have kept it from before a clone.
fn real_pid() -> i32 {
    // SAFETY: the call has no arguments and cannot fail.
    (unsafe { libc::syscall(libc::SYS_getpid) }) as i32
}

/// Runs the body; returns how often other processes allocated from this one's memory meanwhile.
fn allocations_by_others(body: impl FnOnce()) -> usize {
    BY_OTHERS.store(0, Relaxed);
    OWNER.store(real_pid(), Relaxed);
    body();
    OWNER.store(0, Relaxed);
    BY_OTHERS.load(Relaxed)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn program(path: &str) -> Image {
    crate::spawn::image_from(path, &["x"], Some(Path::new("/"))).expect("it is there")
}

/// A file that the kernel cannot execute, though its permissions say so.
fn nonsense() -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"no program at all\n").expect("room");
    let may_be_started = std::fs::Permissions::from_mode(0o755);
    file.as_file().set_permissions(may_be_started).expect("our own");
    file.into_temp_path()
}

/// A setup with something in every field, and a cycle of descriptors.
fn everything(ends: &(OwnedFd, OwnedFd), group: Group) -> Setup<'_> {
    use std::os::fd::AsRawFd;

    let mut identity = Identity { uid: Some(65534), gid: Some(65534), ..Identity::default() };
    identity.set_groups([65534, 7]);
    let (one, other) = (ends.0.as_raw_fd(), ends.1.as_raw_fd());
    Setup {
        placements: vec![
            Placement { source: ends.0.as_fd(), target: other },
            Placement { source: ends.1.as_fd(), target: one },
        ],
        closes_others: true,
        group,
        limits: vec![
            Limit { resource: Resource::Nofile, soft: Some(64), hard: Some(64) },
            Limit { resource: Resource::Core, soft: Some(0), hard: None },
        ],
        identity: if is_root() { identity } else { Identity::default() },
        no_new_privileges: true,
        death_signal: Some(libc::SIGTERM),
        announces_id: true,
        mask: Some(SignalSet::of(&[])),
    }
}

fn waited_for(spawned: streampipe_sys::spawn::Spawned) {
    let status = process::wait(spawned.pidfd.as_fd()).expect("our child");
    assert!(status.success(), "{status}");
}

/// What `child` in `program.rs` lists, in its order, by the kernel's names.
const LISTED: [&str; 18] = [
    "rt_sigaction",
    "setsid",
    "setpgid",
    "close_range",
    "fcntl",
    "dup2",
    "prlimit64",
    "setgroups",
    "setresgid",
    "setresuid",
    // Of a new user.
    "prctl",
    "chdir",
    "prctl",
    "getppid",
    "getpid",
    "rt_sigprocmask",
    "execve",
    "exit_group",
];

/// What it lists besides, where there is no `close_range`.
const LISTED_WITHOUT_CLOSE_RANGE: [&str; 4] = ["open", "openat", "getdents64", "close"];

/// What makes a call of the list unnecessary, as this process may not make it.
const OF_ROOT: [&str; 3] = ["setgroups", "setresgid", "setresuid"];

/// A call by the name that it has on x86-64.
fn plain(name: &str) -> &str {
    match name {
        // Where there is no `dup2`, the library makes it of this.
        "dup3" => "dup2",
        "fcntl64" => "fcntl",
        "mmap2" => "mmap",
        // Of processors of 32 bits, where user ids once had 16.
        "setgroups32" | "setresgid32" | "setresuid32" => name.trim_end_matches("32"),
        _ => name,
    }
}

/// The list for this kernel: it has a longer way where `close_range` does not know the flag (before Linux 5.11).
fn listed(log: &str) -> Vec<&'static str> {
    let walks = log.lines().any(|line| line.contains("close_range(") && line.contains(") = -1 "));
    [&LISTED[..], if walks { &LISTED_WITHOUT_CLOSE_RANGE } else { &[] }].concat()
}

/// The calls of the child that executed this program (or failed so), up to the first of this name.
fn calls_up_to(last: &str, log: &str, program: &str) -> Vec<String> {
    let id = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let executes = |line: &&str| line.contains("execve") && line.contains(program);
    let child = log.lines().find(executes).and_then(id).expect("the program was executed");
    let name = |line: &str| {
        let call = line.split_once(' ').map(|(_, call)| call.trim_start()).unwrap_or_default();
        // Not the second half of a call that was cut in two, nor a signal, nor the end.
        let (name, _) = call.split_once('(').filter(|_| !call.starts_with(['<', '+', '-']))?;
        Some(plain(name).to_owned())
    };
    let own = log.lines().filter(|line| id(line).as_ref() == Some(&child));
    let mut calls: Vec<String> = own.filter_map(name).collect();
    let end = calls.iter().position(|call| call == last).expect("the last call");
    calls.truncate(end + 1);
    calls.dedup();
    calls
}

/// Runs this test's body under `strace`; returns what it wrote, or nothing if there is none.
fn traced(path: &str, options: &[&str]) -> Option<String> {
    if !support::has_program("strace", "the calls between clone and exec") {
        return None;
    }
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let to = log.path().to_str().expect("a plain name");
    let prefix = [&["strace", "-f", "-qq", "-o", to], options].concat();
    let ran = support::rerun(path, &prefix);
    assert!(ran.status.success(), "{}", ran.output);
    Some(std::fs::read_to_string(log.path()).expect("strace wrote it"))
}

/// The path of the test with this name in this file.
fn path_of(name: &str) -> String {
    format!("{}::{name}", module_path!())
}

/// Runs the body under `strace`, and judges what it wrote.
fn seen_by_strace(name: &str, options: &[&str], body: fn(), judge: impl FnOnce(&str)) {
    let path = path_of(name);
    if support::is_alone(&path) {
        return support::checked(body);
    }
    if let Some(log) = traced(&path, options) {
        judge(&log);
    }
}

#[test]
fn a_child_makes_the_listed_calls_in_their_order() {
    let body = || {
        let ends = open::pipe().expect("a pipe");
        waited_for(spawn(&program("/bin/true"), &everything(&ends, Group::NewSession)).unwrap());
    };
    seen_by_strace("a_child_makes_the_listed_calls_in_their_order", &[], body, |log| {
        let calls = calls_up_to("execve", log, "/bin/true");
        let left_out = |call: &&str| {
            ["setpgid", "exit_group"].contains(call) || (!is_root() && OF_ROOT.contains(call))
        };
        let mut expected: Vec<&str> = LISTED.into_iter().filter(|call| !left_out(call)).collect();
        if !is_root() {
            let of_a_new_user = expected.iter().position(|call| *call == "prctl");
            expected.remove(of_a_new_user.expect("it is listed"));
        }
        // What it does instead of `close_range` is no longer in this order, and seen by another test.
        let is_instead = |call: &str| !LISTED.contains(&call) && listed(log).contains(&call);
        let mut calls: Vec<String> = calls.into_iter().filter(|call| !is_instead(call)).collect();
        calls.dedup();
        assert_eq!(calls, expected);
    });
}

#[test]
fn a_child_in_a_process_group_makes_the_listed_calls() {
    let body = || {
        let ends = open::pipe().expect("a pipe");
        waited_for(spawn(&program("/bin/true"), &everything(&ends, Group::Of(0))).unwrap());
    };
    seen_by_strace("a_child_in_a_process_group_makes_the_listed_calls", &[], body, |log| {
        let calls = calls_up_to("execve", log, "/bin/true");
        assert!(calls.iter().any(|call| call == "setpgid"), "{calls:?}");
        let stranger = calls.iter().find(|call| !listed(log).contains(&call.as_str()));
        assert_eq!(stranger, None, "{calls:?}");
    });
}

#[test]
fn a_child_that_fails_makes_the_listed_calls_and_exits() {
    let body = || {
        let path = nonsense();
        let image = program(path.to_str().expect("a plain name"));
        let ends = open::pipe().expect("a pipe");
        let mut setup = everything(&ends, Group::NewSession);
        // Another user may not look into the directory of a temporary file everywhere.
        setup.identity = Identity::default();
        let error = spawn(&image, &setup).map(drop).expect_err("it is no program");
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Exec, Some(libc::ENOEXEC)));
    };
    seen_by_strace("a_child_that_fails_makes_the_listed_calls_and_exits", &[], body, |log| {
        let calls = calls_up_to("exit_group", log, "ENOEXEC");
        assert!(calls.iter().any(|call| call == "execve"), "{calls:?}");
        let stranger = calls.iter().find(|call| !listed(log).contains(&call.as_str()));
        assert_eq!(stranger, None, "{calls:?}");
    });
}

#[test]
fn a_child_without_close_range_makes_the_listed_calls() {
    let body = || {
        let ends = open::pipe().expect("a pipe");
        waited_for(spawn(&program("/bin/true"), &everything(&ends, Group::NewSession)).unwrap());
    };
    let inject = ["-e", "inject=close_range:error=ENOSYS"];
    seen_by_strace("a_child_without_close_range_makes_the_listed_calls", &inject, body, |log| {
        assert!(log.contains("(INJECTED)"), "the control: nothing was injected");
        let calls = calls_up_to("execve", log, "/bin/true");
        assert!(calls.iter().any(|call| call == "getdents64"), "{calls:?}");
        let stranger = calls.iter().find(|call| !listed(log).contains(&call.as_str()));
        assert_eq!(stranger, None, "{calls:?}");
    });
}

/// The control: what a closure does after a fork is seen.
#[test]
fn a_child_that_allocates_makes_calls_that_are_not_listed() {
    let body = || {
        let (path, args) = (c"/bin/true", [c"x".as_ptr(), std::ptr::null()]);
        // SAFETY: this process runs one test; its other threads hold no lock that the child wants.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            std::hint::black_box(vec![1_u8; 1 << 20]);
            // SAFETY: the path and the null-terminated array outlive the call.
            unsafe { libc::execve(path.as_ptr(), args.as_ptr(), std::ptr::null()) };
            streampipe_sys::fork::exit_now(127);
        }
        let pidfd = process::open(pid).expect("a child not waited for");
        assert!(process::wait(pidfd.as_fd()).expect("our child").success());
    };
    seen_by_strace("a_child_that_allocates_makes_calls_that_are_not_listed", &[], body, |log| {
        let calls = calls_up_to("execve", log, "/bin/true");
        assert!(calls.iter().any(|call| call == "mmap" || call == "brk"), "{calls:?}");
    });
}

/// Takes and releases the locks that a careless child would wait for.
fn hammer(stop: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(8);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    while !stop.load(Relaxed) {
        for _ in 0..50 {
            kept.push(Vec::with_capacity(random.usize(1..5000)));
            if kept.len() > 20 {
                kept.swap_remove(random.usize(..20));
            }
        }
        std::hint::black_box(std::env::var("PATH").ok());
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(b"");
        let _ = stdout.flush();
        drop(stdout);
        std::thread::yield_now();
    }
}

/// Runs the body while eight threads hammer.
fn hammered(body: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| hammer(&stop));
        }
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        stop.store(true, Relaxed);
        if let Err(reason) = ran {
            std::panic::resume_unwind(reason);
        }
    });
}

/// On the borrowed memory of the parent, as `spawn` does it, but with an allocation.
extern "C" fn careless(_nothing: *mut libc::c_void) -> libc::c_int {
    drop(std::hint::black_box(Box::new(4711)));
    // SAFETY: `_exit` has no preconditions; it runs none of the parent's destructors.
    unsafe { libc::_exit(0) }
}

tests_alone! {
    fn children_allocate_nothing_while_threads_hammer_the_allocator() {
        let path = nonsense();
        let images = [program("/bin/true"), program(path.to_str().expect("a plain name"))];
        let ends = open::pipe().expect("a pipe");
        let setup = everything(&ends, Group::NewSession);
        let as_this_user = Setup { identity: Identity::default(), ..everything(&ends, Group::Of(0)) };
        let by_others = allocations_by_others(|| {
            hammered(|| {
                for turn in 0..1000 {
                    waited_for(spawn(&images[0], &setup).expect("it starts"));
                    let error = spawn(&images[1], &as_this_user).map(drop).expect_err("no program");
                    assert_eq!(error.step, Step::Exec, "in turn {turn}");
                }
            });
        });
        assert_eq!(by_others, 0);
    }

    /// The control.
    fn a_careless_child_is_noticed() {
        let by_others = allocations_by_others(|| {
            let mut stack = vec![0_u128; 4096];
            let top = stack.as_mut_ptr_range().end.cast();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            // SAFETY: the child has a stack of its own, and this thread stands still until it ends.
            let pid = unsafe { libc::clone(careless, top, flags, std::ptr::null_mut()) };
            let pidfd = process::open(pid).expect("a child not waited for");
            assert!(process::wait(pidfd.as_fd()).expect("our child").success());
        });
        assert_eq!(by_others, 2, "one allocation, and its end");
    }
}
