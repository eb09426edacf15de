//! iceoryx2, a publisher and a subscriber each way; nothing is dropped or overwritten.
//!
//! It is polled, or each sample is followed by an event, for which a receiver that finds none waits.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use iceoryx2::port::{
    listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber,
};
use iceoryx2::prelude::*;

use super::{End, Opener};
use crate::ring::block::Block;

/// How many samples are on their way at most.
const DEPTH: usize = 64;

/// Makes the names of services differ, which are found by name by everybody on the machine.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// How a receiver learns of a sample.
#[derive(Clone, Copy)]
enum News {
    Polled,
    Events,
}

pub(super) fn polled(most: usize) -> io::Result<(Opener, Opener)> {
    make(most, News::Polled)
}

pub(super) fn events(most: usize) -> io::Result<(Opener, Opener)> {
    make(most, News::Events)
}

fn make(most: usize, news: News) -> io::Result<(Opener, Opener)> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("streampipe-compare/{}/{number}", std::process::id());
    let (there, back) = (format!("{name}/there"), format!("{name}/back"));
    let (there2, back2) = (there.clone(), back.clone());
    Ok((
        Box::new(move || open(&there, &back, most, news)),
        Box::new(move || open(&back2, &there2, most, news)),
    ))
}

type Port = (Publisher<ipc::Service, [u8], ()>, Subscriber<ipc::Service, [u8], ()>);

type Events = (Notifier<ipc::Service>, Listener<ipc::Service>);

struct Ports {
    _node: Node<ipc::Service>,
    ports: Port,
    events: Option<Events>,
}

fn open(out: &str, back: &str, most: usize, news: News) -> io::Result<Box<dyn End>> {
    let node = NodeBuilder::new().create::<ipc::Service>().map_err(io::Error::other)?;
    // Of the largest blocks there is room for a few.
    let depth = if most > 1 << 20 { 2 } else { DEPTH };
    let service = |name: &str| {
        node.service_builder(&name.try_into().map_err(io::Error::other)?)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(2)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(io::Error::other)
    };
    let publisher = service(out)?
        .publisher_builder()
        .initial_max_slice_len(most)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()
        .map_err(io::Error::other)?;
    let subscriber = service(back)?.subscriber_builder().create().map_err(io::Error::other)?;
    let events = match news {
        News::Polled => None,
        News::Events => Some(open_events(&node, out, back)?),
    };
    Ok(Box::new(Ports { _node: node, ports: (publisher, subscriber), events }))
}

fn open_events(node: &Node<ipc::Service>, out: &str, back: &str) -> io::Result<Events> {
    let service = |name: &str| {
        let name = name.try_into().map_err(io::Error::other)?;
        node.service_builder(&name).event().open_or_create().map_err(io::Error::other)
    };
    let notifier = service(out)?.notifier_builder().create().map_err(io::Error::other)?;
    let listener = service(back)?.listener_builder().create().map_err(io::Error::other)?;
    Ok((notifier, listener))
}

impl End for Ports {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let mut sample = self.ports.0.loan_slice_uninit(block.size()).map_err(io::Error::other)?;
        let room = sample.payload_mut();
        // SAFETY: bytes that are only written to, every one of them, before anybody reads them.
        let room = unsafe { &mut *(std::ptr::from_mut(room) as *mut [u8]) };
        block.fill(room, 0);
        // SAFETY: every byte was written just now.
        let sample = unsafe { sample.assume_init() };
        sample.send().map_err(io::Error::other)?;
        if let Some((notifier, _)) = &self.events {
            notifier.notify().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        loop {
            if let Some(sample) = self.ports.1.receive().map_err(io::Error::other)? {
                return block.check(sample.payload(), 0);
            }
            match &self.events {
                // An event that came since is still there.
                Some((_, listener)) => {
                    listener.blocking_wait(|_| {}).map_err(io::Error::other)?;
                }
                None => std::hint::spin_loop(),
            }
        }
    }
}
