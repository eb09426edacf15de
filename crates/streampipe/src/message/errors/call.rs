use std::{error, fmt, io};

use crate::{RecvError, SendError};

/// Why a call has no answer.
///
/// # Examples
///
/// ```
/// use streampipe::CallError;
///
/// let (client, server) = streampipe::RawChannel::pair()?;
/// drop(server);
/// assert!(matches!(client.call(b"anybody?", &[]), Err(CallError::NotSent(_))));
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub enum CallError<T = ()> {
    /// The request was not sent.
    NotSent(SendError<T>),
    /// The request was sent, and no answer was received: at once if the peer is gone.
    NotReceived(RecvError),
    /// The peer has taken the request and dropped it without an answer.
    NoAnswer,
}

impl<T> CallError<T> {
    /// Whether the deadline passed first. An answer that comes later is dropped, and
    /// [counted](crate::RawChannel::late_answers).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::NotSent(error) => matches!(error.reason(), crate::SendReason::TimedOut),
            Self::NotReceived(error) => matches!(error, RecvError::TimedOut),
            Self::NoAnswer => false,
        }
    }

    /// Whether the peer is gone, as [`SendReason::is_disconnected`](crate::SendReason::is_disconnected) and
    /// [`RecvError::is_disconnected`].
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        match self {
            Self::NotSent(error) => error.is_disconnected(),
            Self::NotReceived(error) => error.is_disconnected(),
            Self::NoAnswer => false,
        }
    }

    fn without_request(self) -> CallError {
        match self {
            Self::NotSent(error) => CallError::NotSent(SendError::new((), error.into_parts().1)),
            Self::NotReceived(error) => CallError::NotReceived(error),
            Self::NoAnswer => CallError::NoAnswer,
        }
    }
}

impl<T> fmt::Display for CallError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "the request was not sent: {error}"),
            Self::NotReceived(error) => write!(f, "no answer was received: {error}"),
            Self::NoAnswer => f.write_str("the peer has dropped the request without an answer"),
        }
    }
}

/// Without the request, which need not be `Debug`.
impl<T> fmt::Debug for CallError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => f.debug_tuple("NotSent").field(error).finish(),
            Self::NotReceived(error) => f.debug_tuple("NotReceived").field(error).finish(),
            Self::NoAnswer => f.write_str("NoAnswer"),
        }
    }
}

/// What is inside is said by the text itself, and is not a source of its own.
impl<T> error::Error for CallError<T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotSent(error) => error.source(),
            Self::NotReceived(error) => error.source(),
            Self::NoAnswer => None,
        }
    }
}

/// Drops the request, and keeps the rest, a `CallError<()>`, inside of the error; but what the system said is returned as
/// it is.
impl<T> From<CallError<T>> for io::Error {
    fn from(error: CallError<T>) -> Self {
        let kind = match &error {
            CallError::NotSent(error) => error.reason().io_kind(),
            CallError::NotReceived(error) => error.io_kind(),
            CallError::NoAnswer => Some(io::ErrorKind::Other),
        };
        match (kind, error) {
            (Some(kind), error) => Self::new(kind, error.without_request()),
            (None, CallError::NotSent(error)) => error.into(),
            (None, CallError::NotReceived(error)) => error.into(),
            (None, CallError::NoAnswer) => Self::other(CallError::<()>::NoAnswer),
        }
    }
}
