//! A peer that floods and never reads, and a call whose answer nobody could receive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use streampipe::{CallError, RawChannel, RecvError, SendReason};

use super::pairs;
use crate::asynchronous::block_on;
use crate::engines::tests_of_engines;

/// Payloads of a request: one that is sent at once, one that there may be no room for, one that there never is.
const SIZES: [usize; 4] = [16, 60_000, 200_000, 4 << 20];

/// Runs beside a thread that sends what nobody takes, and reads nothing.
fn beside_a_flood(theirs: &RawChannel, body: impl FnOnce()) {
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stops.load(Ordering::Relaxed) {
                let _ = theirs.send_timeout(b"x", &[], Duration::from_millis(5));
            }
        });
        body();
        stops.store(true, Ordering::Relaxed);
    });
}

fn is_told(what: &str, answer: Result<streampipe::Message, CallError>) {
    let error = answer.expect_err("nobody answers");
    let is_unclaimed = match &error {
        // The request was sent.
        CallError::NotReceived(RecvError::Unclaimed { .. }) => true,
        CallError::NotSent(error) => matches!(
            error.reason(),
            SendReason::Unanswerable(why) if matches!(**why, RecvError::Unclaimed { .. })
        ),
        _ => false,
    };
    assert!(is_unclaimed, "{what}: {error:?}");
}

tests_of_engines! {
    fn a_call_of_any_size_to_a_peer_that_floods_and_never_reads_is_told_so() {
        for (kind, ours, theirs) in pairs() {
            beside_a_flood(&theirs, || {
                // Twice, so that there is no room for the small ones either, some time.
                for size in SIZES.into_iter().chain(SIZES) {
                    is_told(&format!("{kind}, {size} bytes"), ours.call(&vec![0; size], &[]));
                }
                // Each of several threads.
                thread::scope(|scope| {
                    for size in SIZES {
                        let ours = &ours;
                        scope.spawn(move || {
                            is_told(&format!("{kind}, {size} bytes"), ours.call(&vec![0; size], &[]))
                        });
                    }
                });
            });
            // A bound is kept, and told as such, if it comes first.
            let late = ours.call_timeout(&vec![0; 4 << 20], &[], Duration::from_millis(10));
            assert!(late.expect_err("nobody answers").is_timeout(), "{kind}");
        }
    }

    fn a_call_of_any_size_of_a_task_is_told_so_too() {
        for (kind, ours, theirs) in pairs() {
            beside_a_flood(&theirs, || block_on(async {
                let ours = streampipe::tokio::RawChannel::try_from(ours).expect("registered");
                for size in SIZES.into_iter().chain(SIZES) {
                    let bytes = vec![0; size];
                    let call = ours.call(&bytes, &[]);
                    let answer = tokio::time::timeout(Duration::from_secs(20), call).await;
                    is_told(&format!("{kind}, {size} bytes"), answer.expect("it hangs"));
                }
            }));
        }
    }

    fn two_sides_that_call_with_more_than_there_is_room_for_are_both_answered() {
        for (_, ours, theirs) in pairs() {
            let large = vec![7; 4 << 20];
            let (large, answers) = (&large, AtomicBool::new(false));
            let serve = |channel: &RawChannel| {
                let request = channel.recv_request().expect("a request");
                assert!(request.message().bytes == *large);
                request.answer(b"!", &[]).expect("room");
                answers.store(true, Ordering::Relaxed);
            };
            thread::scope(|scope| {
                let calls = [&ours, &theirs].map(|channel| {
                    scope.spawn(move || channel.call(large, &[]).expect("an answer").bytes)
                });
                scope.spawn(|| serve(&ours));
                scope.spawn(|| serve(&theirs));
                for call in calls {
                    assert_eq!(call.join().expect("no panic"), b"!");
                }
            });
        }
    }
}
