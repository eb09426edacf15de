use core::fmt;

/// The size of a ring in bytes: a power of two from 4 KiB to 1 GiB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Capacity(u32);

impl Capacity {
    /// 4 KiB, a page.
    pub const LEAST: Self = Self(12);
    /// 1 GiB.
    pub const MOST: Self = Self(30);

    /// The smallest that holds so many bytes; `None` for 0 and for more than the most.
    #[must_use]
    pub fn holding(bytes: usize) -> Option<Self> {
        let power = bytes.checked_next_power_of_two()?.ilog2();
        (bytes > 0 && power <= Self::MOST.0).then(|| Self(power.max(Self::LEAST.0)))
    }

    /// The one with exactly so many bytes, if there is one.
    #[must_use]
    pub fn exactly(bytes: u64) -> Option<Self> {
        let power = bytes.checked_ilog2()?;
        let known = (Self::LEAST.0..=Self::MOST.0).contains(&power);
        (known && bytes.is_power_of_two()).then_some(Self(power))
    }

    /// In bytes.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Debug for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}
