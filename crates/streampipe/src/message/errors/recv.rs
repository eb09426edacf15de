use std::{error, fmt, io};

use streampipe_wire::{Malformed, Torn};

use super::TooLarge;
use crate::message::Bytes;
use crate::{PeerGone, WrongFd};

/// Why no message was received.
///
/// After those that are [final](Self::is_final) none will be; after the others the channel goes on: what was queued
/// is not lost.
///
/// # Examples
///
/// ```
/// use streampipe::{RawChannel, RecvError};
///
/// let (ours, theirs) = RawChannel::pair()?;
/// assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
/// drop(theirs);
/// assert!(matches!(ours.recv(), Err(RecvError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// No message has come, and the call does not wait.
    Empty,
    /// No message came, or not all of it, before the deadline. What came of it is kept.
    TimedOut,
    /// The peer closed its end, after all that it sent was received.
    Closed,
    /// The peer closed its end with messages of ours unread, after all that it sent was received. Told once; then it
    /// is [`Closed`](Self::Closed).
    Reset,
    /// The peer's process has ended, and somebody else holds its end. What it sent was received before.
    PeerGone(PeerGone),
    /// The peer's end came in the middle of a message, of which nothing is handed over. Told once; then it is
    /// [`Closed`](Self::Closed).
    Torn(Torn),
    /// A message beyond the [`Budget`](crate::Budget). It was dropped, and none of its descriptors came in here.
    TooLarge(TooLarge),
    /// Bytes that are no frame where a frame had to come. Final: nobody knows where the next one begins.
    Malformed(Malformed),
    /// Descriptors that were not announced, or too few: the peer does not follow the protocol. Final.
    UnexpectedFds {
        /// How many were due.
        due: usize,
        /// How many came, and were closed; of those beyond what was due, none comes in here.
        came: usize,
    },
    /// This process has no room for the descriptors of the next message (`EMFILE`). The message waits for the next
    /// receive.
    NoRoom {
        /// How many descriptors are to come at once.
        needed: usize,
    },
    /// Descriptors of a message were lost: another thread took the room for them at the last moment, or a security
    /// module objects. Those of its descriptors that came were closed; the payload is here.
    FdsLost {
        /// How many the message had.
        sent: u32,
        /// How many came.
        came: u32,
        /// The payload.
        bytes: Bytes,
    },
    /// A descriptor that the [`FdPolicy`](crate::FdPolicy) does not accept, with the descriptor in it. The rest of the
    /// message was dropped.
    WrongFd(WrongFd),
    /// A message that is no value of the type that was expected, or a type that cannot be received. It was dropped.
    #[cfg(feature = "serde")]
    Undecodable(crate::Undecodable),
    /// Messages wait that nobody takes: those of this kind cannot be reached until somebody does.
    Unclaimed {
        /// How many messages wait for [`recv`](crate::RawChannel::recv).
        messages: usize,
        /// How many requests wait.
        requests: usize,
    },
    /// The system refused.
    Io(io::Error),
}

impl RecvError {
    /// Whether nothing will be received any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Closed
            | Self::PeerGone(_)
            | Self::Torn(_)
            | Self::Reset
            | Self::Malformed(_)
            | Self::UnexpectedFds { .. } => true,
            Self::Empty
            | Self::TimedOut
            | Self::TooLarge(_)
            | Self::NoRoom { .. }
            | Self::FdsLost { .. }
            | Self::WrongFd(_)
            | Self::Unclaimed { .. }
            | Self::Io(_) => false,
            #[cfg(feature = "serde")]
            Self::Undecodable(_) => false,
        }
    }

    /// Whether the peer is gone, in whichever way: it has closed, was reset, has ended, or closed in the middle of a message.
    ///
    /// Not everything that is [final](Self::is_final) is: a peer that breaks the protocol is still there.
    ///
    /// # Examples
    ///
    /// ```
    /// let (ours, theirs) = streampipe::RawChannel::pair()?;
    /// assert!(!ours.try_recv().unwrap_err().is_disconnected());
    /// drop(theirs);
    /// assert!(ours.recv().unwrap_err().is_disconnected());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        match self {
            Self::Closed | Self::Reset | Self::PeerGone(_) | Self::Torn(_) => true,
            Self::Io(error) => crate::is_disconnected(error),
            _ => false,
        }
    }

    /// The kind of the [`io::Error`] it becomes; `None` if it is one.
    pub(super) fn io_kind(&self) -> Option<io::ErrorKind> {
        let kind = match self {
            Self::Empty => io::ErrorKind::WouldBlock,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Closed | Self::Torn(_) => io::ErrorKind::UnexpectedEof,
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::PeerGone(_) => io::ErrorKind::ConnectionAborted,
            Self::TooLarge(_)
            | Self::Malformed(_)
            | Self::UnexpectedFds { .. }
            | Self::WrongFd(_) => io::ErrorKind::InvalidData,
            #[cfg(feature = "serde")]
            Self::Undecodable(_) => io::ErrorKind::InvalidData,
            Self::NoRoom { .. } | Self::FdsLost { .. } | Self::Unclaimed { .. } => {
                io::ErrorKind::Other
            }
            Self::Io(_) => return None,
        };
        Some(kind)
    }

    /// Whether the peer sends no more. It may read on.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Closed | Self::Reset | Self::PeerGone(_) | Self::Torn(_))
    }

    /// Whether it is about one message, which its sender is told of if it was a request: the next may be better.
    #[cfg(feature = "serde")]
    pub(crate) fn is_of_one_message(&self) -> bool {
        matches!(
            self,
            Self::Undecodable(_) | Self::TooLarge(_) | Self::WrongFd(_) | Self::FdsLost { .. }
        )
    }

    /// What the system said when this end was read.
    pub(in crate::message) fn from_end(error: io::Error) -> Self {
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<PeerGone>());
        if let Some(gone) = inside {
            return Self::PeerGone(*gone);
        }
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Empty,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::ConnectionReset => Self::Reset,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no message has come"),
            Self::TimedOut => f.write_str("no whole message came in time"),
            Self::Closed => f.write_str("the peer has closed its end"),
            Self::Reset => f.write_str("the peer has closed its end with messages unread"),
            Self::PeerGone(gone) => gone.fmt(f),
            Self::Torn(torn) => torn.fmt(f),
            Self::TooLarge(too_large) => too_large.fmt(f),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::UnexpectedFds { due, came } => {
                write!(f, "{due} descriptors were due, and {came} came, or more")
            }
            Self::NoRoom { needed } => write!(
                f,
                "no room for {needed} descriptors in this process's table; the message waits"
            ),
            Self::FdsLost { sent, came, .. } => write!(
                f,
                "{} of the {sent} descriptors of a message were lost on the way in, the other \
                 {came} were closed",
                sent - came
            ),
            Self::WrongFd(wrong) => wrong.fmt(f),
            #[cfg(feature = "serde")]
            Self::Undecodable(why) => write!(f, "a message that is not what was expected: {why}"),
            Self::Unclaimed { messages, requests } => write!(
                f,
                "{messages} messages and {requests} requests wait in the channel, and nobody takes \
                 them"
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// What is inside is said by the text itself, and is not a source of its own.
impl error::Error for RecvError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::WrongFd(wrong) => wrong.source(),
            _ => None,
        }
    }
}

/// Keeps it inside of the error; but what the system said is returned as it is.
impl From<RecvError> for io::Error {
    fn from(error: RecvError) -> Self {
        match (error.io_kind(), error) {
            (_, RecvError::Io(error)) => error,
            (kind, error) => Self::new(kind.unwrap_or(io::ErrorKind::Other), error),
        }
    }
}
