/// The shared words that one end writes.
#[derive(Debug)]
pub struct Words<'memory, W> {
    /// How many bytes it has written to its outgoing ring.
    pub tail: &'memory W,
    /// How many batches of descriptors it has sent beside them.
    pub batches: &'memory W,
    /// How many notes with descriptors it has begun to send: more than there are batches where a sender was killed between.
    pub notes: &'memory W,
    /// How many bytes it has read from its incoming ring.
    pub head: &'memory W,
    /// How many batches of descriptors it has taken.
    pub taken: &'memory W,
    /// How many there were when it took the last one that goes with bytes: if it is killed before it has read these, the
    /// descriptors are lost. One that was refused and closed is not counted.
    pub handed: &'memory W,
    /// Which of its halves it has ended ([`Half`](crate::Half)).
    pub ended: &'memory W,
    /// How often a handle of it was closed: a hint to look at the lifeline, which knows.
    pub closings: &'memory W,
    /// What its sleeping reader waits for ([`Arm`](crate::Arm)).
    pub data_arm: &'memory W,
    /// What its sleeping writer waits for.
    pub space_arm: &'memory W,
    /// Where the batches belong ([`Mark`](crate::Mark)): that of number `n` is in place `n` modulo how many places there are.
    pub marks: &'memory [W],
    /// On which processor it was when it last waited, plus 1.
    pub processor: &'memory W,
}

impl<W> Clone for Words<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Words<'_, W> {}

/// The words of both ends, as one of them sees them.
#[derive(Debug)]
pub struct View<'memory, W> {
    /// Those that this end writes.
    pub own: Words<'memory, W>,
    /// Those that the peer writes, and may write anything into.
    pub peer: Words<'memory, W>,
}

impl<W> Clone for View<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for View<'_, W> {}

/// Where a batch of descriptors belongs, and the number of the note that carries it.
///
/// In its word, the position is modulo 2^48 in the high bits, the number in the lowest 16. Number 0 is no note's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position of the first byte the batch was sent with, modulo 2^48.
    at: u64,
    /// The number of its note.
    pub number: u16,
}

impl Mark {
    /// At a position, for the note with this number.
    #[must_use]
    pub fn new(position: u64, number: u16) -> Self {
        Self { at: position << 16 >> 16, number }
    }

    /// What goes into the word.
    #[must_use]
    pub fn to_word(self) -> u64 {
        self.at << 16 | u64::from(self.number)
    }

    /// What the word says.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        Self { at: word >> 16, number: word as u16 }
    }

    /// How far it is beyond a position, modulo 2^48.
    #[must_use]
    pub fn beyond(self, position: u64) -> u64 {
        self.at.wrapping_sub(position) << 16 >> 16
    }
}

/// The number of the note that is sent after so many others: 1 to 65,535, and from the start again.
pub(crate) fn number_after(notes: u64) -> u16 {
    const NUMBERS: u64 = u16::MAX as u64;
    (notes % NUMBERS) as u16 + 1
}
