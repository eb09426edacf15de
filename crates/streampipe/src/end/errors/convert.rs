use std::os::fd::OwnedFd;
use std::{error, fmt, io};

/// A descriptor that is not the end it should become; gives the descriptor back.
///
/// # Examples
///
/// ```
/// use std::os::fd::OwnedFd;
/// use streampipe::{SeqPacket, Stream};
///
/// let (a, _b) = SeqPacket::pair()?;
/// let error = Stream::try_from(OwnedFd::from(a)).unwrap_err();
/// assert!(error.to_string().contains("SOCK_STREAM"));
/// let a = SeqPacket::try_from(error.into_fd()).expect("what it was before");
/// # drop(a);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ConvertError {
    fd: OwnedFd,
    wanted: &'static str,
    found: String,
}

impl ConvertError {
    pub(in crate::end) fn new(fd: OwnedFd, wanted: &'static str, found: String) -> Self {
        Self { fd, wanted, found }
    }

    /// Takes the descriptor back, untouched.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl fmt::Debug for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertError")
            .field("fd", &self.fd)
            .field("wanted", &self.wanted)
            .field("found", &self.found)
            .finish()
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an AF_LOCAL socket of type {}: {}", self.wanted, self.found)
    }
}

impl error::Error for ConvertError {}

/// Keeps it, with the descriptor, inside of the error.
impl From<ConvertError> for io::Error {
    fn from(error: ConvertError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
