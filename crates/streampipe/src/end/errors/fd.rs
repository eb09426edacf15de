use std::{error, fmt, io};

/// What went wrong with descriptors; inside the [`io::Error`] of a send or a receive.
///
/// After each of these the end is usable, and no descriptor is open that the caller does not hold.
/// Errors of the kernel's own are not wrapped: `EPERM` on a send says that the peer refuses
/// descriptors, `ETOOMANYREFS` that too many of this user's are in flight.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use streampipe::FdError;
///
/// let (a, _b) = streampipe::pair()?;
/// let error = a.send_fds(b"", &[std::io::stdin().as_fd()]).unwrap_err();
/// let inside = error.get_ref().unwrap().downcast_ref::<FdError>();
/// assert!(matches!(inside, Some(FdError::NoBytes { given: 1 })));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdError {
    /// More descriptors than one call can carry; nothing was sent.
    TooMany {
        /// How many were given.
        given: usize,
        /// How many one call carries: 253 (`SCM_MAX_FD`).
        limit: usize,
    },
    /// Descriptors without bytes on a stream, where the kernel would drop them; nothing was sent.
    NoBytes {
        /// How many descriptors were given.
        given: usize,
    },
    /// An end of the pair among the descriptors sent over it; nothing was sent.
    OverItself {
        /// Its place in the slice.
        index: usize,
    },
    /// A descriptor was taken out of a value while it was being sent, and there was no free descriptor for a duplicate; nothing
    /// of the value is handed over.
    TakenOut {
        /// Its place among the descriptors of the value.
        index: usize,
    },
    /// Descriptors came to a call that cannot hand them over. Nothing is lost: the bytes and the
    /// descriptors wait for `recv_fds`.
    Waiting {
        /// How many descriptors wait.
        count: usize,
        /// How many bytes came with them.
        bytes: usize,
    },
    /// Descriptors were sent that this process could not take: its table is full, or a security
    /// module objects. Those that did arrive were closed; the bytes wait for the next receive. Or another process had a copy
    /// of this end of a ring, took them and was killed before it had read the bytes.
    Lost {
        /// How many had arrived here, and were closed. At least one more was lost before it arrived;
        /// the kernel does not say how many (`MSG_CTRUNC`).
        arrived: usize,
        /// How many bytes came with them.
        bytes: usize,
    },
    /// Descriptors came that belong to no bytes: whoever sent them was killed before it had sent the bytes. They were closed.
    /// What others send through copies of that end goes on arriving. Only the ring engine has it; a socket takes both at once.
    Orphaned {
        /// How many there were.
        count: usize,
    },
    /// Descriptors came to an end that refuses them, from before it did or on a kernel that cannot
    /// refuse. They were closed; the bytes wait for the next receive.
    Refused {
        /// How many had arrived, and were closed.
        arrived: usize,
        /// How many bytes came with them.
        bytes: usize,
    },
}

impl fmt::Display for FdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooMany { given, limit } => {
                write!(f, "{given} descriptors in one call, where the kernel carries {limit}")
            }
            Self::NoBytes { given } => write!(
                f,
                "{given} descriptors with 0 bytes: on a stream descriptors travel with at least 1"
            ),
            Self::OverItself { index } => write!(
                f,
                "descriptor {index} of those given is an end of the very pair it would be sent over"
            ),
            Self::TakenOut { index } => {
                write!(f, "descriptor {index} was taken out of the value while it was being sent")
            }
            Self::Waiting { count, bytes } => write!(
                f,
                "descriptors ({count}) came with the next bytes ({bytes}): take both with recv_fds"
            ),
            Self::Lost { arrived, bytes } => write!(
                f,
                "at least {} descriptors were lost: {arrived} arrived and were closed, and the \
                 kernel could not deliver the rest (is the descriptor table full?); the {bytes} \
                 bytes that came with them can be read",
                arrived + 1
            ),
            Self::Orphaned { count } => write!(
                f,
                "{count} descriptors came without bytes and were closed: whoever sent them was killed \
                 before it had sent the bytes"
            ),
            Self::Refused { arrived, bytes } => write!(
                f,
                "{arrived} descriptors came to an end that refuses them and were closed; the \
                 {bytes} bytes that came with them can be read"
            ),
        }
    }
}

impl error::Error for FdError {}

impl From<FdError> for io::Error {
    fn from(error: FdError) -> Self {
        let kind = match error {
            FdError::TooMany { .. } | FdError::NoBytes { .. } | FdError::OverItself { .. } => {
                io::ErrorKind::InvalidInput
            }
            FdError::Waiting { .. } | FdError::Refused { .. } => io::ErrorKind::InvalidData,
            FdError::Lost { .. } | FdError::Orphaned { .. } | FdError::TakenOut { .. } => {
                io::ErrorKind::Other
            }
        };
        Self::new(kind, error)
    }
}
