//! The same for tasks of tokio.

// Futures that are dropped after each number of polls.
mod cancelling;
// Channels and calls.
mod channels;
// Futures that another executor polls.
mod elsewhere;
// Ends, and children.
mod ends;
// What the runtime cannot register, given back.
mod registering;
// Futures that are kept and not polled.
mod kept;
// Many tasks on one channel.
mod sharing;
// What wakes a task, and what must not keep it busy.
mod waking;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use streampipe::tokio::{RawChannel, Stream};

use crate::engines::over_each_carrier;

/// Runs a task on a runtime of one thread.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task)
}

/// The same with a clock that stands still, and jumps when nothing else is left to do.
fn block_on_paused<T>(task: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(task)
}

/// Fails if the task hangs.
async fn soon<T>(task: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, task).await.expect("it hangs")
}

/// Polls so often, with a turn for everybody else in between, and drops the future then. The highest number means for
/// ever.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if times == usize::MAX {
        return Some(future.await);
    }
    for _ in 0..times {
        let poll = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
        if let Poll::Ready(done) = poll.await {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Polls once, for nobody.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Two connected streams of the engine under test.
fn pair() -> std::io::Result<(Stream, Stream)> {
    let (a, b) = crate::engines::pair()?;
    Ok((a.try_into()?, b.try_into()?))
}

/// A pair of channels over each carrier.
fn raw_pairs() -> Vec<(RawChannel, RawChannel)> {
    over_each_carrier(
        |a, b| (a.try_into().expect("registered"), b.try_into().expect("registered")),
        |a, b| (a.try_into().expect("registered"), b.try_into().expect("registered")),
    )
}

/// A waker that calls this.
fn waker_that(call: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Calls<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(Calls(call)).into()
}
