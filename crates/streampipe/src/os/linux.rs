//! Linux: pidfds, identities of sockets, what waits in them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use streampipe_sys::{queue, sockopt};

use crate::{Child, Peer, Worker};

pub use streampipe_sys::region::Trusted;

/// What Linux knows of a [`Child`] and of a [`Worker`].
pub trait ChildExt: sealed::Sealed {
    /// Borrows the pidfd: readable, for `poll` and its kin, once the child has ended.
    ///
    /// The child closes it when it is dropped.
    fn pidfd(&self) -> BorrowedFd<'_>;
}

impl ChildExt for Child {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Child::pidfd(self)
    }
}

impl ChildExt for Worker {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Worker::pidfd(self)
    }
}

/// What Linux knows of a [`Peer`].
pub trait PeerExt: sealed::Sealed {
    /// Borrows the pidfd of the process that said hello: it goes on meaning that process, also when it
    /// has ended and its number is another's.
    ///
    /// # Platform
    ///
    /// `None` before Linux 6.5.
    fn pidfd(&self) -> Option<BorrowedFd<'_>>;
}

impl PeerExt for Peer {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Peer::pidfd(self)
    }
}

/// What Linux knows of an end; for [`Stream`](crate::Stream) and its siblings.
pub trait EndExt: AsFd + sealed::Sealed {
    /// Returns the socket's identity, never reused while the system runs (`SO_COOKIE`).
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` if it is no socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::os::linux::EndExt;
    ///
    /// let (a, b) = streampipe::pair()?;
    /// assert_eq!(a.cookie()?, a.try_clone()?.cookie()?);
    /// assert_ne!(a.cookie()?, b.cookie()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SO_COOKIE")]
    fn cookie(&self) -> io::Result<u64> {
        sockopt::cookie(self.as_fd())
    }

    /// Returns how many bytes are queued for this end to receive.
    ///
    /// Of a `SeqPacket` all packets count, of a `Datagram` the first. What an error of this library
    /// left for the next receive is not counted.
    ///
    /// # Errors
    ///
    /// Those of `ioctl(2)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use streampipe::os::linux::EndExt;
    ///
    /// let (mut a, b) = streampipe::pair()?;
    /// a.write_all(b"four")?;
    /// assert_eq!(b.bytes_queued()?, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "FIONREAD")]
    #[doc(alias = "SIOCINQ")]
    fn bytes_queued(&self) -> io::Result<u64> {
        queue::bytes_queued(self.as_fd())
    }

    /// Returns how many descriptors are queued for this end; `None` where `/proc` does not tell.
    ///
    /// # Platform
    ///
    /// Linux 5.10 and later (`scm_fds` in `/proc/self/fdinfo`).
    fn fds_queued(&self) -> Option<usize> {
        queue::fds_queued(self.as_fd())
    }
}

impl EndExt for crate::Stream {
    fn bytes_queued(&self) -> io::Result<u64> {
        self.end.bytes_queued()
    }
}
impl EndExt for crate::SeqPacket {}
impl EndExt for crate::Datagram {}

/// These traits are for the types of this library, and may grow.
mod sealed {
    pub trait Sealed {}

    impl Sealed for crate::Child {}
    impl Sealed for crate::Worker {}
    impl Sealed for crate::Peer {}
    impl Sealed for crate::Stream {}
    impl Sealed for crate::SeqPacket {}
    impl Sealed for crate::Datagram {}
}
