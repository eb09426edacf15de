use std::{error, fmt, io};

/// A child has ended, and nobody can say how; inside the [`io::Error`] of a wait.
///
/// The kernel gives each exit status out once: not at all if this process ignores `SIGCHLD`, and to
/// another waiter if there was one (a `wait(-1)` loop in some library). The child is gone all the
/// same, and no zombie is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusUnavailable {
    /// The process id that the child had.
    pub id: u32,
}

impl fmt::Display for StatusUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} has ended, but its exit status is not to be had: this process ignores \
             SIGCHLD, or other code in it waited for the child first",
            self.id
        )
    }
}

impl error::Error for StatusUnavailable {}

impl From<StatusUnavailable> for io::Error {
    fn from(unavailable: StatusUnavailable) -> Self {
        Self::other(unavailable)
    }
}
