//! Children that say what they hold, and processes that are left behind on purpose.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process};
use streampipe::os::linux::ChildExt;
use streampipe::{Child, Command, PeerGone, StatusUnavailable, Stream};

use crate::support::{self, Descriptors};

/// Longer than anything here takes: what takes longer hangs.
pub(crate) const HANG: Duration = Duration::from_secs(10);

/// What is promised within 100 ms, on a machine with other things to do.
pub(crate) const PROMPTLY: Duration = Duration::from_secs(1);

/// The path of the test that calls it, as `support` wants it.
macro_rules! path_of {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
    };
}
pub(crate) use path_of;

/// A shell with this script.
pub(crate) fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Something that is set on a command.
pub(crate) type Set = fn(&mut Command) -> &mut Command;

/// Runs the body in a process of its own, started behind a prefix such as `env` and its options.
pub(crate) fn alone_behind(path: &str, prefix: &[&str], body: impl FnOnce()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    let ran = support::rerun(path, prefix);
    assert!(ran.status.success(), "behind {prefix:?}: {}\n{}", ran.status, ran.output);
    support::pass_on_skips(&ran.output);
}

/// The id of the process that is gone, if that is what the error says.
pub(crate) fn gone(error: &io::Error) -> Option<u32> {
    Some(error.get_ref()?.downcast_ref::<PeerGone>()?.id)
}

/// The id of the process whose status is not to be had, if that is what the error says.
pub(crate) fn unavailable(error: &io::Error) -> Option<u32> {
    Some(error.get_ref()?.downcast_ref::<StatusUnavailable>()?.id)
}

/// Waits until the child has ended, without reaping it.
pub(crate) fn await_end(child: &Child) {
    assert!(support::readable_within(child.pidfd(), HANG), "the child runs on");
}

/// Waits until there are no children and the descriptors are these again: what the library's own
/// thread reaps and closes.
pub(crate) fn settles_to(before: &Descriptors) {
    assert!(support::is_childless_within(HANG), "nobody reaped the child");
    let holds = eventually(|| Descriptors::now() == *before);
    assert!(holds, "{before:?} has become {:?}", Descriptors::now());
}

/// Waits for something that comes without an event to wait for; says whether it came.
pub(crate) fn eventually(mut it: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + HANG;
    while !it() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// The state of a process, as `ps` shows it; `None` if there is no such process.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Lets a thread say when it is about to wait, and others see that it does.
#[derive(Default)]
pub(crate) struct Sleeper(AtomicI32);

impl Sleeper {
    /// Called by the thread.
    pub(crate) fn is_me(&self) {
        self.0.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::SeqCst);
    }

    /// Waits until the thread sleeps, or has ended.
    pub(crate) fn sleeps(&self) {
        let sleeps = || {
            let thread = self.0.load(Ordering::SeqCst);
            let state = state_of(thread.unsigned_abs());
            thread != 0 && matches!(state, None | Some('S' | 'D' | 'Z' | 'X'))
        };
        assert!(eventually(sleeps), "the thread never waits");
    }
}

/// A process that is not our child, killed at the latest when this is dropped.
pub(crate) struct LeftBehind(Pid);

impl LeftBehind {
    /// The one whose number comes first on this stream, as a line.
    pub(crate) fn announced_on(from: impl Read) -> Self {
        Self::of(line(from).parse().expect("a process id"))
    }

    pub(crate) fn of(pid: i32) -> Self {
        Self(Pid::from_raw(pid).expect("a process id"))
    }

    pub(crate) fn runs(&self) -> bool {
        let pid = self.0.as_raw_nonzero().get().unsigned_abs();
        !matches!(state_of(pid), None | Some('Z' | 'X'))
    }
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// A one-way pipe: what is read from, what is written to.
pub(crate) fn pipe() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    (reader.into(), writer.into())
}

/// Reads a line and not a byte more.
pub(crate) fn line(mut from: impl Read) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        from.read_exact(&mut byte).expect("a whole line");
        if byte == *b"\n" {
            return String::from_utf8(line).expect("text");
        }
        line.push(byte[0]);
    }
}

/// Reads to the end, which has to come soon.
pub(crate) fn all_of(stream: &Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(HANG)).expect("a timeout");
    (&*stream).read_to_end(&mut bytes).expect("the end");
    bytes
}

/// What an open file is, as `/proc` says it.
pub(crate) fn link_of(fd: impl AsFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
    link.expect("it is open").to_string_lossy().into_owned()
}

/// What there is before something is tried, for a look afterwards at what is left of it.
pub(crate) struct Traces(Descriptors);

impl Traces {
    pub(crate) fn before() -> Self {
        Self(Descriptors::now())
    }

    /// What is left: a child, running or not, or a descriptor.
    pub(crate) fn left(&self) -> Option<String> {
        if support::has_children() {
            return Some("a child".to_owned());
        }
        let now = Descriptors::now();
        (now != self.0).then(|| format!("descriptors: {:?} have become {now:?}", self.0))
    }
}

/// Whether a start with another user can leave this process as dumpable as it was; if not, says that it is skipped.
pub(crate) fn may_be_dumpable_again() -> bool {
    let can_ask = crate::kcmp::is_there();
    if !can_ask {
        crate::support::skip(
            "being dumpable again",
            "the kernel does not compare processes (kcmp)",
        );
    }
    can_ask
}
