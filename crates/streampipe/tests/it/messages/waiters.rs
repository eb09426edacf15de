//! Everybody who waits is told when it is over: threads and tasks, whatever they wait for, and however it ends.

use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use streampipe::{CallError, RawChannel, RecvError};
use streampipe_wire::{HEADER_LEN, Kind};

use super::by_hand::{Hand, frames};
use super::pairs;
use crate::asynchronous::block_on;
use crate::engines::tests_of_engines;
use crate::spawn::helpers::Sleeper;

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(600);

/// More than there is ever room for.
const LARGE: usize = 3 << 20;

/// Each way to wait for something to come; says whether it was told of the end.
type Wait = fn(&RawChannel) -> bool;

const RECEIVES: [(&str, Wait); 7] = [
    ("recv", |it| is_end(&it.recv())),
    ("recv_timeout", |it| is_end(&it.recv_timeout(LONG))),
    ("recv_request", |it| is_end(&it.recv_request())),
    ("recv_request_timeout", |it| is_end(&it.recv_request_timeout(LONG))),
    ("iter", |it| it.iter().all(|message| is_end(&message))),
    ("call", |it| is_end_of_call(&it.call(b"?", &[]))),
    ("call_timeout", |it| is_end_of_call(&it.call_timeout(b"?", &[], LONG))),
];

fn is_end<T>(received: &Result<T, RecvError>) -> bool {
    received.as_ref().is_err_and(RecvError::is_final)
}

fn is_end_of_call<T>(answer: &Result<T, CallError>) -> bool {
    match answer {
        Err(CallError::NotReceived(error)) => error.is_final(),
        Err(CallError::NotSent(error)) => error.reason().is_disconnected(),
        _ => false,
    }
}

/// Ways in which it ends for those who wait to receive.
#[derive(Clone, Copy, Debug)]
enum End {
    PeerDropped,
    PeerSaysNoMore,
    Ours,
    Malformed,
    Torn,
}

impl End {
    fn come(self, ours: &RawChannel, hand: Hand) -> Option<Hand> {
        let frame = frames(Kind::Message, 0, b"half", 0).swap_remove(0).0;
        match self {
            Self::PeerDropped => return None,
            Self::PeerSaysNoMore => hand.end(),
            Self::Ours => ours.shutdown(Shutdown::Both).expect("ours"),
            Self::Malformed => assert!(hand.put(&[9; HEADER_LEN], &[])),
            Self::Torn => {
                if hand.is_stream() {
                    assert!(hand.put(&frame[..HEADER_LEN + 1], &[]));
                }
                hand.end();
            }
        }
        Some(hand)
    }
}

tests_of_engines! {
    fn all_threads_that_wait_to_receive_are_told_of_the_end() {
        for end in [End::PeerDropped, End::PeerSaysNoMore, End::Ours, End::Malformed, End::Torn] {
            for (kind, ours, hand) in Hand::pairs() {
                let sleepers: Vec<_> = (0..2 * RECEIVES.len()).map(|_| Sleeper::default()).collect();
                thread::scope(|scope| {
                    let waits = sleepers.iter().zip(RECEIVES.iter().cycle());
                    let threads: Vec<_> = waits
                        .map(|(sleeper, (name, wait))| {
                            let ours = &ours;
                            (name, scope.spawn(move || {
                                sleeper.is_me();
                                wait(ours)
                            }))
                        })
                        .collect();
                    sleepers.iter().for_each(Sleeper::sleeps);
                    let _hand = end.come(&ours, hand);
                    for (name, thread) in threads {
                        let is_told = thread.join().expect("no panic");
                        assert!(is_told, "{kind}, {end:?}: {name} ended in another way");
                    }
                });
            }
        }
    }

    fn all_threads_that_wait_to_send_are_told_of_the_end() {
        let sends: [Wait; 4] = [
            |it| it.send(&[0; LARGE], &[]).is_err_and(|error| error.is_disconnected()),
            |it| it.send_timeout(&[0; LARGE], &[], LONG).is_err_and(|it| it.is_disconnected()),
            |it| is_end_of_call(&it.call(&[0; LARGE], &[])),
            |it| is_end_of_call(&it.call_timeout(&[0; LARGE], &[], LONG)),
        ];
        for is_ours in [false, true] {
            for (kind, ours, theirs) in pairs() {
                // One sends, and the others wait for their turn.
                let sleepers: Vec<_> = (0..3 * sends.len()).map(|_| Sleeper::default()).collect();
                thread::scope(|scope| {
                    let threads: Vec<_> = sleepers
                        .iter()
                        .zip(sends.iter().cycle())
                        .map(|(sleeper, send)| {
                            let ours = &ours;
                            scope.spawn(move || {
                                sleeper.is_me();
                                send(ours)
                            })
                        })
                        .collect();
                    sleepers.iter().for_each(Sleeper::sleeps);
                    let theirs = if is_ours {
                        ours.shutdown(Shutdown::Write).expect("ours");
                        // For those that have asked before.
                        theirs.shutdown(Shutdown::Write).expect("theirs");
                        Some(theirs)
                    } else {
                        drop(theirs);
                        None
                    };
                    for (number, thread) in threads.into_iter().enumerate() {
                        assert!(thread.join().expect("no panic"), "{kind}: number {number}");
                    }
                    drop(theirs);
                });
            }
        }
    }

    fn all_tasks_that_wait_are_told_of_the_end_beside_kept_ones() {
        for is_ours in [false, true] {
            block_on(async {
                for (kind, ours, theirs) in pairs() {
                    let ours = streampipe::tokio::RawChannel::try_from(ours).expect("registered");
                    let ours = Arc::new(ours);
                    let mut kept: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
                    for _ in 0..3 {
                        kept.push(Box::pin(async { drop(ours.recv().await) }));
                        kept.push(Box::pin(async { drop(ours.recv_request().await) }));
                        kept.push(Box::pin(async { drop(ours.call(b"?", &[]).await) }));
                        kept.push(Box::pin(async { drop(ours.send(&[0; LARGE], &[]).await) }));
                    }
                    for future in &mut kept {
                        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
                        assert!(future.as_mut().poll(context).is_pending());
                    }
                    let mut tasks = Vec::new();
                    for _ in 0..10 {
                        let channel = Arc::clone(&ours);
                        tasks.push(tokio::spawn(async move { is_end(&channel.recv().await) }));
                        let channel = Arc::clone(&ours);
                        tasks.push(tokio::spawn(async move { is_end(&channel.recv_request().await) }));
                        let channel = Arc::clone(&ours);
                        tasks.push(tokio::spawn(async move {
                            is_end_of_call(&channel.call(b"?", &[]).await)
                        }));
                        let channel = Arc::clone(&ours);
                        tasks.push(tokio::spawn(async move {
                            let sent = channel.send(&[0; LARGE], &[]).await;
                            sent.is_err_and(|error| error.is_disconnected())
                        }));
                    }
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                    let theirs = if is_ours {
                        ours.shutdown(Shutdown::Both).expect("ours");
                        Some(theirs)
                    } else {
                        drop(theirs);
                        None
                    };
                    for (number, task) in tasks.into_iter().enumerate() {
                        let told = tokio::time::timeout(Duration::from_secs(60), task).await;
                        let told = told.unwrap_or_else(|_| panic!("{kind}: number {number} hangs"));
                        assert!(told.expect("no panic"), "{kind}: number {number}");
                    }
                    drop((kept, theirs));
                }
            });
        }
    }
}
