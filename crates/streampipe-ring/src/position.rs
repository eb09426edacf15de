//! Arithmetic on positions that wrap: for `u64`, in use, and for `u8`, where a test can try all there are.

/// A count of bytes, modulo a power of two.
pub trait Position: Copy + Eq + Ord {
    /// One byte.
    const ONE: Self;
    /// Further by so many bytes.
    #[must_use]
    fn plus(self, bytes: Self) -> Self;
    /// The distance from there to here.
    #[must_use]
    fn minus(self, other: Self) -> Self;
}

macro_rules! position {
    ($($number:ty),*) => {$(
        impl Position for $number {
            const ONE: Self = 1;

            #[inline]
            fn plus(self, bytes: Self) -> Self {
                self.wrapping_add(bytes)
            }

            #[inline]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    )*};
}

position!(u8, u64);

/// Whether going from `old` to `new` passes `at`: `old <= at < new`.
///
/// Somebody who waits until there is more than `at` is woken by exactly one of several steps.
#[inline]
pub fn crossed<P: Position>(at: P, old: P, new: P) -> bool {
    new.minus(at).minus(P::ONE) < new.minus(old)
}

/// How far `new` is beyond `seen`, if it is between `seen` and `limit`; `None` for anything else.
///
/// The one check of a position that a peer claims: it neither goes back nor beyond what it can be.
#[inline]
pub fn advanced<P: Position>(seen: P, new: P, limit: P) -> Option<P> {
    let by = new.minus(seen);
    (by <= limit.minus(seen)).then_some(by)
}
