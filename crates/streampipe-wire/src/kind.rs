/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message that expects no answer.
    Message,
    /// A message that expects an answer with the same id.
    Request,
    /// The answer to the request of that id.
    Answer,
    /// There will be no answer to the request of that id.
    NoAnswer,
    /// The message that was begun, and all that was sent of it, is withdrawn.
    Withdrawal,
}

impl Kind {
    #[inline]
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::Request => 2,
            Self::Answer => 3,
            Self::NoAnswer => 4,
            Self::Withdrawal => 5,
        }
    }

    #[inline]
    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Message),
            2 => Some(Self::Request),
            3 => Some(Self::Answer),
            4 => Some(Self::NoAnswer),
            5 => Some(Self::Withdrawal),
            _ => None,
        }
    }
}
