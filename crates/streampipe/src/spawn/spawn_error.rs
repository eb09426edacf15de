use std::ffi::OsString;
use std::{error, fmt, io};

use streampipe_sys::open::numbers;
use streampipe_sys::spawn::{self, Step};

/// Why a program was not started: the step, and what the system said.
///
/// There is no child then, no zombie, and no descriptor that was not there before.
///
/// Converts into an [`io::Error`] of the same kind, with this inside.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use streampipe::{Command, SpawnError, SpawnStep};
///
/// let error = Command::new("no-such-program").spawn().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.step(), SpawnStep::Find);
/// assert_eq!(error.raw_os_error(), Some(2)); // ENOENT
///
/// // After `?`, and from `status` and `output`, it is inside of the `io::Error`.
/// let error = Command::new("no-such-program").status().unwrap_err();
/// let inside: &SpawnError = error.get_ref().unwrap().downcast_ref().unwrap();
/// assert_eq!(inside.raw_os_error(), Some(2));
///
/// let error = Command::new("true").current_dir("/no/such/directory").spawn().unwrap_err();
/// assert_eq!(error.step(), SpawnStep::Directory);
/// ```
#[derive(Debug)]
pub struct SpawnError {
    step: SpawnStep,
    program: OsString,
    cause: io::Error,
    /// Whether the program's file was seen, and may not be executed.
    is_forbidden: bool,
}

/// What failed, with all that is known of it; the program's name is added at the end.
pub(super) struct Failure {
    step: SpawnStep,
    cause: io::Error,
    is_forbidden: bool,
}

impl From<(SpawnStep, io::Error)> for Failure {
    fn from((step, cause): (SpawnStep, io::Error)) -> Self {
        Self { step, cause, is_forbidden: false }
    }
}

impl From<spawn::SpawnError> for Failure {
    fn from(error: spawn::SpawnError) -> Self {
        let is_forbidden = error.step == Step::Permission;
        Self { step: error.step.into(), cause: error.source, is_forbidden }
    }
}

/// The step of a start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnStep {
    /// Reading the description: arguments, environment, numbers given twice.
    Describe,
    /// Finding the program's file.
    Find,
    /// Opening `/dev/null`, for a standard descriptor.
    Null,
    /// Making the pair, or pipes (`socketpair`, `pipe2`).
    Pair,
    /// Making a ring and its memory (`memfd_create`, `mmap`).
    Ring,
    /// Setting or asking for options of the end (`setsockopt`, `getsockopt`).
    Options,
    /// Making the process (`clone`).
    Clone,
    /// Joining the process group, or starting the session (`setpgid`, `setsid`).
    Group,
    /// Placing descriptors, or closing the others (`dup2`, `close_range`).
    Descriptors,
    /// Limiting a resource (`setrlimit`).
    Limit,
    /// Changing the user or the groups (`setresuid`, `setresgid`, `setgroups`).
    Identity,
    /// Changing the directory (`chdir`).
    Directory,
    /// Giving up the gain of privileges (`PR_SET_NO_NEW_PRIVS`).
    Privileges,
    /// Asking for the parent-death signal (`PR_SET_PDEATHSIG`).
    DeathSignal,
    /// Executing the program's file (`execve`).
    Exec,
}

impl SpawnError {
    pub(super) fn new(program: &OsString, failure: Failure) -> Self {
        let Failure { step, cause, is_forbidden } = failure;
        Self { step, program: program.clone(), cause, is_forbidden }
    }

    /// Where it went wrong.
    #[must_use]
    pub fn step(&self) -> SpawnStep {
        self.step
    }

    /// What the system said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// The kind of what the system said, as of an [`io::Error`].
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// The error number, if the system said it.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}

impl SpawnError {
    /// What to look at, where the system's own words mislead.
    fn hint(&self) -> Option<&'static str> {
        match (self.step, self.raw_os_error()?) {
            (SpawnStep::Descriptors, numbers::EBADF) => {
                Some("is the number below the limit of open files?")
            }
            (SpawnStep::Exec, numbers::ENOENT) => {
                Some("the file is there: the interpreter in its first line, or its loader, is not")
            }
            (SpawnStep::Exec, numbers::ENOEXEC) => Some(
                "it is no program for this machine; a script needs a first line such as #!/bin/sh",
            ),
            (SpawnStep::Find, numbers::EACCES) if self.is_forbidden => {
                Some("the file is there, but is a directory or has no execute permission")
            }
            (SpawnStep::Find, numbers::EACCES) => {
                Some("a directory on the way to it may not be searched")
            }
            (SpawnStep::Null, numbers::ENOENT) => Some("there is no /dev/null"),
            _ => None,
        }
    }
}

impl From<Step> for SpawnStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Describe => Self::Describe,
            Step::Find | Step::Permission => Self::Find,
            Step::Clone => Self::Clone,
            Step::Group => Self::Group,
            Step::Descriptor => Self::Descriptors,
            Step::Limit => Self::Limit,
            Step::Identity => Self::Identity,
            Step::Directory => Self::Directory,
            Step::Privileges => Self::Privileges,
            Step::DeathSignal => Self::DeathSignal,
            Step::Exec => Self::Exec,
        }
    }
}

impl fmt::Display for SpawnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "reading the command",
            Self::Find => "finding the program",
            Self::Null => "opening /dev/null",
            Self::Pair => "making the pair (socketpair, pipe2)",
            Self::Ring => "making the ring (memfd_create, mmap)",
            Self::Options => "setting options of the end (setsockopt)",
            Self::Clone => "making the process (clone)",
            Self::Group => "changing the process group (setpgid, setsid)",
            Self::Descriptors => "placing descriptors (dup2)",
            Self::Limit => "setting a limit (setrlimit)",
            Self::Identity => "changing user or groups (setresuid, setresgid, setgroups)",
            Self::Directory => "changing the directory (chdir)",
            Self::Privileges => "giving up new privileges (prctl)",
            Self::DeathSignal => "asking for the parent-death signal (prctl)",
            Self::Exec => "executing it (execve)",
        })
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} was not started: {}: {}", self.program, self.step, self.cause)?;
        self.hint().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// What the system said is a part of the text, and no source of its own.
impl error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.source()
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::new(error.kind(), error)
    }
}
