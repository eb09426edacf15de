//! The same for tasks of tokio.

// Channels and calls.
mod channels;
// Ends, and children.
mod ends;

use std::future::Future;

/// Runs a task on a runtime of one thread.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task)
}
