//! What runs between the clone and `exec`, on borrowed memory.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_char, c_int, c_void};
use rustix::fs::{Access, FileType, Mode, OFlags, RawDir, Timespec};
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid, setpgid, setrlimit, setsid};
use rustix::thread::{
    capabilities, clear_ambient_capability_set, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::clone::{Report, Verdict};
use super::moves::Moves;
use super::own_id::OwnId;
use super::{Group, Identity, Image, Lookup, Setup, Step, SupplementaryGroups};
use crate::signal::SignalSet;
use crate::table::limits;

/// The lowest number that is closed with the others: standard input, output and error stay.
const FIRST_OTHER: u32 = 3;

/// All that the child looks at, and what it writes: `moves`, `own_id` and `failed`.
pub(super) struct Orders<'plan> {
    pub(super) image: &'plan Image,
    pub(super) args: *const *const c_char,
    pub(super) environment: *const *const c_char,
    pub(super) setup: &'plan Setup<'plan>,
    /// For each limit of the setup, whether it comes after the change of identity.
    pub(super) late_limits: &'plan [bool],
    pub(super) moves: &'plan mut Moves,
    pub(super) own_id: Option<&'plan mut OwnId>,
    pub(super) mask: SignalSet,
    pub(super) parent: Pid,
    /// Whether the clone has reset signal handlers already.
    pub(super) handlers_are_clear: bool,
    /// Whether the child came as far as `exec`.
    pub(super) tries_exec: bool,
    pub(super) failed: Option<(Step, c_int)>,
    /// Where the child says what became of it, if it has only a copy of this.
    pub(super) report: Option<Report>,
}

impl Orders<'_> {
    /// What became of the child that had these on this process's memory.
    pub(super) fn verdict(&self) -> Verdict {
        match self.failed {
            Some((step, errno)) => Verdict::Failed(step, errno),
            None if self.tries_exec => Verdict::Executed,
            None => Verdict::Killed,
        }
    }
}

/// The child. Calls, in this order: `sigaction`, `setsid` or `setpgid`, `close_range` (where there
/// is none, `open`, `getdents64`, `fcntl` and `close` on `/proc/self/fd`; without that `prlimit`), `fcntl`, `dup2`,
/// `prlimit`, `setgroups`, `setresgid`, `setresuid`, `prctl`, `prlimit` again, `chdir`, `prctl`, `getppid`,
/// `getpid`, `sigprocmask`, `execve`, `_exit`; after an `execve` that failed also `nanosleep`, `stat` and
/// `access`; with a copy of the memory also `write`. Each is a bare system call or async-signal-safe.
pub(super) extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: `clone_child` passed a pointer to its `Orders`; the parent stands still meanwhile.
    let orders = unsafe { &mut *orders.cast::<Orders<'_>>() };
    let (step, errno) = become_program(orders);
    orders.failed = Some((step, errno));
    if let Some(report) = orders.report {
        report.failed(step, errno);
    }
    // SAFETY: `_exit` has no preconditions; it runs none of the parent's destructors.
    unsafe { libc::_exit(127) }
}

/// Returns only if something failed.
fn become_program(orders: &mut Orders<'_>) -> (Step, c_int) {
    match prepare(orders) {
        Ok(()) => {
            orders.tries_exec = true;
            if let Some(report) = orders.report {
                report.tries_exec();
            }
            exec_first(orders)
        }
        Err(failed) => failed,
    }
}

/// The order matters: descriptors before the limit on them, limits before the rights to raise them
/// are gone, the death signal after the change of identity, which clears it (`prctl(2)`).
fn prepare(orders: &mut Orders<'_>) -> Result<(), (Step, c_int)> {
    let setup = orders.setup;
    if !orders.handlers_are_clear {
        reset_handlers();
    }
    // Rust's runtime ignores it, and an ignored signal stays ignored across `exec` (C6).
    set_default(libc::SIGPIPE);
    enter_group(setup.group).map_err(at(Step::Group))?;
    if setup.closes_others {
        close_others_on_exec();
    }
    let moved = orders.moves.make_room(orders.report.map(Report::number));
    if let Some(number) = moved.map_err(|errno| (Step::Descriptor, errno))? {
        orders.report = Some(Report::at(number));
    }
    orders.moves.carry_out().map_err(|errno| (Step::Descriptor, errno))?;
    set_limits(orders, When::BeforeIdentity).map_err(at(Step::Limit))?;
    take_identity(&setup.identity).map_err(at(Step::Identity))?;
    set_limits(orders, When::AfterIdentity).map_err(at(Step::Limit))?;
    if let Some(directory) = &orders.image.directory {
        rustix::process::chdir(directory.as_c_str()).map_err(at(Step::Directory))?;
    }
    if setup.no_new_privileges {
        set_no_new_privs(true).map_err(at(Step::Privileges))?;
    }
    if let Some(signal) = setup.death_signal {
        arm_death_signal(signal, orders.parent).map_err(|errno| (Step::DeathSignal, errno))?;
    }
    if let Some(own_id) = &mut orders.own_id {
        own_id.fill_in(rustix::process::getpid().as_raw_nonzero().get());
    }
    orders.mask.set();
    Ok(())
}

/// Names the step of a failed call.
fn at(step: Step) -> impl FnOnce(rustix::io::Errno) -> (Step, c_int) {
    move |errno| (step, errno.raw_os_error())
}

/// Room for the kernel's `struct sigaction` of any architecture; all zeros is the default action
/// without flags, whatever the order of the fields.
type KernelAction = [usize; 20];

/// The field of the handler: the first, but on MIPS the second word.
const HANDLER: usize = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 1 } else { 0 };

/// The size of a set of signals in the kernel, in bytes.
const KERNEL_SET: usize =
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 16 } else { 8 };

/// Gives every signal with a handler its default action.
///
/// By bare system calls: the C library's function takes a lock for `SIGABRT`, and that lock would be
/// the parent's.
fn reset_handlers() {
    for signal in 1..=64 {
        let mut action: KernelAction = [0; 20];
        let nothing = ptr::null::<KernelAction>();
        // SAFETY: no new action is given; the present one is written to `action`, which has room.
        let read = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, nothing, &raw mut action, KERNEL_SET)
        };
        let handler = action[HANDLER];
        if read == 0 && handler != libc::SIG_DFL && handler != libc::SIG_IGN {
            set_default(signal);
        }
    }
}

fn set_default(signal: c_int) {
    let action: KernelAction = [0; 20];
    let nothing = ptr::null_mut::<KernelAction>();
    // SAFETY: the default action runs no code; the child's table is its own copy.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, nothing, KERNEL_SET)
    };
}

fn enter_group(group: Group) -> rustix::io::Result<()> {
    match group {
        Group::Inherited => Ok(()),
        Group::Of(number @ 0..) => setpgid(None, Pid::from_raw(number)),
        Group::Of(_) => Err(rustix::io::Errno::INVAL),
        Group::NewSession => setsid().map(drop),
    }
}

/// Marks every descriptor from 3 on as close-on-exec, those of other libraries included (D9).
fn close_others_on_exec() {
    // SAFETY: the call takes three numbers and touches no memory; the table is the child's own.
    let closed = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST_OTHER, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    // Linux before 5.11, or a filter that knows no such call; and no `/proc`, or not the real one.
    if closed != 0 && !matches!(close_listed_on_exec(), Ok(IsComplete::Yes)) {
        close_numbers_on_exec();
    }
}

/// Whether a list of descriptors is known to have all of them.
enum IsComplete {
    Yes,
    No,
}

/// The same by the list in `/proc`, which has the descriptor that it is read from, if it is this process's.
fn close_listed_on_exec() -> rustix::io::Result<IsComplete> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
    let mut is_complete = IsComplete::No;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&list, &mut buffer);
    while let Some(entry) = entries.next() {
        if let Some(number) = number_of(entry?.file_name()) {
            if number == list.as_raw_fd() {
                is_complete = IsComplete::Yes;
            }
            close_on_exec(number);
        }
    }
    Ok(is_complete)
}

/// The numbers that are tried where nothing lists the open ones: up to the hard limit of open files, but at least
/// the first and at most the second of these.
///
/// A descriptor can stand above the limit if that was lowered after it was opened. The second is the highest that
/// Linux allows the limit to be, unless the administrator raises it (`fs.nr_open`).
const TRIED_NUMBERS: [u64; 2] = [1 << 16, 1 << 20];

/// The same by trying all numbers: some 50 ns each.
fn close_numbers_on_exec() {
    let [at_least, at_most] = TRIED_NUMBERS;
    let limit = limits(Resource::Nofile).map_or(at_most, |it| it.hard);
    for number in 0..limit.max(at_least).min(at_most) as c_int {
        close_on_exec(number);
    }
}

/// Marks one descriptor as close-on-exec, if it is open and none of the standard ones.
fn close_on_exec(number: c_int) {
    if number >= FIRST_OTHER as c_int {
        // SAFETY: a number and a flag; one that is not open is `EBADF`, ignored.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// The number that a file name spells, without the standard library's parser, which may panic.
fn number_of(name: &CStr) -> Option<c_int> {
    name.to_bytes().iter().try_fold(0_i32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(c_int::from(digit))
    })
}

/// When a limit is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeIdentity,
    AfterIdentity,
}

fn set_limits(orders: &Orders<'_>, when: When) -> rustix::io::Result<()> {
    for (limit, &is_late) in orders.setup.limits.iter().zip(orders.late_limits) {
        if is_late == (when == When::AfterIdentity) {
            setrlimit(limit.resource, Rlimit { current: limit.soft, maximum: limit.hard })?;
        }
    }
    Ok(())
}

fn take_identity(identity: &Identity) -> rustix::io::Result<()> {
    match &identity.groups {
        SupplementaryGroups::Keep => {}
        SupplementaryGroups::ClearIfPermitted => match set_thread_groups(&[]) {
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(errno) => return Err(errno),
        },
        SupplementaryGroups::Set(groups) => set_thread_groups(groups)?,
    }
    if let Some(gid) = identity.gid.map(Gid::from_raw) {
        set_thread_res_gid(gid, gid, gid)?;
    }
    if let Some(uid) = identity.uid.map(Uid::from_raw) {
        set_thread_res_uid(uid, uid, uid)?;
        if !uid.is_root() {
            clear_ambient_capabilities()?;
        }
    }
    Ok(())
}

/// The program would have them (`capabilities(7)`), and with some of them it could take any identity again.
fn clear_ambient_capabilities() -> rustix::io::Result<()> {
    match clear_ambient_capability_set() {
        Ok(()) => Ok(()),
        // A filter refuses `prctl`. What is ambient is permitted, too, and root has nothing permitted any more.
        Err(errno) => match capabilities(None) {
            Ok(sets) if sets.permitted.is_empty() => Ok(()),
            Ok(_) | Err(_) => Err(errno),
        },
    }
}

fn arm_death_signal(signal: c_int, parent: Pid) -> Result<(), c_int> {
    // SAFETY: this option takes a number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    match rustix::process::getppid() {
        // A parent outside of the child's pid namespace, of whom no more can be known.
        None => Ok(()),
        Some(now) if now == parent => Ok(()),
        // The parent died before the signal was armed: nobody is left to be told.
        Some(_) => Err(libc::ESRCH),
    }
}

/// How long to wait before a file that is open for writing is tried again, in milliseconds.
///
/// Another thread of this process may just be starting a program, whose child has a copy of the descriptor until
/// it executes that: a millisecond or so. Whoever really writes is told of after all of these.
const BUSY_PAUSES: [i32; 5] = [1, 2, 4, 8, 16];

/// Tries each path, as `execvp` does: on to the next if it is not there, the worst error kept.
fn exec_first(orders: &Orders<'_>) -> (Step, c_int) {
    let lookup = orders.image.lookup;
    let mut verdict = libc::ENOENT;
    for path in &orders.image.paths {
        match exec(path, orders) {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => verdict = libc::EACCES,
            // Of the path, or of what the file is executed with.
            errno @ (libc::ELOOP | libc::ENAMETOOLONG) if lookup == Lookup::ByChild => {
                verdict = errno;
            }
            errno => return (Step::Exec, errno),
        }
    }
    match lookup {
        Lookup::ByParent => (Step::Exec, verdict),
        Lookup::ByChild => reason(orders.image, verdict),
    }
}

/// Executes this file; returns why it could not.
fn exec(path: &CStr, orders: &Orders<'_>) -> c_int {
    let mut pauses = BUSY_PAUSES.iter();
    loop {
        // SAFETY: `args` and `environment` are null-terminated arrays of C strings that, like
        // `path`, outlive the call.
        unsafe { libc::execve(path.as_ptr(), orders.args, orders.environment) };
        match (errno(), pauses.next()) {
            (libc::ETXTBSY, Some(&pause)) => {
                let pause = Timespec { tv_sec: 0, tv_nsec: (pause * 1_000_000).into() };
                // Cut short, it is tried a little early.
                let _ = rustix::thread::nanosleep(&pause);
            }
            (errno, _) => return errno,
        }
    }
}

/// What a file that is not there, or not to be had, was: the program itself, or what it is executed with.
///
/// Asked by the child, whose identity decides; as `Image::new` asks where the parent's does.
fn reason(image: &Image, verdict: c_int) -> (Step, c_int) {
    let mut reason = (Step::Find, libc::ENOENT);
    for path in &image.paths {
        match rustix::fs::stat(path.as_c_str()) {
            Ok(facts) => {
                let is_file = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
                if is_file && rustix::fs::access(path.as_c_str(), Access::EXEC_OK).is_ok() {
                    return (Step::Exec, verdict);
                }
                reason = (Step::Permission, libc::EACCES);
            }
            Err(errno) if !image.is_searched || errno == rustix::io::Errno::NAMETOOLONG => {
                reason = (Step::Find, errno.raw_os_error());
            }
            Err(_) => {}
        }
    }
    reason
}

/// Reads the thread's `errno`; allocates nothing.
pub(super) fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(super) fn check(result: c_int) -> Result<c_int, c_int> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}
