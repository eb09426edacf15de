use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use super::from_std;
use super::source::Source;
use crate::{Datagram, SeqPacket, Stream};

/// What becomes of a program's standard input, output or error.
///
/// Std's own type converts into it, so `std::process::Stdio::piped()` may be given wherever this is
/// wanted. A descriptor given by value goes to one program; see [`Inheritable`](super::Inheritable).
///
/// # Examples
///
/// ```
/// use streampipe::{Command, Stdio};
///
/// let child = Command::new("cat").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
/// assert_eq!(child.wait_with_output()?.stdout, b"");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stdio(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Inherit,
    Null,
    Piped,
    From(Source),
}

impl Stdio {
    /// The parent's own.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A one-way pipe, whose other end is a field of [`Child`](crate::Child).
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

/// Reads std's description back. One that cannot be read is an error of `spawn`.
impl From<process::Stdio> for Stdio {
    fn from(stdio: process::Stdio) -> Self {
        from_std::stdio(stdio)
    }
}

/// Lent: duplicated at once.
impl<T: AsFd> From<&T> for Stdio {
    fn from(fd: &T) -> Self {
        Self(Kind::From(Source::lend(fd.as_fd())))
    }
}

/// Lent: duplicated at once.
impl From<BorrowedFd<'_>> for Stdio {
    fn from(fd: BorrowedFd<'_>) -> Self {
        Self(Kind::From(Source::lend(fd)))
    }
}

macro_rules! given {
    ($($name:ty),* $(,)?) => {$(
        /// Given: it goes to one program.
        impl From<$name> for Stdio {
            fn from(fd: $name) -> Self {
                Self(Kind::From(Source::Given(fd.into())))
            }
        }
    )*};
}

given!(OwnedFd, File, SeqPacket, Datagram);
given!(process::ChildStdin, process::ChildStdout, process::ChildStderr);

/// Given: it goes to one program. An end of a ring is refused when the program is started.
impl From<Stream> for Stdio {
    fn from(end: Stream) -> Self {
        Self(Kind::From(Source::give(end)))
    }
}

/// This process's own, lent.
impl From<io::Stdin> for Stdio {
    fn from(stdin: io::Stdin) -> Self {
        Self::from(&stdin)
    }
}

/// This process's own, lent.
impl From<io::Stdout> for Stdio {
    fn from(stdout: io::Stdout) -> Self {
        Self::from(&stdout)
    }
}

/// This process's own, lent.
impl From<io::Stderr> for Stdio {
    fn from(stderr: io::Stderr) -> Self {
        Self::from(&stderr)
    }
}
