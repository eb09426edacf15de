/// How a handle of a ring waits before it sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Stays awake for as long as that has been worth it lately: at most 50 us, and not at all where the peer was last on
    /// the same processor.
    ///
    /// It does not count busy threads. Where these leave the peer no processor, five waits in vain (100 us in all) end it:
    /// then it sleeps at once, and every 64th wait tries again.
    #[default]
    Adaptive,
    /// Never sleeps: the lowest latency, at the price of a processor. With fewer processors than busy threads it is the
    /// slowest of all.
    Spin,
    /// Sleeps at once: no processor time, and a wake-up, 2 to 60 us, for each wait.
    Block,
}

impl Wait {
    pub(crate) fn to_number(self) -> u8 {
        match self {
            Self::Adaptive => 0,
            Self::Spin => 1,
            Self::Block => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Spin,
            2 => Self::Block,
            _ => Self::Adaptive,
        }
    }
}
