use core::sync::atomic::Ordering::Relaxed;

use crate::{Arm, Sleep, View, Word};

/// What else than a position somebody who waits wants to hear of. All of it are hints, taken without a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    ended: u64,
    closings: u64,
}

impl Outlook {
    /// How it looks now.
    #[inline]
    #[must_use]
    pub fn of<W: Word>(view: &View<'_, W>) -> Self {
        Self { ended: view.peer.ended.load(Relaxed), closings: view.peer.closings.load(Relaxed) }
    }

    /// Whether the peer has ended a half since.
    #[inline]
    #[must_use]
    pub fn has_ended_since<W: Word>(self, view: &View<'_, W>) -> bool {
        view.peer.ended.load(Relaxed) != self.ended
    }

    /// Whether the peer has closed a handle since.
    #[inline]
    #[must_use]
    pub fn has_closed_since<W: Word>(self, view: &View<'_, W>) -> bool {
        view.peer.closings.load(Relaxed) != self.closings
    }
}

impl<W: Word> View<'_, W> {
    /// Whether there is something to read, by the published positions.
    #[must_use]
    pub fn has_something(&self) -> bool {
        self.peer.tail.load(Relaxed) != self.own.head.load(Relaxed)
    }

    /// Whether this end's reader waits at the lifeline, or did when it last waited.
    #[must_use]
    pub fn has_reader_at_lifeline(&self) -> bool {
        waits_at_lifeline(self.own.data_arm)
    }

    /// Whether this end's writer does, or did.
    #[must_use]
    pub fn has_writer_at_lifeline(&self) -> bool {
        waits_at_lifeline(self.own.space_arm)
    }

    /// Whether somebody waits at the lifeline for something to read, and could go on.
    #[must_use]
    pub fn is_reader_due(&self) -> bool {
        let has_more = self.has_something() || self.peer.ended.load(Relaxed) != 0;
        self.has_reader_at_lifeline() && has_more
    }

    /// Whether somebody waits at the lifeline for room, and could go on.
    #[must_use]
    pub fn is_writer_due(&self, capacity: u64) -> bool {
        let used = self.own.tail.load(Relaxed).wrapping_sub(self.peer.head.load(Relaxed));
        let has_room = used < capacity || self.peer.ended.load(Relaxed) != 0;
        self.has_writer_at_lifeline() && has_room
    }

    /// Whether the peer claims to have written more than this.
    #[must_use]
    pub fn has_written_beyond(&self, position: u64) -> bool {
        let beyond = self.peer.tail.load(Relaxed).wrapping_sub(position);
        beyond != 0 && beyond < 1 << 63
    }

    /// Whether the peer, which will read no more, has read all that was written up to a position, as far as it told; all that
    /// was written at all, if there is none.
    #[must_use]
    pub fn is_all_read(&self, up_to: Option<u64>) -> bool {
        let (written, read) = (self.own.tail.load(Relaxed), self.peer.head.load(Relaxed));
        written == read || up_to.is_some_and(|position| read.wrapping_sub(position) < 1 << 63)
    }

    /// Says on which processor this end is, as far as it knows.
    pub fn show_processor(&self, number: Option<u32>) {
        self.own.processor.store(number.map_or(0, |number| u64::from(number) + 1), Relaxed);
    }

    /// Whether the peer, when it last waited, was on the processor that this end showed.
    #[must_use]
    pub fn is_on_one_processor(&self) -> bool {
        let shown = self.own.processor.load(Relaxed);
        shown != 0 && self.peer.processor.load(Relaxed) == shown
    }

    /// Whether the peer, when it last waited, was on another processor than the one that this end showed.
    #[must_use]
    pub fn is_on_two_processors(&self) -> bool {
        let (own, peer) = (self.own.processor.load(Relaxed), self.peer.processor.load(Relaxed));
        own != 0 && peer != 0 && own != peer
    }
}

fn waits_at_lifeline<W: Word>(word: &W) -> bool {
    Arm::from_word(word.load(Relaxed)).is_some_and(|arm| arm.sleep == Sleep::AtLifeline)
}
