use core::{error, fmt};

/// Bytes that no peer that follows the protocol sends. Where the next frame begins is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A frame does not begin with the magic number and the version of this protocol.
    Magic {
        /// The three bytes there are in its place.
        found: [u8; 3],
    },
    /// A kind or a flag that does not exist.
    Unknown {
        /// The byte of the kind.
        kind: u8,
        /// The flags.
        flags: u16,
    },
    /// Counts in one header that cannot be.
    Counts {
        /// How many payload bytes the frame claims.
        length: u32,
        /// How many descriptors the frame claims.
        fds: u16,
        /// How many payload bytes it says are still to come.
        rest: u64,
        /// How many descriptors it says are still to come.
        rest_fds: u32,
    },
    /// A frame that is not the one that had to come next.
    Sequence {
        /// How many payload bytes of the message were still to come, before this frame.
        due: u64,
        /// How many payload bytes this frame brings and leaves.
        found: u64,
        /// How many descriptors of the message were still to come, before this frame.
        due_fds: u32,
        /// How many descriptors this frame brings and leaves.
        found_fds: u32,
    },
    /// A packet that is longer or shorter than its header says.
    Length {
        /// How long its header says the packet is.
        claimed: u64,
        /// How long it is.
        packet: u64,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic { found: [a, b, c] } => {
                write!(f, "no frame of version 1: it begins with {a:02x} {b:02x} {c:02x}")
            }
            Self::Unknown { kind, flags } => {
                write!(f, "a frame of kind {kind} with flags {flags:#x}: unknown")
            }
            Self::Counts { length, fds, rest, rest_fds } => write!(
                f,
                "a frame that cannot be: {length} bytes and {fds} descriptors, and {rest} bytes \
                 and {rest_fds} descriptors to come"
            ),
            Self::Sequence { due, found, due_fds, found_fds } => write!(
                f,
                "a frame out of turn: {due} bytes and {due_fds} descriptors were due, it speaks of \
                 {found} bytes and {found_fds} descriptors"
            ),
            Self::Length { claimed, packet } => {
                write!(f, "a packet of {packet} bytes whose header says {claimed}")
            }
        }
    }
}

impl error::Error for Malformed {}
