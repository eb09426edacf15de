use core::sync::atomic::Ordering::Relaxed;

use crate::Word;

/// What somebody who waits has seen, so that it notices news.
///
/// A hint, taken without a fence: what it says is looked at again, with all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waitpoint {
    /// The peer's position when it was looked at.
    pub(crate) seen: u64,
    /// How much further it must be.
    pub(crate) by: u64,
}

impl Waitpoint {
    /// Whether the peer's position is as far as it must be.
    #[inline]
    #[must_use]
    pub fn is_reached<W: Word>(self, position: &W) -> bool {
        position.load(Relaxed).wrapping_sub(self.seen) >= self.by
    }

    /// How far the peer's position is beyond where it was.
    #[inline]
    #[must_use]
    pub fn passed_by<W: Word>(self, position: &W) -> u64 {
        position.load(Relaxed).wrapping_sub(self.seen)
    }

    /// Where the peer was.
    #[inline]
    #[must_use]
    pub fn position(self) -> u64 {
        self.seen
    }

    /// What a futex of the position must still hold for somebody to sleep on it: the low half.
    #[must_use]
    pub fn low_half(self) -> u32 {
        self.seen as u32
    }
}
