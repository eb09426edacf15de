//! How much memory messages take, counted by the allocator: a target of its own, for all of its tests are counted.

/// The allocator.
#[path = "../../../streampipe-sys/tests/shared/metering.rs"]
mod metering;
/// A process of its own for each test.
#[path = "../it/support.rs"]
mod support;

/// What a peer claims costs nothing.
mod claims;
/// What a channel keeps when it is not used any more.
mod kept;
/// `read_exact` that fails, again and again.
mod read_exact;
/// A channel in steady use.
mod steady;

use metering::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// The bytes that were in use at most while the body ran, beside those before.
pub(crate) fn peak<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.bytes();
    ALLOCATOR.take_peak();
    let done = body();
    (done, ALLOCATOR.take_peak() - before)
}

/// How often memory was asked for while the body ran, by this thread and others that count.
pub(crate) fn allocations(body: impl FnOnce()) -> usize {
    ALLOCATOR.count_this_thread();
    let before = ALLOCATOR.calls();
    body();
    ALLOCATOR.calls() - before
}
