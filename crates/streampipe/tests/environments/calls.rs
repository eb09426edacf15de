//! The calls that a filter, a kernel or a C library may refuse, and what happens without each: the table of PLATFORM.md.

use std::collections::BTreeSet;
use std::path::Path;

use crate::confine::{Match, Rule};
use crate::worlds::Fails;

pub(crate) const EPERM: &str = "(os error 1)";
pub(crate) const ENOSYS: &str = "(os error 38)";

/// A call, and which steps fail without it.
pub(crate) struct Call {
    /// As the table has it.
    pub(crate) name: &'static str,
    /// Only with this argument.
    only: Option<(u32, Match)>,
    fails: &'static [Without],
}

/// What becomes of a step without the call.
#[derive(Clone, Copy)]
enum Without {
    /// It fails with the refusal.
    Refused(&'static str),
    /// It fails where the call does not exist (`ENOSYS`); a refusal is passed over.
    Unknown(&'static str),
    /// It fails with something else.
    Spoiled(&'static str),
}

use Without::{Refused, Spoiled, Unknown};

const fn call(name: &'static str) -> Call {
    Call { name, only: None, fails: &[] }
}

impl Call {
    const fn only(self, place: u32, compare: Match) -> Self {
        Self { only: Some((place, compare)), ..self }
    }

    const fn without(self, fails: &'static [Without]) -> Self {
        Self { fails, ..self }
    }

    /// The filter that refuses it.
    pub(crate) fn rules(&self, errno: i32) -> [Rule; 1] {
        [Rule { call: self.name, only: self.only, errno }]
    }

    /// The steps that fail if it is refused with this number.
    pub(crate) fn fails(&self, errno: i32) -> impl Iterator<Item = Fails> {
        let refusal = if errno == libc::EPERM { EPERM } else { ENOSYS };
        self.fails.iter().filter_map(move |without| match *without {
            Unknown(_) if errno != libc::ENOSYS => None,
            Refused(step) | Unknown(step) => Some(Fails { step, said: refusal, always: true }),
            Spoiled(step) => Some(Fails { step, said: "", always: true }),
        })
    }
}

/// `waitid` of a pidfd.
const P_PIDFD: u32 = 3;

const JOINS: &[Without] = &[Refused("join"), Refused("tokio"), Refused("the command")];

const RINGS: &[Without] = &[Refused("ring pair"), Refused("ring child")];

const USERS: &[Without] = &[Unknown("the same user"), Unknown("another user")];

pub(crate) const CALLS: &[Call] = &[
    call("clone3"),
    call("close_range"),
    call("epoll_create1").without(JOINS),
    call("epoll_ctl").without(JOINS),
    call("epoll_pwait2"),
    call("eventfd2").without(&[Refused("tokio")]),
    call("faccessat2"),
    call("fstatfs").without(&[Spoiled("ring child")]),
    call("getdents64"),
    call("getsockopt").without(&[
        Refused("kinds"),
        Refused("zygote"),
        Spoiled("inherited"),
        Spoiled("channel"),
        Spoiled("ring child"),
    ]),
    call("ioctl"),
    call("kcmp"),
    call("madvise").without(RINGS),
    call("memfd_create").without(RINGS),
    call("pidfd_open").without(&[Refused("fork"), Refused("zygote")]),
    call("pidfd_send_signal"),
    call("ppoll"),
    call("prctl").without(&[Refused("join"), Refused("the command")]),
    call("preadv2"),
    call("prlimit64"),
    call("pwritev2"),
    call("sched_getaffinity"),
    call("setgroups").without(USERS),
    call("setsockopt"),
    call("signalfd4").without(&[Refused("the command")]),
    call("statx"),
    call("unshare"),
    call("waitid").only(0, Match::Equals(P_PIDFD)),
];

/// Calls that a filter does not refuse to a program that may do anything: PLATFORM.md lists them, too.
const ALWAYS: &[&str] = &[
    "capget",
    "chdir",
    "clone",
    "close",
    "dup2",
    "dup3",
    "epoll_pwait",
    "epoll_wait",
    "execve",
    "exit_group",
    "faccessat",
    "fcntl",
    "fstat",
    "ftruncate",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpeername",
    "getpgid",
    "getpid",
    "getppid",
    "getsockname",
    "gettid",
    "getuid",
    "kill",
    "lseek",
    "mmap",
    "mprotect",
    "munmap",
    "open",
    "openat",
    "pipe2",
    "poll",
    "read",
    "readlink",
    "readlinkat",
    "recvfrom",
    "recvmsg",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigtimedwait",
    "sched_yield",
    "sendmsg",
    "sendto",
    "setpgid",
    "setresgid",
    "setresuid",
    "setsid",
    "shutdown",
    "socketpair",
    "write",
    "writev",
];

/// What the loader, the C library and std do besides, on the processors that there are.
const OTHERS: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "exit",
    "fadvise64",
    "getrandom",
    "mremap",
    "newfstatat",
    "pread64",
    "restart_syscall",
    "rseq",
    "rt_sigreturn",
    "sched_getscheduler",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "uname",
    "vfork",
    "wait4",
];

/// The section with the table.
const SECTION: &str = "### System calls that may be refused";

/// The document and the lists above name the same calls.
pub(crate) fn compare_with_the_document() -> Result<(), String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../PLATFORM.md");
    let document = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let (_, section) = document.split_once(SECTION).ok_or("the section is not there")?;
    let section = section.split("\n##").next().unwrap_or_default();
    let (table, behind) = section.rsplit_once("|\n").ok_or("the table is not there")?;
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<&str> = rows.flat_map(|row| call_names(row.split('|').nth(1))).collect();
    let tested: BTreeSet<&str> = CALLS.iter().map(|call| call.name).collect();
    let listed = behind.split_once("Descriptors:").map(|(_, list)| list);
    let listed = listed.and_then(|list| list.split("\n\n").next());
    let always: BTreeSet<&str> = call_names(listed).collect();
    let assumed: BTreeSet<&str> = ALWAYS.iter().copied().collect();
    let differences = [
        ("is tested, and has no row", tested.difference(&named).collect::<Vec<_>>()),
        ("has a row, and is not tested", named.difference(&tested).collect()),
        ("is in one list only", always.symmetric_difference(&assumed).collect()),
    ];
    let wrong = differences.into_iter().filter(|(_, calls)| !calls.is_empty());
    let wrong: Vec<String> = wrong.map(|(what, calls)| format!("{what}: {calls:?}")).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What stands in backticks and is the name of a call: small letters, digits, `_`.
fn call_names(text: Option<&str>) -> impl Iterator<Item = &str> {
    let quoted = text.unwrap_or_default().split('`').skip(1).step_by(2);
    let is_name =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    quoted.filter(move |word| word.chars().all(is_name))
}

/// The calls that the program makes, by strace's account, and that no list has.
pub(crate) fn strangers(log: &str, program: &Path) -> Vec<String> {
    let program = program.to_string_lossy();
    let mut elsewhere: BTreeSet<&str> = BTreeSet::new();
    let mut made: BTreeSet<&str> = BTreeSet::new();
    for line in log.lines() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        // Not the second half of a call that was cut in two, nor a signal, nor the end.
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        if name.starts_with(['<', '+', '-']) {
            continue;
        }
        if name == "execve" {
            // One that fails is followed by others, or by the end.
            if rest.contains(&*program) {
                elsewhere.remove(process)
            } else {
                elsewhere.insert(process)
            };
        } else if !elsewhere.contains(process) {
            made.insert(name);
        }
    }
    let refusable = CALLS.iter().map(|call| call.name);
    let known: BTreeSet<&str> =
        refusable.chain(ALWAYS.iter().copied()).chain(OTHERS.iter().copied()).collect();
    let strangers = made.iter().filter(|call| !known.contains(plain(call)));
    let mut wrong: Vec<String> =
        strangers.map(|call| format!("{call} is made, and is in no list of calls.rs")).collect();
    // The control: the calls of children, and between the clone and their programs, are seen.
    for seen in ["socketpair", "close_range", "memfd_create"] {
        if !made.contains(seen) {
            wrong.push(format!("{seen} was not seen"));
        }
    }
    wrong
}

/// The name of a call without what 32-bit processors add to it.
fn plain(call: &str) -> &str {
    match call {
        "fcntl64" => "fcntl",
        "_newselect" | "pselect6_time64" => "pselect6",
        "mmap2" => "mmap",
        "fstat64" | "fstatat64" | "stat64" | "lstat64" => "fstat",
        "ftruncate64" => "ftruncate",
        "fstatfs64" => "fstatfs",
        "_llseek" => "lseek",
        "ugetrlimit" => "prlimit64",
        "ppoll_time64" => "ppoll",
        "futex_time64" => "futex",
        "rt_sigtimedwait_time64" => "rt_sigtimedwait",
        "clock_gettime64" => "clock_gettime",
        _ => call.strip_suffix("32").unwrap_or(call),
    }
}
