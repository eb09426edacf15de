use core::{error, fmt};

/// The bytes ended inside of a frame, or between the frames of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes of the frame there were, its header included; 0 between two frames.
    pub have: u64,
    /// How many bytes the frame has as far as is known: of its header alone, or of all of it.
    pub need: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { have, need } = self;
        write!(f, "the end came inside of a message: {have} of {need} bytes of a frame")
    }
}

impl error::Error for Torn {}
