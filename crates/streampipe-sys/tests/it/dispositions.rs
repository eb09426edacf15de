//! What a process does with signals, put aside and taken up again.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use streampipe_sys::signal::ignore_requests;

use crate::support::tests_alone;

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: i32) {
    HANDLED.fetch_add(1, SeqCst);
}

fn handle(signal: i32) {
    // SAFETY: the handler adds to an atomic number, which is async-signal-safe.
    unsafe { libc::signal(signal, count as *const () as libc::sighandler_t) };
}

fn raise(signal: i32) {
    // SAFETY: the signal is handled, or ignored.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// The lines of ignored and handled signals.
fn dispositions() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let is_one = |line: &&str| ["SigIgn", "SigCgt"].iter().any(|it| line.starts_with(it));
    status.lines().filter(is_one).collect()
}

tests_alone! {
    fn handlers_do_not_run_while_requests_are_ignored_and_run_afterwards() {
        let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD, libc::SIGRTMAX()];
        signals.into_iter().for_each(handle);
        let ours = dispositions();
        let before = ignore_requests();
        signals.into_iter().for_each(raise);
        // What nobody handled would have ended the process.
        raise(libc::SIGHUP);
        assert_eq!(HANDLED.load(SeqCst), 0, "a handler ran");
        before.restore();
        assert_eq!(dispositions(), ours);
        signals.into_iter().for_each(raise);
        assert_eq!(HANDLED.load(SeqCst), 5);
    }
}
