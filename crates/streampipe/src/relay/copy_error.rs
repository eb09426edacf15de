use std::{error, fmt, io};

/// What [`copy_both`](crate::copy_both) could not deliver; inside its [`io::Error`].
///
/// Both directions have ended all the same: the numbers say how far each came.
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use streampipe::CopyError;
///
/// let (mut client, left) = streampipe::pair()?;
/// let (right, server) = streampipe::pair()?;
/// client.write_all(b"nobody reads this")?;
/// client.shutdown(std::net::Shutdown::Write)?;
/// drop(server);
///
/// let error = streampipe::copy_both(&left, &right).unwrap_err();
/// let inside = error.get_ref().unwrap().downcast_ref::<CopyError>().unwrap();
/// assert_eq!((inside.left_to_right, inside.dropped), (0, 17));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CopyError {
    /// Bytes read from the left end and taken by the right one.
    pub left_to_right: u64,
    /// Bytes read from the right end and taken by the left one.
    pub right_to_left: u64,
    /// Bytes that were sent to one of the ends and could not be delivered.
    pub dropped: u64,
    /// Descriptors that were received and could not be delivered; they were closed.
    pub fds_dropped: u64,
    /// The first thing that went wrong.
    pub cause: io::Error,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left_to_right, right_to_left, dropped, fds_dropped, cause } = self;
        write!(
            f,
            "{cause}; {left_to_right} bytes went from left to right and {right_to_left} from right \
             to left, {dropped} bytes and {fds_dropped} descriptors could not be delivered"
        )
    }
}

/// The cause is a part of the text, and no source of its own.
impl error::Error for CopyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.source()
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        Self::new(error.cause.kind(), error)
    }
}
