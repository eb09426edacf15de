//! An allocator that counts: for tests of other crates, too, which have no `unsafe`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    /// Whether this thread's calls count: the test harness has threads of its own.
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, which counts.
pub(crate) struct Counting {
    calls: AtomicUsize,
    bytes: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    pub(crate) const fn new() -> Self {
        Self { calls: AtomicUsize::new(0), bytes: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// From now on, this thread's calls count.
    pub(crate) fn count_this_thread(&self) {
        COUNTS.set(true);
    }

    /// How often memory was asked for, by threads that count.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    /// How many bytes are in use, by all threads.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// The most bytes in use since this was last called.
    pub(crate) fn take_peak(&self) -> usize {
        self.peak.swap(self.bytes(), Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.calls.fetch_add(usize::from(COUNTS.get()), Relaxed);
        let now = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(now, Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same there.
        unsafe { System.alloc_zeroed(layout) }
    }

    /// Counted as if both were there for a moment, as they are if the memory moves.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.add(size);
        self.remove(layout.size());
        // SAFETY: the pointer came from one of these, and so from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.remove(layout.size());
        // SAFETY: the pointer came from one of these, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
