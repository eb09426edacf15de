use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::position::advanced;
use crate::producer::later;
use crate::{Arm, Capacity, Corrupt, Mark, Overrun, Sleep, View, Waitpoint, Word};

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
    /// Whether the next batch was taken by a process that was killed before it had read the bytes.
    next_is_lost: bool,
}

impl Consumer {
    /// Of an empty ring.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity: capacity.bytes(),
            head: 0,
            tail: 0,
            told: 0,
            batches: 0,
            taken: 0,
            next_is_lost: false,
        }
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
    ///
    /// # Errors
    ///
    /// [`Overrun`] if there are fewer; nothing is given back then.
    #[inline]
    pub fn release<W: Word>(
        &mut self,
        bytes: u64,
        view: &View<'_, W>,
    ) -> Result<Option<Sleep>, Overrun> {
        if bytes > self.known() {
            return Err(Overrun { bytes, most: self.known() });
        }
        Ok(self.advance(bytes, view))
    }

    #[inline]
    fn advance<W: Word>(&mut self, bytes: u64, view: &View<'_, W>) -> Option<Sleep> {
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
    ///
    /// # Errors
    ///
    /// [`Corrupt::Batches`].
    pub fn next_mark<W: Word>(&self, view: &View<'_, W>) -> Result<Option<Mark>, Corrupt> {
        let places = view.peer.marks.len() as u64;
        match self.batches_left() {
            0 => Ok(None),
            left if left > places => {
                let possible = (self.taken, self.taken.wrapping_add(places));
                Err(Corrupt::Batches { claimed: self.batches, possible })
            }
            _ => Ok(Some(mark(self.taken, view))),
        }
    }

    /// Whether the next batch was taken by a process that had a copy of this end and was killed before it had read the bytes
    /// that it belongs to: the descriptors are lost, the bytes are there.
    #[must_use]
    pub fn is_next_lost(&self) -> bool {
        self.next_is_lost
    }

    /// How many batches of descriptors were taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Notes that a batch of descriptors was taken, to be handed over with the bytes that are read next.
    pub fn note_handed<W: Word>(&mut self, view: &View<'_, W>) {
        view.own.handed.store(self.taken.wrapping_add(1), Relaxed);
        self.note_taken(view);
    }

    /// Notes that a batch of descriptors was taken.
    pub fn note_taken<W: Word>(&mut self, view: &View<'_, W>) {
        self.taken = self.taken.wrapping_add(1);
        self.next_is_lost = false;
        // Release: behind what `note_handed` says.
        view.own.taken.store(self.taken, Release);
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

    /// Goes on where another process stopped that had a copy of this end: from what it published. Says whom to wake, for
    /// the other one may have been killed before it did.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Tail`]; nothing is changed then.
    pub fn resume<W: Word>(&mut self, view: &View<'_, W>) -> Result<Option<Sleep>, Corrupt> {
        let published = view.own.head.load(Acquire);
        let claimed = view.peer.tail.load(Acquire);
        let head = later(self.head, published);
        let (least, limit) = (later(self.tail, head), head.wrapping_add(self.capacity));
        if advanced(least, claimed, limit).is_none() {
            return Err(Corrupt::Tail { claimed, possible: (least, limit) });
        }
        self.batches = view.peer.batches.load(Acquire);
        (self.head, self.tail) = (head, claimed);
        self.take_over_taken(view);
        W::fence();
        self.told = head.wrapping_sub(self.capacity);
        let woken = self.sleeper(view);
        self.told = head;
        Ok(woken)
    }

    /// Goes on behind the batches that the other process took; if it was killed before it had read the bytes of the last one,
    /// then in front of that one.
    fn take_over_taken<W: Word>(&mut self, view: &View<'_, W>) {
        // Pairs with the `Release` in `note_taken`.
        let published = later(self.taken, view.own.taken.load(Acquire));
        let last = published.wrapping_sub(1);
        let was_taken_elsewhere = published != self.taken;
        self.next_is_lost = was_taken_elsewhere
            && view.own.handed.load(Relaxed) == published
            && self.batches.wrapping_sub(last) <= view.peer.marks.len() as u64
            && mark(last, view).beyond(self.head) == 0;
        self.taken = if self.next_is_lost { last } else { published };
    }
}

/// The mark of a batch of the peer's.
fn mark<W: Word>(batch: u64, view: &View<'_, W>) -> Mark {
    let place = batch % view.peer.marks.len() as u64;
    Mark::from_word(view.peer.marks[place as usize].load(Relaxed))
}
