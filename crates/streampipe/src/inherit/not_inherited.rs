use std::{error, fmt, io};

/// Why there is no inherited end to be had.
///
/// Converts into an [`io::Error`] with this inside.
///
/// # Examples
///
/// ```
/// use streampipe::NotInherited;
///
/// // A test is not started by `streampipe::Command`.
/// assert_eq!(streampipe::inherited().unwrap_err(), NotInherited::NoVariable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotInherited {
    /// The variable `STREAMPIPE_END` is not set: the parent prepared no end.
    NoVariable,
    /// The variable does not have the form that this version of the library writes.
    Malformed {
        /// What it holds, as far as it is text, and no more than 64 bytes of it.
        value: String,
    },
    /// This program runs with more rights than its caller (`AT_SECURE`), whose environment is not to be
    /// trusted.
    Secure,
    /// The end was adopted already, by an earlier call, or closed by one that found an end of a ring that it could not use.
    Taken,
    /// The number is not open: the variable is an ancestor's, whose own child adopted the end.
    NotOpen {
        /// The number.
        number: i32,
    },
    /// The system refused something on the way, for example for lack of a free descriptor; a later call
    /// may succeed. Not where the end was one of a ring and the system refused its memory (`EMFILE`, `ENOMEM`): it is closed
    /// then.
    System {
        /// The error's number.
        errno: i32,
    },
    /// The end is one of a ring, and its memory did not come or is not what the parent prepares; it is closed.
    BadMemory {
        /// What is wrong with it.
        reason: String,
    },
    /// The number is open, but is not the socket that the parent prepared; it is left alone.
    AnotherFile {
        /// The number.
        number: i32,
    },
}

impl fmt::Display for NotInherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVariable => f.write_str(
                "no end was inherited: STREAMPIPE_END is not set, so the parent prepared none",
            ),
            Self::Malformed { value } => {
                write!(f, "no end was inherited: STREAMPIPE_END is malformed: {value:?}")
            }
            Self::Secure => f.write_str(
                "no end was inherited: this program has more rights than its caller, whose \
                 environment it does not trust",
            ),
            Self::Taken => f.write_str("the inherited end was taken already, by an earlier call"),
            Self::NotOpen { number } => write!(
                f,
                "no end was inherited: descriptor {number}, which STREAMPIPE_END names, is not open; \
                 the variable is an ancestor's"
            ),
            Self::System { errno } => {
                let error = io::Error::from_raw_os_error(*errno);
                write!(f, "the inherited end was not taken: {error}")
            }
            Self::BadMemory { reason } => {
                write!(f, "the inherited end is one of a ring, and cannot be used: {reason}")
            }
            Self::AnotherFile { number } => write!(
                f,
                "no end was inherited: descriptor {number}, which STREAMPIPE_END names, is not the \
                 socket that was prepared"
            ),
        }
    }
}

impl error::Error for NotInherited {}

impl From<NotInherited> for io::Error {
    fn from(reason: NotInherited) -> Self {
        let kind = match reason {
            NotInherited::Malformed { .. } | NotInherited::BadMemory { .. } => {
                io::ErrorKind::InvalidData
            }
            NotInherited::System { errno } => io::Error::from_raw_os_error(errno).kind(),
            NotInherited::Secure => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::NotFound,
        };
        Self::new(kind, reason)
    }
}
