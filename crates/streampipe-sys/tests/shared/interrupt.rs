//! Signals that interrupt system calls: for tests of other crates, too, which have no `unsafe`.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Catches the signal without `SA_RESTART`: a call that sleeps is interrupted.
pub(crate) fn catch() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the action is whole and outlives the call, and a handler that does nothing may run anywhere.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction");
}

/// A thread that can be interrupted.
pub(crate) struct Target(AtomicI32);

impl Target {
    pub(crate) fn new() -> Self {
        Self(AtomicI32::new(0))
    }

    pub(crate) fn is_this_thread(&self) {
        // SAFETY: the call has no arguments and cannot fail.
        self.0.store(unsafe { libc::gettid() }, Relaxed);
    }

    /// Sends the signal, if the thread is known; nothing happens if it has ended.
    pub(crate) fn interrupt(&self) {
        let thread = self.0.load(Relaxed);
        if thread != 0 {
            let process = std::process::id();
            // SAFETY: the call takes numbers only, and the signal is caught by `catch`.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        }
    }
}
