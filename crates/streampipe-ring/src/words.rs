/// The shared words that one end writes.
#[derive(Debug)]
pub struct Words<'memory, W> {
    /// How many bytes it has written to its outgoing ring.
    pub tail: &'memory W,
    /// How many batches of descriptors it has sent beside them.
    pub batches: &'memory W,
    /// How many bytes it has read from its incoming ring.
    pub head: &'memory W,
    /// How many batches of descriptors it has taken.
    pub taken: &'memory W,
    /// Which of its halves it has ended ([`Half`](crate::Half)).
    pub ended: &'memory W,
    /// How often a handle of it was closed: a hint to look at the lifeline, which knows.
    pub closings: &'memory W,
    /// What its sleeping reader waits for ([`Arm`](crate::Arm)).
    pub data_arm: &'memory W,
    /// What its sleeping writer waits for.
    pub space_arm: &'memory W,
    /// Where the batches belong: the position of number `n` is in place `n` modulo how many places there are.
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
