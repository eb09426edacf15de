//! Signals as data: blocked for a thread, and read from a descriptor.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::fd::lift;

/// A set of signals, such as a thread's mask.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignalSet").finish_non_exhaustive()
    }
}

impl SignalSet {
    /// The set of these signals.
    #[must_use]
    pub fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `set` is valid for writing a `sigset_t`.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for &signal in signals {
            // SAFETY: `set` was initialised by `sigemptyset`; a bad number is an error, ignored.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
        }
        // SAFETY: `sigemptyset` has initialised every byte of it.
        Self(unsafe { set.assume_init() })
    }

    /// The set of all signals.
    #[must_use]
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `set` is valid for writing a `sigset_t`.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: `sigfillset` has initialised every byte of it.
        Self(unsafe { set.assume_init() })
    }

    /// Adds these signals to the calling thread's mask; returns the mask as it was.
    #[must_use]
    pub fn block(&self) -> Self {
        self.mask(libc::SIG_BLOCK)
    }

    /// Makes this the calling thread's mask; returns the mask as it was.
    pub fn set(&self) -> Self {
        self.mask(libc::SIG_SETMASK)
    }

    /// Makes this the calling thread's mask until the guard is dropped, by a panic as well.
    pub fn set_scoped(&self) -> MaskGuard {
        MaskGuard { before: self.set(), not_send: PhantomData }
    }

    /// Adds these signals to the calling thread's mask until the guard is dropped, by a panic as well.
    pub fn block_scoped(&self) -> MaskGuard {
        MaskGuard { before: self.block(), not_send: PhantomData }
    }

    /// Takes these signals out of the calling thread's mask: what is pending comes now.
    pub fn unblock(&self) {
        self.mask(libc::SIG_UNBLOCK);
    }

    pub(crate) fn as_raw(&self) -> *const libc::sigset_t {
        &raw const self.0
    }

    fn mask(&self, how: libc::c_int) -> Self {
        let mut before = Self::of(&[]).0;
        // SAFETY: both pointers are to valid sets. With a valid `how` the call cannot fail.
        unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut before) };
        Self(before)
    }
}

/// Puts the calling thread's mask back to what it was.
///
/// It must be dropped by the thread that made it, so it is neither `Send` nor `Sync`.
#[derive(Debug)]
#[must_use = "the mask is put back when this is dropped"]
pub struct MaskGuard {
    before: SignalSet,
    not_send: PhantomData<*const ()>,
}

impl MaskGuard {
    /// The mask as it was.
    #[must_use]
    pub fn before(&self) -> SignalSet {
        self.before
    }
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        self.before.set();
    }
}

/// What the process did with each signal when [`ignore_requests`] was called.
pub struct Dispositions([Option<libc::sigaction>; SIGNALS]);

/// Room for every signal number of Linux (MIPS has 127), 0 included.
const SIGNALS: usize = 128;

/// The signals that [`ignore_requests`] leaves alone: faults of the process itself, and what cannot be
/// ignored.
const LEFT_ALONE: [i32; 9] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGKILL,
    libc::SIGSTOP,
];

impl std::fmt::Debug for Dispositions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dispositions").finish_non_exhaustive()
    }
}

impl Dispositions {
    /// Gives every signal back the disposition that it had, handlers included.
    pub fn restore(&self) {
        for (number, action) in (0_i32..).zip(&self.0) {
            if let Some(action) = action {
                // SAFETY: the action is one that the kernel returned for this signal; a handler in
                // it is code of this program, which is still mapped.
                unsafe { libc::sigaction(number, action, std::ptr::null_mut()) };
            }
        }
    }
}

/// Ignores every signal by which another process, or a key at the terminal, asks for something.
///
/// Faults of the process itself, and what cannot be ignored, stay as they are. `SIGCHLD` gets its default
/// action, so that exit statuses are kept. No other handler of the program runs afterwards. Returns what
/// there was. A pending signal is discarded. The dispositions belong to the whole process.
#[must_use]
pub fn ignore_requests() -> Dispositions {
    let mut before = [None; SIGNALS];
    for (number, before) in (0_i32..).zip(&mut before) {
        if number == 0 || number > libc::SIGRTMAX() {
            continue;
        }
        let new = match number {
            libc::SIGCHLD => libc::SIG_DFL,
            number if LEFT_ALONE.contains(&number) => continue,
            _ => libc::SIG_IGN,
        };
        let Some(now) = disposition(number) else { continue };
        *before = Some(now);
        // SAFETY: the default action and ignoring run no code of ours.
        unsafe { libc::signal(number, new) };
    }
    Dispositions(before)
}

/// What the process does with this signal; `None` for a number that is none, or one of the C library's.
fn disposition(signal: i32) -> Option<libc::sigaction> {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads the present one, into `now`.
    let read = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: all zeros is a valid `sigaction`, whether or not the call wrote to it.
    let now = unsafe { now.assume_init() };
    (read == 0).then_some(now)
}

/// A descriptor from which blocked signals are read (`signalfd(2)`).
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

/// A signal, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The number.
    pub signal: i32,
    /// Whether the kernel sent it, as it does for a key at the terminal, rather than a process.
    pub from_kernel: bool,
    /// With `SIGCHLD`: the child that ended, rather than stopped or went on.
    pub ended_child: Option<i32>,
}

impl SignalFd {
    /// Opens a descriptor for these signals, which should be blocked already. Close-on-exec.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open(signals: &SignalSet) -> io::Result<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the pointer is to a valid set.
        let fd = unsafe { libc::signalfd(-1, &raw const signals.0, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is open and nobody else owns it.
        let fd = lift(unsafe { OwnedFd::from_raw_fd(fd) })?;
        Ok(Self { fd })
    }

    /// Takes one pending signal, if there is one. Never blocks.
    ///
    /// # Errors
    ///
    /// Those of `read(2)`, `EAGAIN` and `EINTR` excepted.
    pub fn take(&self) -> io::Result<Option<Arrived>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut bytes = [0_u8; SIZE];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut bytes)) {
            Ok(SIZE) => {}
            Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // SAFETY: `signalfd_siginfo` is plain data, valid for any bytes, and `bytes` has its size.
        let info = unsafe { bytes.as_ptr().cast::<libc::signalfd_siginfo>().read_unaligned() };
        let signal = i32::try_from(info.ssi_signo).unwrap_or(0);
        let ended = matches!(info.ssi_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
        let ended_child = i32::try_from(info.ssi_pid).ok();
        Ok(Some(Arrived {
            signal,
            from_kernel: info.ssi_code == libc::SI_KERNEL,
            ended_child: ended_child.filter(|_| signal == libc::SIGCHLD && ended),
        }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Undoes an ignored `SIGCHLD`, with which the kernel would throw exit statuses away.
///
/// A handler is left alone. The disposition belongs to the whole process.
pub fn stop_ignoring_child_deaths() {
    let Some(now) = disposition(libc::SIGCHLD) else { return };
    let is_default = now.sa_sigaction == libc::SIG_DFL;
    let throws_away = is_default && now.sa_flags & libc::SA_NOCLDWAIT != 0;
    if now.sa_sigaction == libc::SIG_IGN || throws_away {
        // SAFETY: the default action runs no code of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
}
