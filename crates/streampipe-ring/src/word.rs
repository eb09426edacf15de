use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A shared word.
///
/// A trait so that the same code runs on a model of memory (`tests/it/wake.rs`), on one that lacks a fence, and on one
/// whose writer is hostile and changes it between any two loads.
pub trait Word {
    /// Loads it.
    fn load(&self, ordering: Ordering) -> u64;
    /// Stores it.
    fn store(&self, value: u64, ordering: Ordering);
    /// Sets bits in it: for the words that several handles of one end write.
    fn set_bits(&self, bits: u64, ordering: Ordering);
    /// Adds to it: as [`set_bits`](Self::set_bits).
    fn add(&self, more: u64, ordering: Ordering);
    /// The full fence between a store of ours and a load of theirs.
    fn fence();
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, ordering: Ordering) -> u64 {
        Self::load(self, ordering)
    }

    #[inline]
    fn store(&self, value: u64, ordering: Ordering) {
        Self::store(self, value, ordering);
    }

    #[inline]
    fn set_bits(&self, bits: u64, ordering: Ordering) {
        self.fetch_or(bits, ordering);
    }

    #[inline]
    fn add(&self, more: u64, ordering: Ordering) {
        self.fetch_add(more, ordering);
    }

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }
}
