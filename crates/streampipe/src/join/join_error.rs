use std::{error, fmt, io};

use streampipe_sys::open::numbers;
use streampipe_sys::spawn::Step;

use super::Side;

/// Why two programs were not joined. Neither of them runs any more.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use streampipe::join::{Join, Side};
///
/// let error = Join::new(Command::new("true"), Command::new("no-such-program")).run().unwrap_err();
/// assert_eq!(error.side(), Some(Side::Right));
/// assert!(error.is_not_found());
/// ```
#[derive(Debug)]
pub struct JoinError {
    pub(super) side: Option<Side>,
    pub(super) step: JoinStep,
    pub(super) cause: io::Error,
    /// Whether the program's file was seen, and may not be executed.
    pub(super) is_forbidden: bool,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinStep {
    /// The program's file or arguments: nothing was started.
    Find,
    /// Making pipes or a process, changing its directory, placing its descriptors.
    Prepare,
    /// Executing the program's file.
    Execute,
    /// Watching the programs, which were killed then.
    Watch,
}

impl JoinError {
    pub(super) fn preparing(cause: io::Error) -> Self {
        Self { side: None, step: JoinStep::Prepare, cause, is_forbidden: false }
    }

    pub(super) fn watching(cause: io::Error) -> Self {
        Self { side: None, step: JoinStep::Watch, cause, is_forbidden: false }
    }

    /// Whose start failed, if it was about one of the two.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// What failed.
    #[must_use]
    pub fn step(&self) -> JoinStep {
        self.step
    }

    /// What the system said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// Whether there is no such program (a shell's exit code 127).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let errno = self.cause.raw_os_error();
        self.step == JoinStep::Find && matches!(errno, Some(numbers::ENOENT | numbers::ENOTDIR))
    }

    /// Whether there is one that cannot be executed (a shell's exit code 126).
    #[must_use]
    pub fn is_not_executable(&self) -> bool {
        let is_there = self.cause.raw_os_error().is_some() && !self.is_not_found();
        self.step == JoinStep::Execute || (self.step == JoinStep::Find && is_there)
    }

    /// What to do about it, where the system's own words mislead.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match (self.step, self.cause.raw_os_error()?) {
            (JoinStep::Prepare, numbers::EBADF) => {
                Some("the descriptor's number must be below the limit of open files (ulimit -n)")
            }
            (JoinStep::Execute, numbers::ENOENT) => Some(
                "the file is there: the interpreter in its first line (mind a carriage return at its end), or its loader, is not",
            ),
            (JoinStep::Execute, numbers::ENOEXEC) => {
                Some("a script needs a first line such as #!/bin/sh, or run it with sh FILE")
            }
            (JoinStep::Find, numbers::EACCES) if self.is_forbidden => {
                Some("the file is there, but it is a directory or has no execute permission")
            }
            (JoinStep::Find, numbers::EACCES) => {
                Some("a directory on the way to it may not be searched")
            }
            _ => None,
        }
    }
}

impl From<Step> for JoinStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Exec => Self::Execute,
            _ => Self::Prepare,
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            JoinStep::Find if self.is_not_found() => "was not found",
            JoinStep::Find | JoinStep::Execute => "cannot be executed",
            JoinStep::Prepare => "cannot be started",
            JoinStep::Watch => "cannot be watched",
        };
        match self.side {
            Some(side) => write!(f, "the {side} program {what}: {}", self.cause),
            None => write!(f, "the programs {what}: {}", self.cause),
        }
    }
}

/// The cause is a part of the text, and no source of its own.
impl error::Error for JoinError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.source()
    }
}
