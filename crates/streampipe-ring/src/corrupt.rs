use core::{error, fmt};

/// A shared word holds what an honest peer cannot have written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corrupt {
    /// The peer claims to have written to a position that is behind an earlier one, or further than there is room.
    Tail {
        /// The position claimed.
        claimed: u64,
        /// The lowest and the highest that were possible.
        possible: (u64, u64),
    },
    /// The peer claims to have read to a position that is behind an earlier one, or further than was written.
    Head {
        /// The position claimed.
        claimed: u64,
        /// The lowest and the highest that were possible.
        possible: (u64, u64),
    },
    /// The peer claims to have sent fewer batches of descriptors than were taken, or more than there are places for.
    Batches {
        /// How many it claims.
        claimed: u64,
        /// The lowest and the highest that were possible.
        possible: (u64, u64),
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, claimed, what, (least, most)) = match self {
            Self::Tail { claimed, possible } => ("written", claimed, "bytes", possible),
            Self::Head { claimed, possible } => ("read", claimed, "bytes", possible),
            Self::Batches { claimed, possible } => {
                ("sent", claimed, "batches of descriptors", possible)
            }
        };
        write!(
            f,
            "the peer claims to have {verb} {claimed} {what}, which must be {least} to {most}"
        )
    }
}

impl error::Error for Corrupt {}

/// A step of this end that is larger than what is possible: more bytes published than are free, or more given back than are
/// there. It was not taken.
///
/// Callers compute steps from what they were told before, so this says that the accounting of the two differs. In every
/// build it is an error and never a position that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// How many bytes the step has.
    pub bytes: u64,
    /// How many it may have.
    pub most: u64,
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a step of {} bytes, where {} are possible", self.bytes, self.most)
    }
}

impl error::Error for Overrun {}
