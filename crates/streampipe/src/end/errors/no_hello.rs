use std::{error, fmt, io};

/// Why a peer's hello was not accepted; inside the [`io::Error`] of
/// [`Stream::recv_hello`](crate::Stream::recv_hello).
///
/// What came can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoHello {
    /// The peer closed before it said anything.
    Ended,
    /// The peer said something else first.
    SomethingElse,
    /// It was said before this end asked for attestation, so nobody vouches for the sender.
    NotAttested,
}

impl fmt::Display for NoHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the peer closed before it said hello",
            Self::SomethingElse => "the peer said something else than hello",
            Self::NotAttested => {
                "the peer said hello, but the kernel does not say who it is: it was said before \
                 this end asked (attest, or Command::expect_hello before the start)"
            }
        })
    }
}

impl error::Error for NoHello {}

impl From<NoHello> for io::Error {
    fn from(reason: NoHello) -> Self {
        let kind = match reason {
            NoHello::Ended => io::ErrorKind::UnexpectedEof,
            NoHello::SomethingElse => io::ErrorKind::InvalidData,
            NoHello::NotAttested => io::ErrorKind::PermissionDenied,
        };
        Self::new(kind, reason)
    }
}
