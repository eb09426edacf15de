use std::{error, fmt};

/// A message beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooLarge {
    /// How many payload bytes it has, or says it has.
    pub bytes: u64,
    /// How many it may have.
    pub most_bytes: u64,
    /// How many descriptors it has, or says it has.
    pub fds: u32,
    /// How many it may have.
    pub most_fds: u32,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, most_bytes, fds, most_fds } = self;
        if bytes > most_bytes {
            write!(f, "message of {bytes} bytes exceeds the limit of {most_bytes}")
        } else {
            write!(f, "message with {fds} descriptors exceeds the limit of {most_fds}")
        }
    }
}

impl error::Error for TooLarge {}
