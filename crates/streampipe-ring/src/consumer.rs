use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::position::advanced;
use crate::producer::later;
use crate::{Arm, Capacity, Corrupt, Sleep, View, Waitpoint, Word};

/// The reading side of a ring.
#[derive(Clone, Debug)]
pub struct Consumer {
    capacity: u64,
    /// How much has been read and published.
    head: u64,
    /// How far the peer was seen to have written.
    tail: u64,
    /// How much had been read when it was last looked whether the peer sleeps.
    told: u64,
    /// How many batches of descriptors the peer had sent when it was looked.
    batches: u64,
    taken: u64,
}

impl Consumer {
    /// Of an empty ring.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity: capacity.bytes(), head: 0, tail: 0, told: 0, batches: 0, taken: 0 }
    }

    /// Where the next byte is.
    #[inline]
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// How much there is to read, as far as was seen before.
    #[inline]
    #[must_use]
    pub fn known(&self) -> u64 {
        self.tail.wrapping_sub(self.head)
    }

    /// How much there is to read; looks at the peer's word if less than wanted, or nothing, was known to be there.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Tail`].
    #[inline]
    pub fn available<W: Word>(&mut self, wanted: u64, view: &View<'_, W>) -> Result<u64, Corrupt> {
        if self.known() < wanted.max(1) {
            self.look(view)?;
        }
        Ok(self.known())
    }

    /// Looks how far the peer has written.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Tail`].
    #[inline]
    pub fn look<W: Word>(&mut self, view: &View<'_, W>) -> Result<(), Corrupt> {
        // Acquire: the bytes up to there are there.
        let claimed = view.peer.tail.load(Acquire);
        let limit = self.head.wrapping_add(self.capacity);
        if advanced(self.tail, claimed, limit).is_none() {
            return Err(Corrupt::Tail { claimed, possible: (self.tail, limit) });
        }
        self.tail = claimed;
        // Noted before the bytes: those of all bytes up to there are counted. Not looked at for each read, for the line
        // is the one that the peer writes for each write.
        self.batches = view.peer.batches.load(Acquire);
        Ok(())
    }

    /// Gives so many bytes back, no more than are available, which were copied or are not wanted; says whom to wake.
    ///
    /// Behind a fence, which is what looking costs, it looks only when all that was seen is read, or an eighth of the ring
    /// since the last time, or where a look without one, which may be late, says that somebody sleeps. So a writer that
    /// lacks less than an eighth may be woken late, by the reading that follows.
    #[inline]
    pub fn release<W: Word>(&mut self, bytes: u64, view: &View<'_, W>) -> Option<Sleep> {
        debug_assert!(bytes <= self.tail.wrapping_sub(self.head));
        self.head = self.head.wrapping_add(bytes);
        view.own.head.store(self.head, Release);
        let untold = self.head.wrapping_sub(self.told);
        let must_look = self.head == self.tail || untold >= self.capacity / 8;
        // Possibly: it may have left that bed for another, and been told by nobody.
        if !must_look && self.sleeper(view).is_none() {
            return None;
        }
        W::fence();
        // Really: whoever sleeps by a word that is not seen here sees this head.
        let woken = self.sleeper(view);
        self.told = self.head;
        woken
    }

    /// Who waits for what was read since the last look.
    #[inline]
    fn sleeper<W: Word>(&self, view: &View<'_, W>) -> Option<Sleep> {
        Arm::woken(view.peer.space_arm.load(Relaxed), self.told, self.head)
    }

    /// How many batches of descriptors the peer has sent that were not taken, as far as was seen.
    #[inline]
    #[must_use]
    pub fn batches_left(&self) -> u64 {
        self.batches.wrapping_sub(self.taken)
    }

    /// Whether the peer has sent batches that were not taken, as it claims now.
    #[must_use]
    pub fn is_batch_due<W: Word>(&self, view: &View<'_, W>) -> bool {
        view.peer.batches.load(Relaxed) != self.taken
    }

    /// Where the next batch belongs, as the peer claims, if there is one.
    #[must_use]
    pub fn next_mark<W: Word>(&self, view: &View<'_, W>) -> Option<u64> {
        let places = view.peer.marks.len() as u64;
        (self.batches_left() > 0)
            .then(|| view.peer.marks[(self.taken % places) as usize].load(Relaxed))
    }

    /// How many batches of descriptors were taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Notes that a batch of descriptors was taken.
    pub fn note_taken<W: Word>(&mut self, view: &View<'_, W>) {
        self.taken = self.taken.wrapping_add(1);
        view.own.taken.store(self.taken, Relaxed);
    }

    /// What to wait for until there is something to read.
    #[must_use]
    pub fn waitpoint(&self) -> Waitpoint {
        Waitpoint { seen: self.tail, by: 1 }
    }

    /// Says that this side, which has read all it has seen, is about to sleep until there is more. Whoever calls it looks
    /// once more before it sleeps.
    pub fn arm<W: Word>(&self, sleep: Sleep, view: &View<'_, W>) {
        view.own.data_arm.store(Arm { at: self.tail, sleep }.to_word(), Relaxed);
        W::fence();
    }

    /// Whether another process, which has a copy of this end, has read since: a hint, for the peer can write that word.
    #[inline]
    #[must_use]
    pub fn is_left_behind<W: Word>(&self, view: &View<'_, W>) -> bool {
        view.own.head.load(Relaxed) != self.head || view.own.taken.load(Relaxed) != self.taken
    }

    /// Goes on where another process stopped that had a copy of this end: from what it published.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Tail`].
    pub fn resume<W: Word>(&mut self, view: &View<'_, W>) -> Result<(), Corrupt> {
        let published = view.own.head.load(Acquire);
        let claimed = view.peer.tail.load(Acquire);
        let head = later(self.head, published);
        if claimed.wrapping_sub(head) > self.capacity {
            let possible = (head, head.wrapping_add(self.capacity));
            return Err(Corrupt::Tail { claimed, possible });
        }
        self.taken = later(self.taken, view.own.taken.load(Relaxed));
        self.batches = view.peer.batches.load(Acquire);
        (self.head, self.tail) = (head, claimed);
        // The other process may have given back nearly an eighth without a look: the next release looks for it, too.
        self.told = head.wrapping_sub(self.capacity / 8);
        Ok(())
    }
}
