use crate::position;

/// Where somebody sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// In `futex(2)`, on the low half of the position it waits for.
    OnFutex,
    /// In a poll of the lifeline: a doorbell wakes it.
    AtLifeline,
}

/// What somebody waits for: a position to be passed, and where it sleeps meanwhile.
///
/// In its word, the position is modulo 2^62 and the place is in the lowest two bits; 0 there is nobody, and so is 3, which
/// nobody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// It is woken by the step that goes from this or less to more.
    pub at: u64,
    /// Where it sleeps.
    pub sleep: Sleep,
}

impl Arm {
    /// What goes into the word.
    #[inline]
    #[must_use]
    pub fn to_word(self) -> u64 {
        let place = match self.sleep {
            Sleep::OnFutex => 1,
            Sleep::AtLifeline => 2,
        };
        self.at << 2 | place
    }

    /// What the word says; `None` if nobody sleeps.
    #[inline]
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let sleep = match word & 3 {
            1 => Sleep::OnFutex,
            2 => Sleep::AtLifeline,
            _ => return None,
        };
        Some(Self { at: word >> 2, sleep })
    }

    /// Whom going from `old` to `new` wakes, by the sleeper's word.
    #[inline]
    pub(crate) fn woken(word: u64, old: u64, new: u64) -> Option<Sleep> {
        let arm = Self::from_word(word)?;
        // All modulo 2^62, as `at` is.
        position::crossed(arm.at << 2, old << 2, new << 2).then_some(arm.sleep)
    }
}
