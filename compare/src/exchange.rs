//! What is done with a channel, the same for all: round trips, trains of messages, answers.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::message::{Load, Order, Then};
use crate::peer::Peer;

/// One end of a channel, of those that block.
pub trait End {
    /// Fills a message's payload and sends it, with the descriptors it orders.
    ///
    /// # Errors
    ///
    /// The channel's.
    fn send(&mut self, order: Order) -> io::Result<()>;

    /// Receives a message, checks its payload, looks at its descriptors and closes them.
    ///
    /// # Errors
    ///
    /// The channel's; `UnexpectedEof` when the other end is gone; a message that is not as sent.
    fn recv(&mut self) -> io::Result<Order>;
}

/// One end of a channel, of those that live in tokio's runtime; as [`End`].
pub trait AsyncEnd {
    /// As [`End::send`].
    fn send(&mut self, order: Order) -> impl Future<Output = io::Result<()>>;

    /// As [`End::recv`].
    fn recv(&mut self) -> impl Future<Output = io::Result<Order>>;
}

/// Whoever does the measured work, in this process or told by it.
pub trait Driver {
    /// Goes there and back `count` times; how long each took is added to `times`, in nanoseconds.
    ///
    /// # Errors
    ///
    /// The channel's; an answer that is not as it should be.
    fn round_trips(&mut self, load: Load, count: usize, times: &mut Vec<u64>) -> io::Result<()>;

    /// Sends `count` messages, the last of which is answered; returns how long it all took.
    ///
    /// # Errors
    ///
    /// The channel's; an answer that is not as it should be.
    fn train(&mut self, load: Load, count: usize) -> io::Result<Duration>;
}

/// Nanoseconds since then.
pub fn nanoseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Drives an end that blocks.
pub struct Blocking<E> {
    // Closed before the peer is waited for.
    end: E,
    _peer: Peer,
}

impl<E: End> Blocking<E> {
    /// Drives `end`, whose other end `peer` has.
    pub fn new(end: E, peer: Peer) -> Self {
        Self { end, _peer: peer }
    }
}

impl<E: End> Driver for Blocking<E> {
    fn round_trips(&mut self, load: Load, count: usize, times: &mut Vec<u64>) -> io::Result<()> {
        for number in 0..count {
            let order = Order::new(number, load, Then::Answer);
            let start = Instant::now();
            self.end.send(order)?;
            let answer = self.end.recv()?;
            times.push(nanoseconds_since(start));
            expect(order, answer)?;
        }
        Ok(())
    }

    fn train(&mut self, load: Load, count: usize) -> io::Result<Duration> {
        let start = Instant::now();
        for number in 1..count {
            self.end.send(Order::new(number, load, Then::GoOn))?;
        }
        let last = Order::new(count, load, Then::Answer);
        self.end.send(last)?;
        let answer = self.end.recv()?;
        let time = start.elapsed();
        expect(last, answer)?;
        Ok(time)
    }
}

/// The peer's part: receives, and answers what wants an answer, until the other end is gone.
///
/// # Errors
///
/// As [`End::send`] and [`End::recv`], but for the end.
pub fn serve(mut end: impl End) -> io::Result<()> {
    loop {
        let order = match end.recv() {
            Ok(order) => order,
            Err(error) => return unless_gone(error),
        };
        if let Some(answer) = order.answer() {
            end.send(answer)?;
        }
    }
}

/// Drives an end in tokio's runtime, which it enters once for many messages.
pub struct OnTokio<E> {
    end: E,
    // Closed after its end and before the peer is waited for.
    runtime: Runtime,
    _peer: Peer,
}

impl<E: AsyncEnd> OnTokio<E> {
    /// Drives `end`, which was made in `runtime`, and whose other end `peer` has.
    pub fn new(end: E, runtime: Runtime, peer: Peer) -> Self {
        Self { end, runtime, _peer: peer }
    }
}

impl<E: AsyncEnd> Driver for OnTokio<E> {
    fn round_trips(&mut self, load: Load, count: usize, times: &mut Vec<u64>) -> io::Result<()> {
        let end = &mut self.end;
        self.runtime.block_on(async {
            for number in 0..count {
                let order = Order::new(number, load, Then::Answer);
                let start = Instant::now();
                end.send(order).await?;
                let answer = end.recv().await?;
                times.push(nanoseconds_since(start));
                expect(order, answer)?;
            }
            Ok(())
        })
    }

    fn train(&mut self, load: Load, count: usize) -> io::Result<Duration> {
        let end = &mut self.end;
        self.runtime.block_on(async {
            let start = Instant::now();
            for number in 1..count {
                end.send(Order::new(number, load, Then::GoOn)).await?;
            }
            let last = Order::new(count, load, Then::Answer);
            end.send(last).await?;
            let answer = end.recv().await?;
            let time = start.elapsed();
            expect(last, answer)?;
            Ok(time)
        })
    }
}

/// The peer's part in tokio's runtime; as [`serve`].
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_async(mut end: impl AsyncEnd) -> io::Result<()> {
    loop {
        let order = match end.recv().await {
            Ok(order) => order,
            Err(error) => return unless_gone(error),
        };
        if let Some(answer) = order.answer() {
            end.send(answer).await?;
        }
    }
}

/// A runtime of the calling thread alone.
///
/// # Errors
///
/// The kernel's.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn expect(order: Order, answer: Order) -> io::Result<()> {
    if order.answer() == Some(answer) {
        return Ok(());
    }
    Err(crate::message::wrong_bytes(format!("{answer:?} answers {order:?}")))
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}
