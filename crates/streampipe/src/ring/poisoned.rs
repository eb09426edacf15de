use std::{error, fmt, io};

use streampipe_ring::{Corrupt, Overrun};
use streampipe_wire::BadNote;

/// The peer of a ring broke its rules: nothing it says is believed any more, and the end is of no use.
///
/// Inside the [`io::Error`] of every later call, of kind `InvalidData`. What it had written before was read if it was read
/// before. An honest peer never causes it, whenever it is killed; two processes that use copies of one end at the same time
/// do.
///
/// # Examples
///
/// ```
/// let error = std::io::Error::from(streampipe::Poisoned::LifelineCut);
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
/// assert!(error.get_ref().unwrap().is::<streampipe::Poisoned>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Poisoned {
    /// A position that cannot be.
    Position(Corrupt),
    /// A step of this end's own that is larger than what the positions allow.
    Step(Overrun),
    /// Something over the lifeline that is no note.
    Note(BadNote),
    /// A note in pieces, which an honest peer never sends.
    LifelineCut,
    /// A note out of place: a second memory.
    UnexpectedNote,
    /// Descriptors that came without their note, or not as many as it says.
    Fds {
        /// How many the note says.
        due: usize,
        /// How many came.
        came: usize,
    },
    /// Descriptors that were announced and not sent.
    FdsMissing {
        /// How many batches are missing.
        batches: u64,
    },
    /// Descriptors for a position that was read already, or cannot be yet.
    FdsMisplaced {
        /// The position.
        at: u64,
        /// What has been read.
        head: u64,
    },
}

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer broke the rules of the ring: ")?;
        match self {
            Self::Position(corrupt) => corrupt.fmt(f),
            Self::Step(overrun) => overrun.fmt(f),
            Self::Note(bad) => bad.fmt(f),
            Self::LifelineCut => f.write_str("a note came in pieces"),
            Self::UnexpectedNote => f.write_str("a note out of place"),
            Self::Fds { due, came } => write!(f, "{due} descriptors were due, and {came} came"),
            Self::FdsMissing { batches } => {
                write!(f, "{batches} batches of descriptors were announced and not sent")
            }
            Self::FdsMisplaced { at, head } => {
                write!(f, "descriptors for byte {at}, when {head} had been read")
            }
        }
    }
}

impl error::Error for Poisoned {}

impl From<Corrupt> for Poisoned {
    fn from(corrupt: Corrupt) -> Self {
        Self::Position(corrupt)
    }
}

impl From<Overrun> for Poisoned {
    fn from(overrun: Overrun) -> Self {
        Self::Step(overrun)
    }
}

impl From<Poisoned> for io::Error {
    fn from(poisoned: Poisoned) -> Self {
        Self::new(io::ErrorKind::InvalidData, poisoned)
    }
}
