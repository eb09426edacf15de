//! A child that is run one instruction at a time (`ptrace(2)`): for tests of other crates, too, which have no `unsafe`.

use std::io;

/// In the child: has its parent trace it, and stops; goes on one instruction at a time.
pub(crate) fn be_stepped() -> io::Result<()> {
    // SAFETY: the request takes no address.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    if traced < 0 {
        return Err(io::Error::last_os_error());
    }
    stop();
    Ok(())
}

/// In the child: stops, for its parent to see how far it is.
pub(crate) fn stop() {
    // SAFETY: the call takes a number; the signal stops this process.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// What a step ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next instruction.
    Done,
    /// It stopped by itself.
    Stopped,
}

/// The child, which has stopped for the first time.
pub(crate) struct Stepped(i32);

impl Stepped {
    /// Waits for its first stop; `None` if it cannot be traced, and has ended.
    pub(crate) fn wait_for(id: u32) -> Option<Self> {
        let stepped = Self(i32::try_from(id).expect("a small number"));
        // Not its end, which somebody else waits for.
        let (seen, _) = stepped.wait(libc::WNOWAIT);
        (seen != libc::CLD_EXITED).then(|| {
            stepped.wait(0);
            stepped
        })
    }

    /// Runs one instruction, or one system call.
    pub(crate) fn step(&self) -> Step {
        // SAFETY: the request takes no address; the tracee is our child, and has stopped.
        let went_on = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.0, 0, 0) };
        assert!(went_on >= 0, "ptrace: {}", io::Error::last_os_error());
        match self.wait(0) {
            (libc::CLD_TRAPPED, libc::SIGTRAP) => Step::Done,
            (libc::CLD_TRAPPED, _) => Step::Stopped,
            other => panic!("it ended: {other:?}"),
        }
    }

    /// What happened to it next, and with which signal.
    fn wait(&self, more: i32) -> (i32, i32) {
        // SAFETY: all zeros are a valid `siginfo_t`, which is plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WSTOPPED | libc::WEXITED | more;
        let id = self.0.unsigned_abs();
        // SAFETY: `info` is valid for the call to write to.
        let waited = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) };
        assert!(waited == 0, "waitid: {}", io::Error::last_os_error());
        // SAFETY: a wait has filled it in.
        (info.si_code, unsafe { info.si_status() })
    }
}
