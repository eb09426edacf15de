use std::{error, fmt, io};

/// A child has ended, and nobody can say how; inside the [`io::Error`] of a wait.
///
/// The kernel gives each exit status out once: not at all if this process ignores `SIGCHLD`, and to
/// another waiter if there was one (a `wait(-1)` loop in some library). That of a zygote's
/// [`Worker`](crate::Worker) is gone with the zygote, unless the kernel gives this process the workers then
/// (process 1 of a container, or a subreaper). The child has ended all the same, and no zombie is
/// left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusUnavailable {
    /// The process id that the child had.
    pub id: u32,
    /// Whose child it was.
    parent: Parent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    Ourselves,
    Zygote,
}

impl StatusUnavailable {
    pub(crate) fn of_child(id: u32) -> Self {
        Self { id, parent: Parent::Ourselves }
    }

    pub(crate) fn of_worker(id: u32) -> Self {
        Self { id, parent: Parent::Zygote }
    }
}

impl fmt::Display for StatusUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} has ended, but its exit status is not to be had: ", self.id)?;
        f.write_str(match self.parent {
            Parent::Ourselves => {
                "this process ignores SIGCHLD, or other code in it waited for the child first"
            }
            Parent::Zygote => "its zygote, which alone could tell, is gone or did not answer",
        })
    }
}

impl error::Error for StatusUnavailable {}

impl From<StatusUnavailable> for io::Error {
    fn from(unavailable: StatusUnavailable) -> Self {
        Self::other(unavailable)
    }
}
