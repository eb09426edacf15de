use std::{error, fmt, io};

/// A packet that cannot be handed over as it is; inside the [`io::Error`] of a send or a receive.
///
/// # Examples
///
/// ```
/// use streampipe::{PacketError, SeqPacket};
///
/// let (a, b) = SeqPacket::pair()?;
/// a.send(b"four")?;
/// let error = b.recv(&mut [0; 3]).unwrap_err();
/// let inside = error.get_ref().unwrap().downcast_ref::<PacketError>();
/// assert_eq!(inside, Some(&PacketError::TooLong { packet: 4, buffer: 3, fds_closed: 0 }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// The packet was longer than the buffer. Its start is in the buffer; the rest is gone.
    TooLong {
        /// The packet's length in bytes.
        packet: usize,
        /// The buffer's length in bytes.
        buffer: usize,
        /// How many descriptors came with it, and were closed.
        fds_closed: usize,
    },
    /// A packet that an earlier error left waiting is longer than the buffer. Nothing is lost: it
    /// waits for a larger one, with its descriptors.
    Waiting {
        /// The packet's length in bytes.
        packet: usize,
        /// The buffer's length in bytes.
        buffer: usize,
    },
    /// A packet of 0 bytes, which a reader would take for the end: refused on the way out, and
    /// reported on the way in, where a peer without this library sent it and goes on.
    Empty,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong { packet, buffer, fds_closed: 0 } => {
                write!(f, "packet of {packet} bytes in a buffer of {buffer}: the rest is lost")
            }
            Self::TooLong { packet, buffer, fds_closed } => write!(
                f,
                "packet of {packet} bytes in a buffer of {buffer}: the rest is lost, and \
                 {fds_closed} descriptors were closed"
            ),
            Self::Waiting { packet, buffer } => {
                write!(f, "a packet of {packet} bytes waits for a buffer of more than {buffer}")
            }
            Self::Empty => {
                f.write_str("a packet of 0 bytes would read as the end; send at least 1")
            }
        }
    }
}

impl error::Error for PacketError {}

impl From<PacketError> for io::Error {
    fn from(error: PacketError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
