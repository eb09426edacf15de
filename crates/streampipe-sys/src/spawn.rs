//! Starting a program without copying the parent's page tables, and without `pre_exec`.
//!
//! `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`: the child borrows the parent's memory until it
//! calls `exec`, so the cost does not grow with the parent, and what went wrong comes back through
//! that memory: there is no error pipe whose number a target could collide with (kernel trap D5).
//!
//! Rules of this file:
//!
//! 1. Everything the child needs is built before the clone. Between the clone and `exec` nothing
//!    allocates, locks, or panics; only the system calls listed at `child` are made.
//! 2. All signals are blocked around the clone, and handlers are reset in the child before it lets
//!    signals in, so that no handler of the parent's ever runs on borrowed memory.
//! 3. Descriptors are placed in two phases, so that every permutation and cycle comes out right.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int, c_void};

use crate::fd::lift;
use crate::signal::SignalSet;

/// What to run, complete before the clone.
#[derive(Debug)]
pub struct Image {
    paths: Vec<CString>,
    args: Vec<CString>,
    environment: Vec<CString>,
    directory: Option<CString>,
}

impl Image {
    /// Describes a program: its name as typed, its arguments (the name first), and `KEY=VALUE`s.
    ///
    /// A name without a slash is looked for in `search`, a list as in `PATH`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string with a NUL in it; `ENOENT` if no such file exists; `EACCES`, or
    /// what else the kernel says of its path, if one exists that cannot be executed.
    pub fn new(
        program: &OsStr,
        args: impl Iterator<Item = impl AsRef<OsStr>>,
        environment: impl Iterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        directory: Option<&Path>,
        search: &OsStr,
    ) -> io::Result<Self> {
        let pairs = environment.map(|(key, value)| {
            let mut pair = key.as_ref().to_os_string();
            pair.push("=");
            pair.push(value.as_ref());
            string(&pair)
        });
        Ok(Self {
            paths: candidates(program, search, directory)?,
            args: args.map(|arg| string(arg.as_ref())).collect::<io::Result<_>>()?,
            environment: pairs.collect::<io::Result<_>>()?,
            directory: directory.map(|at| string(at.as_os_str())).transpose()?,
        })
    }
}

/// One descriptor of the parent's and the number it gets in the child.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'fd> {
    /// Whose copy the child gets.
    pub source: BorrowedFd<'fd>,
    /// Its number in the child; what else stood there is closed in the child.
    pub target: i32,
}

/// What the child does before it becomes the program.
#[derive(Debug, Default)]
pub struct Setup<'fd> {
    /// Descriptors to place. No two may have the same target.
    pub placements: Vec<Placement<'fd>>,
    /// The signal mask of the new program; the calling thread's if `None`.
    pub mask: Option<SignalSet>,
    /// The signal the child gets when the thread that spawned it ends.
    pub death_signal: Option<i32>,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    /// Making the process.
    Clone = 1,
    /// Asking for a signal at the parent's death.
    DeathSignal = 2,
    /// Changing the directory.
    Directory = 3,
    /// Placing a descriptor.
    Descriptor = 4,
    /// Executing the program.
    Exec = 5,
}

/// Why there is no child.
#[derive(Debug)]
pub struct SpawnError {
    /// Where it went wrong.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}

/// A child that has become the program.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id.
    pub pid: i32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

/// Starts the program.
///
/// `Ok` means that `exec` succeeded. After an error there is no child, no zombie and no new
/// descriptor.
///
/// # Errors
///
/// A [`SpawnError`] that names the step and holds the kernel's error number.
pub fn spawn(image: &Image, setup: &Setup<'_>) -> Result<Spawned, SpawnError> {
    let args = pointers(&image.args);
    let environment = pointers(&image.environment);
    let mut moves = Moves::plan(&setup.placements)
        .map_err(|source| SpawnError { step: Step::Descriptor, source })?;
    let stack = Stack::new().map_err(|source| SpawnError { step: Step::Clone, source })?;

    let before = SignalSet::all().set();
    let mut orders = Orders {
        paths: &image.paths,
        args: args.as_ptr(),
        environment: environment.as_ptr(),
        directory: image.directory.as_deref(),
        moves: &mut moves,
        mask: setup.mask.unwrap_or(before),
        death_signal: setup.death_signal,
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        failed: None,
    };
    let cloned = clone_child(&stack, &mut orders);
    before.set();

    let spawned = cloned.map_err(|source| SpawnError { step: Step::Clone, source })?;
    match orders.failed {
        None => Ok(spawned),
        Some((step, errno)) => {
            // The child has ended already, by `_exit`: this waits for nothing.
            let _ = crate::process::reap_by_id(spawned.pid);
            Err(SpawnError { step, source: io::Error::from_raw_os_error(errno) })
        }
    }
}

/// All that the child looks at, and the one field it writes.
struct Orders<'plan> {
    paths: &'plan [CString],
    args: *const *const c_char,
    environment: *const *const c_char,
    directory: Option<&'plan CStr>,
    moves: &'plan mut Moves,
    mask: SignalSet,
    death_signal: Option<i32>,
    parent: i32,
    failed: Option<(Step, c_int)>,
}

fn clone_child(stack: &Stack, orders: &mut Orders<'_>) -> io::Result<Spawned> {
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: `child` runs on `stack`, which is its own, and reads `orders`; both outlive it, for
    // with `CLONE_VFORK` this thread stands still until the child has called `exec` or `_exit`.
    // The kernel writes the pidfd through the pointer given as the parent's thread id.
    let pid = unsafe {
        libc::clone(child, stack.top(), flags, (&raw mut *orders).cast::<c_void>(), &raw mut pidfd)
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the clone succeeded with `CLONE_PIDFD`, so `pidfd` is open and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    match lift(pidfd) {
        Ok(pidfd) => Ok(Spawned { pid, pidfd }),
        Err(error) => {
            // Standard input was closed and the table is full: there is no child to speak of.
            // SAFETY: `pid` is our own child, not waited for yet, so it is this process and no other.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            let _ = crate::process::reap_by_id(pid);
            Err(error)
        }
    }
}

/// The child, on borrowed memory. Calls, in this order: `sigaction`, `prctl`, `getppid`, `chdir`,
/// `fcntl`, `dup2`, `sigprocmask`, `execve`, `_exit`. All are async-signal-safe.
extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: `clone_child` passed a pointer to its `Orders`; the parent stands still meanwhile.
    let orders = unsafe { &mut *orders.cast::<Orders<'_>>() };
    let (step, errno) = become_program(orders);
    orders.failed = Some((step, errno));
    // SAFETY: `_exit` has no preconditions; it runs none of the parent's destructors.
    unsafe { libc::_exit(127) }
}

/// Returns only if something failed.
fn become_program(orders: &mut Orders<'_>) -> (Step, c_int) {
    reset_signals();
    if let Some(signal) = orders.death_signal {
        // SAFETY: this option takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0 {
            return (Step::DeathSignal, errno());
        }
        // SAFETY: `getppid` takes nothing and touches no memory.
        let parent = unsafe { libc::getppid() };
        // 0 is a parent outside of the child's pid namespace, of whom no more can be known.
        if parent != orders.parent && parent != 0 {
            // The parent died before the signal was armed: nobody is left to be told.
            return (Step::DeathSignal, libc::ESRCH);
        }
    }
    if let Some(directory) = orders.directory {
        // SAFETY: a C string that outlives the call.
        if unsafe { libc::chdir(directory.as_ptr()) } != 0 {
            return (Step::Directory, errno());
        }
    }
    if let Err(errno) = orders.moves.carry_out() {
        return (Step::Descriptor, errno);
    }
    orders.mask.set();
    (Step::Exec, exec_first(orders))
}

/// Gives every signal with a handler, and `SIGPIPE`, its default action.
///
/// Rust's runtime ignores `SIGPIPE`, and an ignored signal stays ignored across `exec` (C6).
fn reset_signals() {
    for signal in 1..=64 {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a null new action only reads; a number the C library keeps for itself fails.
        let read = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
        // SAFETY: all zeros is a valid `sigaction`, whether or not the call wrote to it.
        let action = unsafe { action.assume_init() };
        let handled = action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN;
        if read == 0 && (handled || signal == libc::SIGPIPE) {
            // SAFETY: the default action runs no code; the child's table is its own copy.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Tries each path, as `execvp` does: on to the next if it is not there, the worst error kept.
fn exec_first(orders: &Orders<'_>) -> c_int {
    let mut verdict = libc::ENOENT;
    for path in orders.paths {
        // SAFETY: `args` and `environment` are null-terminated arrays of C strings that, like
        // `path`, outlive the call.
        unsafe { libc::execve(path.as_ptr(), orders.args, orders.environment) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => verdict = libc::EACCES,
            errno => return errno,
        }
    }
    verdict
}

/// Reads the thread's `errno`; allocates nothing.
fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Which descriptors go where, in two phases.
#[derive(Debug)]
struct Moves {
    /// The present number of each source; phase one rewrites some of them.
    sources: Vec<c_int>,
    targets: Vec<c_int>,
    /// Whether a source stands where another descriptor must go.
    in_the_way: Vec<bool>,
    /// Above all targets.
    free_from: c_int,
}

impl Moves {
    fn plan(placements: &[Placement<'_>]) -> io::Result<Self> {
        let sources: Vec<c_int> = placements.iter().map(|p| p.source.as_raw_fd()).collect();
        let targets: Vec<c_int> = placements.iter().map(|p| p.target).collect();
        let twice = (1..targets.len()).any(|at| targets[..at].contains(&targets[at]));
        if twice || targets.iter().any(|&target| target < 0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let in_the_way = sources
            .iter()
            .zip(&targets)
            .map(|(source, target)| source != target && targets.contains(source))
            .collect();
        let free_from = targets.iter().max().map_or(0, |&target| target.saturating_add(1));
        Ok(Self { sources, targets, in_the_way, free_from })
    }

    /// In the child: system calls and array accesses within bounds, nothing else.
    fn carry_out(&mut self) -> Result<(), c_int> {
        for (source, in_the_way) in self.sources.iter_mut().zip(&self.in_the_way) {
            if *in_the_way {
                // SAFETY: the parent's `Placement` keeps the source open.
                *source =
                    check(unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, self.free_from) })?;
            }
        }
        for (&source, &target) in self.sources.iter().zip(&self.targets) {
            if source == target {
                // `dup2` would leave close-on-exec set (D3).
                // SAFETY: the source is open; the flag is the child's own.
                check(unsafe { libc::fcntl(source, libc::F_SETFD, 0) })?;
            } else {
                // SAFETY: the source is open, and no later source stands at `target`.
                check(unsafe { libc::dup2(source, target) })?;
            }
        }
        Ok(())
    }
}

fn check(result: c_int) -> Result<c_int, c_int> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// The child's stack: 64 KiB above a page that faults.
struct Stack {
    base: *mut c_void,
}

impl Stack {
    const GUARD: usize = 64 << 10;
    const SIZE: usize = Self::GUARD + (64 << 10);

    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let usable = stack.base.wrapping_byte_add(Self::GUARD);
        // SAFETY: the range lies inside the mapping just made, which nobody uses yet.
        if unsafe { libc::mprotect(usable, Self::SIZE - Self::GUARD, writable) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// One past the highest byte, aligned as every ABI wants it: a multiple of the page.
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child has left it by `exec` or `_exit`.
        unsafe { libc::munmap(self.base, Self::SIZE) };
    }
}

fn string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in an argument"))
}

/// A null-terminated array for `execve`.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The files that `execvp` would try, those that cannot be executed left out.
fn candidates(
    program: &OsStr,
    search: &OsStr,
    directory: Option<&Path>,
) -> io::Result<Vec<CString>> {
    let mut verdict = libc::ENOENT;
    let mut found = Vec::new();
    let is_a_path = program.as_bytes().contains(&b'/');
    let names: Vec<_> = if is_a_path {
        vec![Path::new(program).to_path_buf()]
    } else if program.is_empty() {
        Vec::new()
    } else {
        let entries = search.as_bytes().split(|&byte| byte == b':');
        entries.map(|entry| Path::new(OsStr::from_bytes(entry)).join(program)).collect()
    };
    for name in names {
        // The child changes its directory first, so that is what a relative name is relative to.
        let seen_from_here = directory.map_or_else(|| name.clone(), |at| at.join(&name));
        match std::fs::metadata(&seen_from_here) {
            Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => {
                found.push(string(name.as_os_str())?);
            }
            Ok(_) => verdict = libc::EACCES,
            // A directory of the search list that this user may not look into is not the place
            // where the program is: other users' lists have such directories.
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) | None => {}
                Some(errno) if is_a_path => verdict = errno,
                Some(_) => {}
            },
        }
    }
    if found.is_empty() {
        return Err(io::Error::from_raw_os_error(verdict));
    }
    Ok(found)
}
