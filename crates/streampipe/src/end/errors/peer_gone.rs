use std::{error, fmt, io};

/// The process at the other end has ended, while somebody else keeps its end open.
///
/// Inside the [`io::Error`] of a read or write that would have waited for it, of kind
/// `ConnectionAborted`. What the process had queued was delivered before. A peer that *closed* is told
/// otherwise: by 0 bytes to a reader, by `BrokenPipe` to a writer. To tell the two apart takes 80 ms after
/// the death, and longer while this process is starting another program, which has a copy until it
/// executes. Meanwhile a handle that does not wait says `WouldBlock`.
///
/// A call that reads on and on (`read_to_end`, `read_exact`) stops behind what was queued when the
/// process was known to be gone, whoever goes on writing.
///
/// Known of the other end of a [`Child`](crate::Child) and of a [`fork`](crate::fork()), and of a
/// [`Worker`](crate::Worker).
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use streampipe::PeerGone;
///
/// // The shell leaves a process behind that holds its end, which would keep a reader waiting.
/// let mut child = streampipe::Command::new("sh").args(["-c", "sleep 5 & exit 3"]).spawn()?;
/// let error = child.stream().read(&mut [0; 64]).unwrap_err();
/// assert!(error.get_ref().unwrap().is::<PeerGone>());
/// assert_eq!(child.wait()?.code(), Some(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerGone {
    /// The process id it had.
    pub id: u32,
}

impl fmt::Display for PeerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        write!(f, "the peer is gone: process {id} has ended, and another process holds its end")
    }
}

impl error::Error for PeerGone {}

impl From<PeerGone> for io::Error {
    fn from(gone: PeerGone) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, gone)
    }
}
