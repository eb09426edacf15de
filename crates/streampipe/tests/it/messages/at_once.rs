//! Calls that do not wait, or whose deadline has passed: they do all that takes no waiting.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use streampipe::{CallError, RawChannel, RecvError, SendReason};

use super::{borrowed, files, pairs};
use crate::channels;
use crate::engines::tests_of_engines;
use crate::spawn::helpers::Sleeper;

/// Bytes and descriptors of messages: of one step, of many, with descriptors in several frames.
const SIZES: [(usize, usize); 8] =
    [(8, 0), (0, 0), (100_000, 0), (8, 1), (0, 1), (5000, 3), (0, 300), (100_000, 300)];

/// More than there is ever room for.
const HOPELESS: usize = 3 << 20;

fn past() -> Instant {
    Instant::now().checked_sub(Duration::from_millis(1)).expect("a clock that has run")
}

/// Each way to receive what is there.
type Receive = fn(&RawChannel) -> Result<streampipe::Message, RecvError>;

const RECEIVES: [(&str, Receive); 5] = [
    ("try_recv", |it| it.try_recv()),
    ("recv_timeout(0)", |it| it.recv_timeout(Duration::ZERO)),
    ("recv_deadline(past)", |it| it.recv_deadline(past())),
    ("recv_timeout(1 us)", |it| it.recv_timeout(Duration::from_micros(1))),
    ("recv_timeout(50 us)", |it| it.recv_timeout(Duration::from_micros(50))),
];

tests_of_engines! {
    fn a_message_that_is_there_is_received_by_one_call() {
        for (way, receive) in RECEIVES {
            for (size, fds) in SIZES {
                for (kind, ours, theirs) in pairs() {
                    let fds = files(fds, 0);
                    ours.send(&vec![7; size], &borrowed(&fds)).expect("room");
                    let message = receive(&theirs).unwrap_or_else(|error| {
                        panic!("{kind}, {size} bytes and {} descriptors, {way}: {error:?}", fds.len())
                    });
                    assert_eq!((message.bytes.len(), message.fds.len()), (size, fds.len()));
                }
            }
        }
    }

    fn what_is_behind_messages_of_other_kinds_is_received_by_one_call() {
        for (way, receive) in RECEIVES {
            for (kind, ours, theirs) in pairs() {
                thread::scope(|scope| {
                    for _ in 0..5 {
                        scope.spawn(|| {
                            let answer = ours.call(b"question", &[]);
                            assert!(matches!(answer, Err(CallError::NoAnswer)), "{answer:?}");
                        });
                        // The requests are there before the message is.
                        let request = theirs.recv_request().expect("a request");
                        drop(request);
                    }
                });
                ours.send(b"message", &[]).expect("room");
                assert_eq!(receive(&theirs).expect(way).bytes, b"message", "{kind}");
            }
        }
    }

    fn a_request_that_is_there_is_received_by_one_call() {
        for (kind, ours, theirs) in pairs() {
            let asked = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let fds = files(2, 0);
                        let late = ours.call_timeout(b"?", &borrowed(&fds), Duration::from_millis(1));
                        assert!(late.is_err_and(|error| error.is_timeout()), "{kind}");
                    }
                    asked.wait();
                });
                asked.wait();
                let requests = [
                    theirs.try_recv_request(),
                    theirs.recv_request_timeout(Duration::ZERO),
                    theirs.recv_request_deadline(past()),
                    theirs.recv_request_timeout(Duration::from_micros(1)),
                ];
                for request in requests {
                    assert_eq!(request.expect("it is there").message().fds.len(), 2, "{kind}");
                }
            });
        }
    }

    fn nothing_is_told_in_the_word_of_the_call() {
        for (way, receive) in RECEIVES {
            for (kind, _ours, theirs) in pairs() {
                let nothing = receive(&theirs);
                match way {
                    "try_recv" => assert!(matches!(nothing, Err(RecvError::Empty)), "{kind}"),
                    _ => assert!(matches!(nothing, Err(RecvError::TimedOut)), "{kind}, {way}"),
                }
            }
        }
    }

    fn a_message_that_there_is_room_for_is_sent_whatever_the_deadline() {
        for (size, fds) in SIZES {
            let fds = files(fds, 0);
            for (kind, ours, theirs) in pairs() {
                let (bytes, fds) = (vec![7; size], borrowed(&fds));
                let sent = [
                    ours.try_send(&bytes, &fds),
                    ours.send_timeout(&bytes, &fds, Duration::ZERO),
                ];
                let what = format!("{kind}, {size} bytes and {} descriptors", fds.len());
                for sent in sent {
                    sent.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    let message = theirs.recv().expect("a message");
                    assert_eq!((message.bytes.len(), message.fds.len()), (size, fds.len()));
                }
                for timeout in [Duration::from_micros(1), Duration::from_micros(50)] {
                    ours.send_timeout(&bytes, &fds, timeout).expect(&what);
                    theirs.recv().expect("a message");
                }
                ours.send_deadline(&bytes, &fds, past()).expect(&what);
                theirs.recv().expect("a message");
            }
        }
    }

    fn one_that_there_is_no_room_for_is_told_in_the_word_of_the_call() {
        for (kind, ours, theirs) in pairs() {
            let large = vec![7; HOPELESS];
            let full = ours.try_send(&large, &[]).expect_err("no room");
            assert!(matches!(full.reason(), SendReason::Full), "{kind}: {full:?}");
            let late = [
                ours.send_timeout(&large, &[], Duration::ZERO),
                ours.send_deadline(&large, &[], past()),
            ];
            for late in late {
                let late = late.expect_err("no room");
                assert!(matches!(late.reason(), SendReason::TimedOut), "{kind}: {late:?}");
            }
            // Nothing of it is in the way.
            ours.try_send(b"next", &[]).expect("room");
            assert_eq!(theirs.try_recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn what_has_come_is_received_beside_another_thread_that_reads() {
        for (kind, ours, theirs) in pairs() {
            let sleeper = Sleeper::default();
            thread::scope(|scope| {
                scope.spawn(|| {
                    sleeper.is_me();
                    let request = theirs.recv_request().expect("a request");
                    request.answer(b"!", &[]).expect("room");
                });
                sleeper.sleeps();
                // From now on, the other one lets itself be looked at.
                assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)), "{kind}");
                ours.send(b"first", &[]).expect("room");
                while theirs.try_recv().is_err() {}
                for number in 0..1000_u32 {
                    let (_, receive) = RECEIVES[number as usize % RECEIVES.len()];
                    let fds = files(number as usize % 3, 0);
                    ours.send(&number.to_le_bytes(), &borrowed(&fds)).expect("room");
                    let message = receive(&theirs);
                    let message = message.unwrap_or_else(|it| panic!("{kind}, {number}: {it:?}"));
                    assert_eq!(message.bytes, number.to_le_bytes());
                    assert_eq!(message.fds.len(), fds.len());
                }
                // Nothing is there, and it says so.
                assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)), "{kind}");
                assert_eq!(ours.call(b"?", &[]).expect("an answer").bytes, b"!");
            });
        }
    }

    fn a_send_that_does_not_wait_is_not_told_of_others_that_do_not() {
        for (kind, ours, theirs) in pairs() {
            // All of them fit.
            let start = Barrier::new(4);
            thread::scope(|scope| {
                for number in 0..4 {
                    let (ours, start) = (&ours, &start);
                    scope.spawn(move || {
                        start.wait();
                        for _ in 0..25 {
                            let sent = match number {
                                0 | 1 => ours.try_send(&[number; 500], &[]),
                                _ => ours.send_timeout(&[number; 500], &[], Duration::ZERO),
                            };
                            sent.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
                        }
                    });
                }
            });
            (0..100).for_each(|_| drop(theirs.try_recv().expect("a message")));
        }
    }

    fn values_are_received_and_sent_by_one_call() {
        for (ours, theirs) in channels::pairs::<Vec<u8>, Vec<u8>>() {
            for timeout in [Duration::ZERO, Duration::from_micros(1)] {
                ours.send_timeout(vec![7; 100_000], timeout).expect("room");
                assert_eq!(theirs.recv_timeout(timeout).expect("a value").len(), 100_000);
                ours.send_deadline(vec![8; 9], past()).expect("room");
                assert_eq!(theirs.recv_deadline(past()).expect("a value").len(), 9);
            }
        }
    }
}
