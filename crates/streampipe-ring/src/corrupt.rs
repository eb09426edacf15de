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
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, claimed, (least, most)) = match self {
            Self::Tail { claimed, possible } => ("written", claimed, possible),
            Self::Head { claimed, possible } => ("read", claimed, possible),
        };
        write!(f, "the peer claims to have {verb} {claimed} bytes, which must be {least} to {most}")
    }
}

impl error::Error for Corrupt {}
