use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::position::advanced;
use crate::words::number_after;
use crate::{Arm, Capacity, Corrupt, Mark, Overrun, Sleep, View, Waitpoint, Word};

/// The writing side of a ring.
#[derive(Clone, Debug)]
pub struct Producer {
    capacity: u64,
    /// How much has been written and published.
    tail: u64,
    /// How far the peer was seen to have read.
    head: u64,
    batches: u64,
    /// How many notes with descriptors were begun, by whoever has a copy of this end.
    notes: u64,
}

impl Producer {
    /// Of an empty ring.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity: capacity.bytes(), tail: 0, head: 0, batches: 0, notes: 0 }
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
    ///
    /// # Errors
    ///
    /// [`Overrun`] if there are more; nothing is published then.
    #[inline]
    pub fn publish<W: Word>(
        &mut self,
        bytes: u64,
        view: &View<'_, W>,
    ) -> Result<Option<Sleep>, Overrun> {
        if bytes > self.free() {
            return Err(Overrun { bytes, most: self.free() });
        }
        let old = self.tail;
        self.tail = old.wrapping_add(bytes);
        view.own.tail.store(self.tail, Release);
        W::fence();
        Ok(Arm::woken(view.peer.data_arm.load(Relaxed), old, self.tail))
    }

    /// Whether there is a place to note where another batch of descriptors belongs.
    ///
    /// One place is never used: that of the batch that was taken last, at which a fork of the reader may have to look.
    #[must_use]
    pub fn has_room_for_batch<W: Word>(&self, view: &View<'_, W>) -> bool {
        let under_way = self.batches.wrapping_sub(view.peer.taken.load(Relaxed));
        under_way < view.own.marks.len() as u64 - 1
    }

    /// Takes the number of the note that is sent next, before it is sent.
    ///
    /// A sender that is killed behind that leaves a note that no mark names. Whoever goes on has the next number, so that the
    /// reader can tell the two apart. If the note cannot be sent, [`cancel_note`](Self::cancel_note) gives its number back.
    pub fn begin_note<W: Word>(&mut self, view: &View<'_, W>) -> u16 {
        self.notes = later(self.notes, view.own.notes.load(Relaxed));
        // Behind this store is a system call: who hears of our death sees it.
        view.own.notes.store(self.notes.wrapping_add(1), Release);
        number_after(self.notes)
    }

    /// Gives back the number of the note that was begun and was not sent.
    ///
    /// Else each attempt would take one while there is no room for the note, and after 65,535 attempts a note that nobody
    /// announced would have the number of one that was.
    pub fn cancel_note<W: Word>(&mut self, view: &View<'_, W>) {
        view.own.notes.store(self.notes, Release);
    }

    /// Notes that the bytes published next have the descriptors of the note that was begun and has been sent: whoever sees
    /// this finds them.
    #[inline]
    pub fn note_batch<W: Word>(&mut self, view: &View<'_, W>) {
        let mark = Mark::new(self.tail, number_after(self.notes));
        view.own.marks[place(self.batches, view)].store(mark.to_word(), Relaxed);
        self.notes = self.notes.wrapping_add(1);
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

    /// Whether another process, which has a copy of this end, has written since, or was killed before it had: a hint, for
    /// the peer can write these words.
    #[inline]
    #[must_use]
    pub fn is_left_behind<W: Word>(&self, view: &View<'_, W>) -> bool {
        view.own.tail.load(Relaxed) != self.tail || view.own.batches.load(Relaxed) != self.batches
    }

    /// Goes on where another process stopped that had a copy of this end: from what it published. Says whom to wake, for
    /// the other one may have been killed before it did.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Head`]; nothing is changed then.
    pub fn resume<W: Word>(&mut self, view: &View<'_, W>) -> Result<Option<Sleep>, Corrupt> {
        let published = view.own.tail.load(Acquire);
        let claimed = view.peer.head.load(Acquire);
        let tail = later(self.tail, published);
        let least = later(self.head, tail.wrapping_sub(self.capacity));
        if advanced(least, claimed, tail).is_none() {
            return Err(Corrupt::Head { claimed, possible: (least, tail) });
        }
        self.batches = later(self.batches, view.own.batches.load(Relaxed));
        (self.tail, self.head) = (tail, claimed);
        self.take_back_batch(view);
        W::fence();
        let arm = view.peer.data_arm.load(Relaxed);
        Ok(Arm::woken(arm, tail.wrapping_sub(self.capacity), tail))
    }

    /// Takes back the last batch if its bytes were not published: who noted it was killed between, and nobody is to get its
    /// descriptors with other bytes.
    ///
    /// The peer has not taken it, for it looks at marks only of bytes that it has seen.
    fn take_back_batch<W: Word>(&mut self, view: &View<'_, W>) {
        let places = view.own.marks.len() as u64;
        let under_way = self.batches.wrapping_sub(view.peer.taken.load(Relaxed));
        if under_way == 0 || under_way > places {
            return;
        }
        let last = self.batches.wrapping_sub(1);
        let mark = Mark::from_word(view.own.marks[place(last, view)].load(Relaxed));
        if mark.beyond(self.tail) == 0 {
            self.batches = last;
            view.own.batches.store(last, Release);
        }
    }
}

/// Where the mark of a batch of this end's is.
fn place<W>(batch: u64, view: &View<'_, W>) -> usize {
    (batch % view.own.marks.len() as u64) as usize
}

/// The one that is ahead.
pub(crate) fn later(one: u64, other: u64) -> u64 {
    if other.wrapping_sub(one) < 1 << 63 { other } else { one }
}
