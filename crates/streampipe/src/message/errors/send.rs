use std::{error, fmt, io};

use streampipe_sys::open::numbers;

use crate::{FdError, PeerGone, RecvError, RefusedFd};

/// A message that was not sent; gives it back, if it was given away.
///
/// Nothing of it reaches the peer, and the channel can be used further. (A send that may wait for ever, over a stream, and is
/// refused by the system inside of the message's last frame ends the direction; the peer is told that it was torn.) What was sent
/// of it is withdrawn with the next send, if not at once: a peer that sees the end before that sees it
/// [`Torn`](crate::RecvError::Torn).
///
/// # Examples
///
/// ```
/// use streampipe::{RawChannel, SendReason};
///
/// let (ours, theirs) = RawChannel::pair()?;
/// drop(theirs);
/// let error = ours.send(b"is anybody there?", &[]).unwrap_err();
/// assert!(matches!(error.reason(), SendReason::Closed));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SendError<T = ()> {
    message: T,
    reason: SendReason,
}

/// Why a message was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendReason {
    /// There is no room for it now, and the call does not wait.
    Full,
    /// There was no room for all of it before the deadline.
    TimedOut,
    /// The peer has closed its end, or reads no more; or our direction was shut down.
    Closed,
    /// The peer's process has ended, and somebody else holds its end.
    PeerGone(PeerGone),
    /// A value that cannot be encoded: too deep, with something in it that does not travel, or with a field left out.
    #[cfg(feature = "serde")]
    Unencodable(crate::Undecodable),
    /// The peer refuses descriptors (`EPERM`).
    FdsRefused,
    /// A descriptor that may not go to this peer ([`FdPolicy`](crate::FdPolicy)).
    RefusedFd(RefusedFd),
    /// A descriptor that cannot go over this channel.
    Fd(FdError),
    /// A request that was given up while there was no room for it, for no answer to it could be received:
    /// [`Unclaimed`](RecvError::Unclaimed) if the peer sends what nobody takes, and reads nothing.
    Unanswerable(Box<RecvError>),
    /// The system refused: `ETOOMANYREFS` if more descriptors are in flight than this user may have.
    Io(io::Error),
}

impl<T> SendError<T> {
    pub(crate) fn new(message: T, reason: SendReason) -> Self {
        Self { message, reason }
    }

    /// Says why.
    #[must_use]
    pub fn reason(&self) -> &SendReason {
        &self.reason
    }

    /// Whether the peer is gone, as [`SendReason::is_disconnected`].
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.reason.is_disconnected()
    }

    /// Takes the message back.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.message
    }

    /// Takes both.
    #[must_use]
    pub fn into_parts(self) -> (T, SendReason) {
        (self.message, self.reason)
    }
}

impl SendReason {
    /// Whether the peer is gone, in whichever way: it reads no more, has closed, or has ended; or our direction was shut
    /// down.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        match self {
            Self::Closed | Self::PeerGone(_) => true,
            Self::Io(error) => crate::is_disconnected(error),
            _ => false,
        }
    }

    /// The kind of the [`io::Error`] it becomes; `None` if it is one.
    pub(super) fn io_kind(&self) -> Option<io::ErrorKind> {
        let kind = match self {
            Self::Full => io::ErrorKind::WouldBlock,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Closed => io::ErrorKind::BrokenPipe,
            Self::PeerGone(_) => io::ErrorKind::ConnectionAborted,
            Self::Fd(_) | Self::RefusedFd(_) => io::ErrorKind::InvalidInput,
            #[cfg(feature = "serde")]
            Self::Unencodable(_) => io::ErrorKind::InvalidInput,
            Self::FdsRefused => io::ErrorKind::PermissionDenied,
            Self::Unanswerable(_) => io::ErrorKind::Other,
            Self::Io(_) => return None,
        };
        Some(kind)
    }

    /// What the system said when this end was written to.
    pub(in crate::message) fn from_end(error: io::Error) -> Self {
        let inside = error.get_ref();
        if let Some(gone) = inside.and_then(|inside| inside.downcast_ref::<PeerGone>()) {
            return Self::PeerGone(*gone);
        }
        if let Some(error) = inside.and_then(|inside| inside.downcast_ref::<FdError>()) {
            return Self::Fd(*error);
        }
        if error.raw_os_error() == Some(numbers::EPERM) {
            return Self::FdsRefused;
        }
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Full,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for SendReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there is no room for the message now"),
            Self::TimedOut => f.write_str("there was no room for the message in time"),
            Self::Closed => f.write_str("nobody reads at the other end any more"),
            Self::PeerGone(gone) => gone.fmt(f),
            #[cfg(feature = "serde")]
            Self::Unencodable(why) => write!(f, "the value cannot be encoded: {why}"),
            Self::FdsRefused => f.write_str("the peer refuses descriptors"),
            Self::RefusedFd(refused) => refused.fmt(f),
            Self::Fd(error) => error.fmt(f),
            Self::Unanswerable(why) => write!(f, "no answer could be received: {why}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

/// Without the message, which may be large, and need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.reason).finish()
    }
}

/// What is inside is said by the text itself, and is not a source of its own.
impl error::Error for SendReason {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::RefusedFd(refused) => refused.source(),
            Self::Unanswerable(why) => why.source(),
            _ => None,
        }
    }
}

/// As of its reason.
impl<T> error::Error for SendError<T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.reason.source()
    }
}

/// Keeps it inside of the error; but what the system said is returned as it is.
impl From<SendReason> for io::Error {
    fn from(reason: SendReason) -> Self {
        match (reason.io_kind(), reason) {
            (_, SendReason::Io(error)) => error,
            (kind, reason) => Self::new(kind.unwrap_or(io::ErrorKind::Other), reason),
        }
    }
}

/// Drops the message, and keeps the rest, a `SendError<()>`, inside of the error; but what the system said is returned as
/// it is.
impl<T> From<SendError<T>> for io::Error {
    fn from(error: SendError<T>) -> Self {
        match (error.reason.io_kind(), error.reason) {
            (_, SendReason::Io(error)) => error,
            (kind, reason) => {
                Self::new(kind.unwrap_or(io::ErrorKind::Other), SendError::new((), reason))
            }
        }
    }
}
