use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::position::advanced;
use crate::{Arm, Capacity, Corrupt, Sleep, View, Waitpoint, Word};

/// The writing side of a ring.
#[derive(Clone, Debug)]
pub struct Producer {
    capacity: u64,
    /// How much has been written and published.
    tail: u64,
    /// How far the peer was seen to have read.
    head: u64,
    batches: u64,
}

impl Producer {
    /// Of an empty ring.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity: capacity.bytes(), tail: 0, head: 0, batches: 0 }
    }

    /// Where the next byte goes.
    #[inline]
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// How much is free, as far as was seen before.
    #[inline]
    #[must_use]
    pub fn free(&self) -> u64 {
        self.capacity - self.tail.wrapping_sub(self.head)
    }

    /// How much is free; looks at the peer's word if it was less than wanted.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Head`].
    #[inline]
    pub fn space<W: Word>(&mut self, wanted: u64, view: &View<'_, W>) -> Result<u64, Corrupt> {
        if self.free() < wanted {
            self.look(view)?;
        }
        Ok(self.free())
    }

    /// Looks how far the peer has read; says whether that was further than before.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Head`].
    pub fn look<W: Word>(&mut self, view: &View<'_, W>) -> Result<bool, Corrupt> {
        // Acquire: what the peer read is read before it is written over.
        let claimed = view.peer.head.load(Acquire);
        let possible = (self.head, self.tail);
        let by = advanced(self.head, claimed, self.tail);
        let by = by.ok_or(Corrupt::Head { claimed, possible })?;
        self.head = claimed;
        Ok(by > 0)
    }

    /// Publishes bytes that were copied to the [`tail`](Self::tail), no more than are free; says whom to wake.
    #[inline]
    pub fn publish<W: Word>(&mut self, bytes: u64, view: &View<'_, W>) -> Option<Sleep> {
        debug_assert!(bytes <= self.free());
        let old = self.tail;
        self.tail = old.wrapping_add(bytes);
        view.own.tail.store(self.tail, Release);
        W::fence();
        Arm::woken(view.peer.data_arm.load(Relaxed), old, self.tail)
    }

    /// Whether there is a place to note where another batch of descriptors belongs.
    #[must_use]
    pub fn has_room_for_batch<W: Word>(&self, view: &View<'_, W>) -> bool {
        let under_way = self.batches.wrapping_sub(view.peer.taken.load(Relaxed));
        under_way < view.own.marks.len() as u64
    }

    /// Notes that the bytes published next have descriptors, which were sent: whoever sees the note finds them.
    #[inline]
    pub fn note_batch<W: Word>(&mut self, view: &View<'_, W>) {
        let places = view.own.marks.len() as u64;
        view.own.marks[(self.batches % places) as usize].store(self.tail, Relaxed);
        self.batches = self.batches.wrapping_add(1);
        view.own.batches.store(self.batches, Release);
    }

    /// What to wait for until so many bytes are free, but at least a quarter of the ring, as with sockets: else a writer
    /// would be woken for each byte that is read.
    #[must_use]
    pub fn waitpoint(&self, wanted: u64) -> Waitpoint {
        Waitpoint { seen: self.head, by: self.shortage(wanted) }
    }

    fn shortage(&self, wanted: u64) -> u64 {
        let wanted = wanted.clamp(self.capacity / 4, self.capacity);
        wanted.saturating_sub(self.free()).max(1)
    }

    /// Says that this side is about to sleep until there is space, as [`waitpoint`](Self::waitpoint) says. Whoever calls
    /// it looks for space once more before it sleeps.
    pub fn arm<W: Word>(&self, wanted: u64, sleep: Sleep, view: &View<'_, W>) {
        let at = self.head.wrapping_add(self.shortage(wanted)).wrapping_sub(1);
        view.own.space_arm.store(Arm { at, sleep }.to_word(), Relaxed);
        W::fence();
    }

    /// Whether another process, which has a copy of this end, has written since: a hint, for the peer can write that word.
    #[inline]
    #[must_use]
    pub fn is_left_behind<W: Word>(&self, view: &View<'_, W>) -> bool {
        view.own.tail.load(Relaxed) != self.tail
    }

    /// Goes on where another process stopped that had a copy of this end: from what it published.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Head`].
    pub fn resume<W: Word>(&mut self, view: &View<'_, W>) -> Result<(), Corrupt> {
        let published = view.own.tail.load(Acquire);
        let claimed = view.peer.head.load(Acquire);
        let tail = later(self.tail, published);
        if tail.wrapping_sub(claimed) > self.capacity {
            let possible = (tail.wrapping_sub(self.capacity), tail);
            return Err(Corrupt::Head { claimed, possible });
        }
        self.batches = later(self.batches, view.own.batches.load(Relaxed));
        (self.tail, self.head) = (tail, claimed);
        Ok(())
    }
}

/// The one that is ahead.
pub(crate) fn later(one: u64, other: u64) -> u64 {
    if other.wrapping_sub(one) < 1 << 63 { other } else { one }
}
