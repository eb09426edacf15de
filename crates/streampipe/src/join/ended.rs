use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// How one of two joined programs ended.
///
/// # Examples
///
/// See [`Join`](super::Join).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its process id while it ran.
    pub pid: u32,
    /// How it ended.
    pub how: Ending,
    /// From the start of the join until its end was noticed.
    pub after: Duration,
    /// Whether it had ended when the timeout came, or there was none.
    pub in_time: bool,
    /// What it was asleep in when the timeout came; `None` if it was not, or there was no timeout.
    pub asleep_in: Option<AsleepIn>,
    /// With [`AsleepIn::Read`] and [`AsleepIn::Write`]: which file that descriptor was.
    pub asleep_on: Option<SleepFile>,
}

/// The way a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// A signal killed it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core dump.
        core: bool,
    },
    /// The status is not to be had: somebody else waited for it, or it outlived `SIGKILL`.
    Unknown,
}

/// What a program was asleep in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsleepIn {
    /// Reading from this descriptor.
    Read(i32),
    /// Writing to this descriptor.
    Write(i32),
    /// Waiting for a child of its own, as a shell does.
    Wait,
    /// Another call, such as a sleep, or a wait for several descriptors.
    Other,
    /// Nothing: a signal had stopped it.
    Stopped,
    /// It could not be looked at: another user's program, a filter, or no `/proc`.
    Unknown,
}

/// The file behind the descriptor that a program was reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SleepFile {
    /// One of the joined ends.
    Joined,
    /// The file that the calling process has as this standard descriptor, 0, 1 or 2.
    Standard(i32),
    /// Another file.
    Other,
    /// It could not be looked at.
    Unknown,
}

impl Ending {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The code a shell would show: the exit code, or 128 and the signal.
    #[must_use]
    pub fn shell_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled { signal, .. } => Some(128 + signal),
            Self::Unknown => None,
        }
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signaled { signal, core: status.core_dumped() },
            (None, None) => Self::Unknown,
        }
    }
}
