use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::time::{Sleep, sleep};

use super::line::Shared;
use crate::message::{SendStep, Served, Suspicion};

/// How many messages the task reads before it lets others have a turn.
const STEPS: u32 = 32;

/// Reads for the futures that do not wait for the descriptor by themselves, as long as there are some.
///
/// It has the channel only inside of a poll: the channel closes when its owner drops it.
pub(super) struct ReaderTask {
    channel: Weak<Shared>,
    suspicion: Suspicion,
    /// When to try again, whatever the descriptor says.
    again: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

/// What a turn of the task was.
enum Turn {
    /// Nobody needs it any more.
    Over,
    /// There is more to do.
    More,
    /// It is woken when there is; after this time at the latest.
    Nothing(Option<Duration>),
}

impl ReaderTask {
    pub(super) fn new(channel: Weak<Shared>) -> Self {
        Self { channel, suspicion: Suspicion::default(), again: None, is_over: false }
    }

    fn turn(&mut self, channel: &Shared, context: &mut Context<'_>) -> Turn {
        channel.note_reader(context.waker());
        let mut again = None;
        if channel.core().has_regrets() {
            match channel.poll_regrets(context, &mut self.suspicion) {
                Poll::Ready(Ok(SendStep::Behind(grace))) => again = Some(grace),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Turn::Over,
                Poll::Pending => again = channel.pause(Interest::WRITABLE),
            }
        }
        for _ in 0..STEPS {
            match channel.poll_serve(context) {
                Poll::Ready(Ok(Served::More | Served::Empty)) => {}
                Poll::Ready(Ok(Served::Busy)) => {
                    if channel.core().poll_uncontended(context).is_pending() {
                        return Turn::Nothing(again);
                    }
                }
                Poll::Ready(Ok(Served::Over)) => return Turn::Over,
                Poll::Ready(Err(_)) => {
                    channel.core().leave_to_all();
                    return Turn::Over;
                }
                Poll::Pending => {
                    let closing = channel.pause(Interest::READABLE);
                    return Turn::Nothing(again.into_iter().chain(closing).min());
                }
            }
        }
        Turn::More
    }
}

impl Future for ReaderTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(channel) = self.channel.upgrade() else { return Poll::Ready(()) };
            let turn = self.turn(&channel, context);
            drop(channel);
            match turn {
                Turn::Over => {
                    self.is_over = true;
                    return Poll::Ready(());
                }
                Turn::More => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Nothing(None) => {
                    self.again = None;
                    return Poll::Pending;
                }
                Turn::Nothing(Some(time)) => {
                    let again = self.again.get_or_insert_with(|| Box::pin(sleep(time)));
                    if again.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    self.again = None;
                    self.suspicion.has_waited();
                }
            }
        }
    }
}

/// Dropped by a runtime that ends: nobody reads for the others any more.
impl Drop for ReaderTask {
    fn drop(&mut self) {
        if let (false, Some(channel)) = (self.is_over, self.channel.upgrade()) {
            channel.core().leave_to_all_for_good();
        }
    }
}
