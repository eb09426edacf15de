//! The large buffers that channels keep, and how much they are in all.
//!
//! Nobody tells an idle channel to give its memory back, so there is a bound for all channels of the process together: what
//! was kept first goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::pool::Pool;

/// How many bytes of large buffers all channels of the process keep together.
const ALL: usize = 64 << 20;

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// A large buffer, and in which pool it is. The oldest comes first.
struct Kept {
    pool: Weak<Pool>,
    bytes: usize,
}

/// Notes that a pool keeps a large buffer. Called by the pool while it is locked.
pub(super) fn add(pool: &Arc<Pool>, bytes: usize) {
    lock().push(Kept { pool: Arc::downgrade(pool), bytes });
}

/// Notes that a pool does not keep a large buffer any more.
pub(super) fn remove(pool: &Pool, bytes: usize) {
    let mut kept = lock();
    let is_it = |it: &Kept| it.bytes == bytes && std::ptr::eq(it.pool.as_ptr(), pool);
    let found = kept.iter().rposition(is_it);
    let gone = found.map(|at| kept.remove(at));
    drop(kept);
    // Possibly with the last that was left of the pool.
    drop(gone);
}

/// Frees the oldest buffers, if there are too many bytes in all. No pool may be locked.
pub(super) fn shrink() {
    while let Some(Kept { pool, bytes }) = oldest_beyond_all() {
        if let Some(pool) = pool.upgrade() {
            pool.evict(bytes);
        }
    }
}

fn oldest_beyond_all() -> Option<Kept> {
    let mut kept = lock();
    let bytes: usize = kept.iter().map(|it| it.bytes).sum();
    (bytes > ALL).then(|| kept.remove(0))
}

fn lock() -> MutexGuard<'static, Vec<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}
