use std::os::fd::OwnedFd;
use std::{error, fmt, io};

use super::found::Found;
use crate::{FdKind, FdRule};

/// A descriptor that is not what a rule says; gives the descriptor back.
///
/// Dropping it closes the descriptor. What somebody else sent can make that wait: a socket with
/// `SO_LINGER`, a file of a FUSE system.
///
/// # Examples
///
/// ```
/// use streampipe::{Access, FdKind, FdRule};
///
/// let file = std::fs::File::open("/etc/passwd")?;
/// let error = FdRule::pipe().check(file.into()).unwrap_err();
/// assert_eq!(error.to_string(), "expected a pipe, found a regular file open for reading");
/// assert_eq!(error.expected(), &FdRule::pipe());
/// assert_eq!(error.found(), Some(FdKind::File { access: Access::ReadOnly }));
/// let file = std::fs::File::from(error.into_fd());
/// # drop(file);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct WrongFd {
    fd: OwnedFd,
    expected: FdRule,
    found: io::Result<Found>,
    index: Option<usize>,
}

impl WrongFd {
    pub(super) fn new(fd: OwnedFd, expected: FdRule, found: io::Result<Found>) -> Self {
        Self { fd, expected, found, index: None }
    }

    /// The same, of a descriptor that came with others.
    pub(super) fn at(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }

    /// Takes the descriptor back, untouched.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What it should have been.
    #[must_use]
    pub fn expected(&self) -> &FdRule {
        &self.expected
    }

    /// What it is; `None` if the kernel did not say, and then [`cause`](Self::cause) is why.
    #[must_use]
    pub fn found(&self) -> Option<FdKind> {
        self.found.as_ref().ok().map(|found| found.kind)
    }

    /// Why the kernel did not say what it is; `None` if it did.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        self.found.as_ref().err()
    }

    /// Its place among those that came together; `None` if it was checked by itself.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.index
    }
}

impl fmt::Debug for WrongFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrongFd")
            .field("fd", &self.fd)
            .field("expected", &self.expected)
            .field("found", &self.found)
            .field("index", &self.index)
            .finish()
    }
}

impl fmt::Display for WrongFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "descriptor {index}: ")?;
        }
        write!(f, "expected {}, found ", self.expected)?;
        match &self.found {
            Ok(Found { kind, bytes: None }) => write!(f, "{kind}"),
            Ok(Found { kind, bytes: Some(bytes) }) => write!(f, "{kind}, {bytes} bytes long"),
            Err(error) => write!(f, "what the kernel does not describe: {error}"),
        }
    }
}

/// Why the kernel did not say is a part of the text, and no source of its own.
impl error::Error for WrongFd {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.found {
            Ok(_) => None,
            Err(error) => error.source(),
        }
    }
}

/// Keeps it, with the descriptor, inside of the error.
impl From<WrongFd> for io::Error {
    fn from(error: WrongFd) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
