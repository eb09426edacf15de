//! Takes from a process what it is used to having: system calls, descriptors, rest from signals. For tests of other crates,
//! too, which have no `unsafe`.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::FromRawFd;

/// A system call that a filter answers itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The call's name, as the kernel has it.
    pub(crate) call: &'static str,
    /// Only where the argument at this place matches; always, if there is none.
    pub(crate) only: Option<(u32, Match)>,
    /// The error number that the caller gets.
    pub(crate) errno: i32,
}

/// How the lower 32 bits of an argument are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Match {
    Equals(u32),
    HasAnyBitOf(u32),
}

/// Lets a filter answer these calls, in this process and all that it starts.
pub(crate) fn filter(rules: &[Rule]) -> io::Result<()> {
    let mut program = vec![
        load(offset_of!(libc::seccomp_data, arch)),
        jump(libc::BPF_JEQ, AUDIT_ARCH, 1, 0),
        ret(libc::SECCOMP_RET_ALLOW),
    ];
    for rule in rules {
        for &number in numbers(rule.call) {
            program.extend(checks(number, rule));
        }
    }
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    install(&mut program)
}

/// The instructions for one call; what does not match goes on behind them.
fn checks(number: u32, rule: &Rule) -> Vec<libc::sock_filter> {
    let answer = ret(libc::SECCOMP_RET_ERRNO | rule.errno.unsigned_abs());
    let mut checks = vec![load(offset_of!(libc::seccomp_data, nr))];
    match rule.only {
        None => checks.push(jump(libc::BPF_JEQ, number, 0, 1)),
        Some((place, compare)) => {
            let (kind, value) = match compare {
                Match::Equals(value) => (libc::BPF_JEQ, value),
                Match::HasAnyBitOf(bits) => (libc::BPF_JSET, bits),
            };
            let low = if cfg!(target_endian = "big") { 4 } else { 0 };
            let at = offset_of!(libc::seccomp_data, args) + 8 * place as usize + low;
            checks.extend([jump(libc::BPF_JEQ, number, 0, 3), load(at), jump(kind, value, 0, 1)]);
        }
    }
    checks.push(answer);
    checks
}

fn load(offset: usize) -> libc::sock_filter {
    let code = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    instruction(code, 0, 0, u32::try_from(offset).expect("a small offset"))
}

fn jump(compare: u32, value: u32, then: u8, otherwise: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | compare | libc::BPF_K, then, otherwise, value)
}

fn ret(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("a small code"), jt, jf, k }
}

fn install(program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("few instructions"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the call has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        // SAFETY: the call takes numbers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    }
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its instructions outlive the call, which copies them.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The processor as filters see it; other ones, of programs of 32 bits for example, are let through.
const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "x86") {
    0x4000_0003
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else if cfg!(target_arch = "arm") {
    0x4000_0028
} else if cfg!(target_arch = "s390x") {
    0x8000_0016
} else if cfg!(target_arch = "riscv64") {
    0xc000_00f3
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    0xc000_0015
} else {
    panic!("the number of this processor, from linux/audit.h");
};

macro_rules! calls {
    ($($name:literal: $($number:ident),+;)*) => {
        /// The numbers that a call has on this processor.
        fn numbers(call: &str) -> &'static [u32] {
            match call {
                $($name => const { &[$(libc::$number as u32),+] },)*
                // With times of 32 bits, and of 64: the same number on all such processors.
                "ppoll" if cfg!(target_pointer_width = "32") => const { &[libc::SYS_ppoll as u32, 414] },
                "ppoll" => const { &[libc::SYS_ppoll as u32] },
                _ => panic!("{call} is not in the list of calls in confine.rs"),
            }
        }
    };
}

calls! {
    "clone": SYS_clone;
    "clone3": SYS_clone3;
    "close_range": SYS_close_range;
    "epoll_create1": SYS_epoll_create1;
    "epoll_ctl": SYS_epoll_ctl;
    "epoll_pwait2": SYS_epoll_pwait2;
    "eventfd2": SYS_eventfd2;
    "faccessat": SYS_faccessat;
    "faccessat2": SYS_faccessat2;
    "fstatfs": SYS_fstatfs;
    "getdents64": SYS_getdents64;
    "getrandom": SYS_getrandom;
    "getsockopt": SYS_getsockopt;
    "io_uring_setup": SYS_io_uring_setup;
    "ioctl": SYS_ioctl;
    "kcmp": SYS_kcmp;
    "kill": SYS_kill;
    "madvise": SYS_madvise;
    "memfd_create": SYS_memfd_create;
    "openat2": SYS_openat2;
    "pidfd_getfd": SYS_pidfd_getfd;
    "pidfd_open": SYS_pidfd_open;
    "pidfd_send_signal": SYS_pidfd_send_signal;
    "pipe2": SYS_pipe2;
    "prctl": SYS_prctl;
    "preadv2": SYS_preadv2;
    "prlimit64": SYS_prlimit64;
    "process_madvise": SYS_process_madvise;
    "pwritev2": SYS_pwritev2;
    "sched_getaffinity": SYS_sched_getaffinity;
    "setgroups": SYS_setgroups;
    "setns": SYS_setns;
    "setsockopt": SYS_setsockopt;
    "signalfd4": SYS_signalfd4;
    "socketpair": SYS_socketpair;
    "statx": SYS_statx;
    "unshare": SYS_unshare;
    "userfaultfd": SYS_userfaultfd;
    "waitid": SYS_waitid;
}

/// Closes a descriptor by its number, whoever has it.
pub(crate) fn close(number: i32) {
    // SAFETY: a standard descriptor, which nothing in this process owns.
    unsafe { libc::close(number) };
}

/// Whether a descriptor has this number.
pub(crate) fn is_open(number: i32) -> bool {
    // SAFETY: asks about a number, whatever has it.
    (unsafe { libc::fcntl(number, libc::F_GETFD) }) != -1
}

/// Takes over a descriptor that was inherited, by its number; not to the next program.
pub(crate) fn take(number: i32) -> File {
    // SAFETY: the number was given to this process for this, and only once.
    let file = unsafe { File::from_raw_fd(number) };
    // SAFETY: the descriptor is owned; the call takes numbers only.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    file
}

/// The signals that this thread blocks, one a bit.
pub(crate) fn blocked_signals() -> Vec<i32> {
    // SAFETY: all zeros are an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set outlives the call; with no new one, the mask stays as it is.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set) };
    // SAFETY: the set is one that the call filled in.
    let has = |signal: &i32| unsafe { libc::sigismember(&raw const set, *signal) == 1 };
    (1..=64).filter(has).collect()
}

/// A child that is still there: whether one is, and whether it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    None,
    Running,
    Ended(i32),
}

/// Whether this process has children, without reaping any.
pub(crate) fn children() -> Children {
    // SAFETY: all zeros are a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is whole, and outlives the call, which writes there.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
        return Children::None;
    }
    // SAFETY: the call has filled it in, or left zeros.
    match unsafe { info.si_pid() } {
        0 => Children::Running,
        pid => Children::Ended(pid),
    }
}

/// From now on, a signal interrupts this process each millisecond, and no call is restarted.
pub(crate) fn interrupt_each_millisecond() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the action is whole and outlives the call, and a handler that does nothing may run anywhere.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction");
    let millisecond = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: millisecond, it_value: millisecond };
    let none = std::ptr::null_mut::<libc::itimerval>();
    // SAFETY: the timer outlives the call, which copies it.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, none) };
    assert_eq!(set, 0, "setitimer: {}", io::Error::last_os_error());
}

/// Where a debugger can stop this process.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn streampipe_probe_marker(number: i32) {
    std::hint::black_box(number);
}
