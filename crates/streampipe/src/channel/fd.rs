use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Datagram, FdRule, SeqPacket, Stream, WrongFd};

/// How often it is looked whether an attempt to send a descriptor is over.
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
    fd: Arc<OwnedFd>,
    /// What the sends under way have of it.
    shared: Arc<SharedFd>,
}

/// The share of a descriptor that all sends of it have together. Each clones it for one attempt at a time.
#[derive(Debug, Default)]
pub(crate) struct SharedFd(Mutex<Option<Arc<OwnedFd>>>);

impl SharedFd {
    /// The descriptor, unless it was taken back.
    pub(super) fn get(&self) -> Option<Arc<OwnedFd>> {
        self.lock().clone()
    }

    fn take_back(&self) {
        let fd = self.lock().take();
        drop(fd);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    pub(super) fn share(&self) -> Arc<SharedFd> {
        self.shared.lock().get_or_insert_with(|| Arc::clone(&self.fd));
        Arc::clone(&self.shared)
    }
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), shared: Arc::default() }
    }
}

/// Returns the descriptor itself.
///
/// A value that is being sent is borrowed, so a descriptor in it is taken out meanwhile only by way of a `Mutex` or the
/// like. What is returned then is a duplicate. If there is no free descriptor for one, the send loses the descriptor, and
/// fails with [`FdError::TakenOut`](crate::FdError::TakenOut) unless it has sent it before.
impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> Self {
        let Fd { mut fd, shared } = fd;
        let is_being_sent = Arc::strong_count(&shared) > 1;
        if is_being_sent {
            if let Ok(copy) = fd.try_clone() {
                return copy;
            }
        }
        shared.take_back();
        loop {
            fd = match Arc::try_unwrap(fd) {
                Ok(alone) => return alone,
                // By an attempt to send it, which is soon over, and the last.
                Err(shared) => shared,
            };
            std::thread::sleep(LOOK_AGAIN);
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
