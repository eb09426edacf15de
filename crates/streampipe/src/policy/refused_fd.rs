use std::{error, fmt, io};

use crate::FdKind;

/// A descriptor that a policy keeps from being sent to a peer that is not trusted; nothing was sent.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use streampipe::{FdKind, FdPolicy};
///
/// let directory = std::fs::File::open("/")?;
/// let refused = FdPolicy::new().untrusted_peer().check_outgoing(&[directory.as_fd()]).unwrap_err();
/// assert_eq!((refused.index(), refused.kind()), (0, Some(FdKind::Directory)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct RefusedFd {
    index: usize,
    kind: io::Result<FdKind>,
}

impl RefusedFd {
    pub(super) fn new(index: usize, kind: io::Result<FdKind>) -> Self {
        Self { index, kind }
    }

    /// Its place among those that were to be sent.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What it is; `None` if the kernel did not say, and then [`cause`](Self::cause) is why.
    #[must_use]
    pub fn kind(&self) -> Option<FdKind> {
        self.kind.as_ref().ok().copied()
    }

    /// Why the kernel did not say what it is; `None` if it did.
    #[must_use]
    pub fn cause(&self) -> Option<&io::Error> {
        self.kind.as_ref().err()
    }
}

impl fmt::Display for RefusedFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index;
        match &self.kind {
            Ok(kind) => {
                write!(f, "descriptor {index} is {kind}, and may not go to an untrusted peer")
            }
            Err(error) => write!(
                f,
                "descriptor {index} is something that the kernel does not describe ({error}), and \
                 may not go to an untrusted peer"
            ),
        }
    }
}

/// Why the kernel did not say is a part of the text, and no source of its own.
impl error::Error for RefusedFd {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            Ok(_) => None,
            Err(error) => error.source(),
        }
    }
}

impl From<RefusedFd> for io::Error {
    fn from(refused: RefusedFd) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refused)
    }
}
