use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::{Arm, Sleep, View, Word, Words};

/// One direction, as the end sees it that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Nothing more will be read.
    Reading,
    /// Nothing more will be written.
    Writing,
}

impl Half {
    #[inline]
    fn bit(self) -> u64 {
        match self {
            Self::Reading => 1,
            Self::Writing => 2,
        }
    }

    /// Whether the end that writes these words has ended this half.
    ///
    /// Positions that are loaded behind this are at least as new: after `Writing`, the last tail there is.
    #[inline]
    pub fn is_ended<W: Word>(self, words: &Words<'_, W>) -> bool {
        words.ended.load(Acquire) & self.bit() != 0
    }
}

/// Who of the peer's side sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleepers {
    /// Its reader.
    pub reader: Option<Sleep>,
    /// Its writer.
    pub writer: Option<Sleep>,
}

impl Sleepers {
    /// Whoever sleeps there, by their own words.
    #[inline]
    #[must_use]
    pub fn of<W: Word>(peer: &Words<'_, W>) -> Self {
        let sleep = |word: &W| Arm::from_word(word.load(Relaxed)).map(|arm| arm.sleep);
        Self { reader: sleep(peer.data_arm), writer: sleep(peer.space_arm) }
    }
}

/// Ends a half, behind all that was published; says whom to wake.
pub fn end<W: Word>(half: Half, view: &View<'_, W>) -> Sleepers {
    view.own.ended.set_bits(half.bit(), Release);
    W::fence();
    Sleepers::of(&view.peer)
}

/// Who of the peer's side sleeps, for whoever tells of an end that was made by somebody who was killed before they had told.
pub fn sleepers<W: Word>(view: &View<'_, W>) -> Sleepers {
    W::fence();
    Sleepers::of(&view.peer)
}

/// Notes that a handle of this end was closed, behind its closing; says who should look whether it was the last.
pub fn note_closing<W: Word>(view: &View<'_, W>) -> Sleepers {
    view.own.closings.add(1, Release);
    W::fence();
    Sleepers::of(&view.peer)
}

/// How often a handle of the peer's was closed. Who looks at the lifeline behind this finds them closed.
#[inline]
pub fn closings<W: Word>(view: &View<'_, W>) -> u64 {
    // Pairs with the `Release` in `note_closing`.
    view.peer.closings.load(Acquire)
}
