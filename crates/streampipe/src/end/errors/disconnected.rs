use std::io;

/// Whether an error of a read or a write says that the peer is gone, in whichever way.
///
/// These are the kinds that say so:
///
/// - `BrokenPipe`: it has closed, or reads no more;
/// - `UnexpectedEof`: it has closed before all came that was to be read (a plain read returns 0);
/// - `ConnectionReset`: it has closed with bytes of ours unread;
/// - `ConnectionAborted`: its process has ended, and somebody else holds its end. [`PeerGone`](crate::PeerGone) is inside.
///
/// Errors of messages have a method of this name, and the same answer after they became an [`io::Error`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// let (mut ours, theirs) = streampipe::pair()?;
/// drop(theirs);
/// assert!(streampipe::is_disconnected(&ours.write(b"anybody?").unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn is_disconnected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}
