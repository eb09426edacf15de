use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::Duration;

use crate::{Datagram, FdRule, SeqPacket, Stream, WrongFd};

/// How often it is looked whether a send that shares a descriptor is over.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A descriptor inside of a value that a [`Channel`](crate::Channel) carries.
///
/// It may stand anywhere in it. The receiver gets a descriptor of its own for the same open file; the sender's
/// closes with the value, as anything that is dropped. Serialized elsewhere than in a channel, it is an error.
///
/// Made from anything that has a descriptor inside, and turned into it again.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use std::fs::File;
/// use std::io::Read;
/// use streampipe::Fd;
///
/// #[derive(Serialize, Deserialize)]
/// struct Job {
///     name: String,
///     inputs: Vec<Fd>,
/// }
///
/// let (ours, theirs) = streampipe::channel::<Job, ()>()?;
/// let input = File::open("/etc/passwd")?;
/// ours.send(Job { name: "count".into(), inputs: vec![input.into()] })?;
///
/// let mut job = theirs.recv()?;
/// let mut input = File::from(job.inputs.remove(0));
/// assert_ne!(input.read(&mut [0; 64])?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fd {
    /// Shared with a send that is under way, and with nothing else.
    fd: Arc<OwnedFd>,
}

impl Fd {
    /// Takes the descriptor out if it is what it should be, as the kernel says.
    ///
    /// # Errors
    ///
    /// A [`WrongFd`] with the descriptor inside.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::{Fd, FdRule};
    ///
    /// let fd = Fd::from(std::fs::File::open("/etc/passwd")?);
    /// let error = fd.expect(&FdRule::directory()).unwrap_err();
    /// let file = FdRule::file().read_only().check(error.into_fd()).expect("that is what it is");
    /// # drop(file);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn expect(self, rule: &FdRule) -> Result<OwnedFd, WrongFd> {
        rule.check(self.into())
    }

    /// Makes another descriptor for the same open file.
    ///
    /// # Errors
    ///
    /// `EMFILE` if there is no free descriptor.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        self.fd.try_clone().map(Self::from)
    }

    pub(super) fn share(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd) }
    }
}

/// Returns the descriptor itself.
///
/// A value that is being sent is borrowed, so a descriptor in it is taken out meanwhile only by way of a `Mutex` or the
/// like. What is returned then is a duplicate; if there is no free descriptor for one, this waits for one, or until the
/// send is over.
impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> Self {
        let mut fd = fd.fd;
        loop {
            fd = match Arc::try_unwrap(fd) {
                Ok(alone) => return alone,
                Err(shared) => shared,
            };
            match fd.try_clone() {
                Ok(copy) => return copy,
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }
}

macro_rules! converts {
    (both: $($both:ty)*; into_fd: $($into:ty)*) => {
        $(
            impl From<$both> for Fd {
                fn from(it: $both) -> Self {
                    Self::from(OwnedFd::from(it))
                }
            }

            /// Gives the descriptor this type; whether it is one, nobody has checked.
            impl From<Fd> for $both {
                fn from(fd: Fd) -> Self {
                    Self::from(OwnedFd::from(fd))
                }
            }
        )*
        $(
            impl From<$into> for Fd {
                fn from(it: $into) -> Self {
                    Self::from(OwnedFd::from(it))
                }
            }
        )*
    };
}

converts! {
    both: File UnixStream UnixListener UnixDatagram TcpStream TcpListener UdpSocket
        ChildStdin ChildStdout ChildStderr;
    into_fd: Stream SeqPacket Datagram
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
