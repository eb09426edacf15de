//! What was queued comes before the end, and the end is the right one (promise P5).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::Shutdown;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use streampipe::{RawChannel, RecvError, SendReason};
use streampipe_wire::Kind;

use super::by_hand::{Hand, first, frames};
use super::{borrowed, files, number_in, pairs};
use crate::engines::tests_of_engines;
use crate::spawn::helpers::{LeftBehind, Sleeper, eventually, pipe, sh};
use crate::support::tests_alone;

/// Nothing here takes so long.
const HANG: Duration = Duration::from_secs(20);

/// How many messages are queued.
const QUEUED: [usize; 3] = [0, 1, 100];

fn text(number: usize) -> String {
    format!("message {number}")
}

fn receives_all(what: &str, channel: &RawChannel, count: usize) {
    for number in 0..count {
        let message = channel.recv_timeout(HANG);
        let message = message.unwrap_or_else(|error| panic!("{what}: {number}: {error}"));
        assert_eq!(message.bytes, text(number).as_bytes(), "{what}");
    }
}

/// The end comes, once as a reset if it was one, and then always as the end.
fn ends(what: &str, channel: &RawChannel, was_reset: bool) {
    if was_reset {
        let end = channel.recv_timeout(HANG);
        assert!(matches!(end, Err(RecvError::Reset)), "{what}: {end:?}");
    }
    for _ in 0..3 {
        let end = channel.recv_timeout(HANG);
        assert!(matches!(end, Err(RecvError::Closed)), "{what}: {end:?}");
        let end = channel.try_recv();
        assert!(matches!(end, Err(RecvError::Closed)), "{what}: {end:?}");
    }
    assert_eq!(channel.iter().count(), 0, "{what}");
}

/// Whether the peer leaves something of ours unread.
const UNREAD: [bool; 2] = [false, true];

tests_of_engines! {
    fn all_messages_come_before_the_end_of_a_dropped_or_shut_down_peer() {
        for count in QUEUED {
            for (unread, sends_first) in [(false, false), (false, true), (true, false), (true, true)] {
                for is_shut_down in [false, true] {
                    for (kind, ours, theirs) in pairs() {
                        let what =
                            format!("{kind}, {count}, unread {unread}, shut down {is_shut_down}");
                        if unread {
                            ours.send(b"unread", &[]).expect("room for it");
                        }
                        for number in 0..count {
                            theirs.send(text(number).as_bytes(), &[]).expect("room for it");
                        }
                        let kept = if is_shut_down {
                            theirs.shutdown(Shutdown::Both).expect("a socket");
                            Some(theirs)
                        } else {
                            drop(theirs);
                            None
                        };
                        if sends_first {
                            let sent = ours.send(b"late", &[]).expect_err("nobody reads");
                            assert!(matches!(sent.reason(), SendReason::Closed), "{what}: {sent:?}");
                        }
                        receives_all(&what, &ours, count);
                        ends(&what, &ours, unread && !is_shut_down);
                        drop(kept);
                    }
                }
            }
        }
    }

    fn a_reset_is_told_once_whether_something_was_sent_or_not() {
        for sends in [0, 1, 2] {
            for (kind, ours, theirs) in pairs() {
                let what = format!("{kind}, {sends}");
                ours.send(b"unread", &[]).expect("room for it");
                theirs.send(text(0).as_bytes(), &[]).expect("room for it");
                drop(theirs);
                for _ in 0..sends {
                    let sent = ours.send(b"late", &[]).expect_err("nobody reads");
                    assert!(matches!(sent.reason(), SendReason::Closed), "{what}: {sent:?}");
                }
                receives_all(&what, &ours, 1);
                ends(&what, &ours, true);
            }
        }
    }

    fn a_reset_that_a_waiting_sender_met_is_told_to_the_receiver() {
        for (kind, ours, theirs) in pairs() {
            let sleeper = Sleeper::default();
            theirs.send(text(0).as_bytes(), &[]).expect("room for it");
            thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    // Small ones: of a large one the kernel has taken a part, and keeps the reset to itself.
                    while ours.try_send(b"small", &[]).is_ok() {}
                    sleeper.is_me();
                    ours.send(b"small", &[])
                });
                sleeper.sleeps();
                drop(theirs);
                let sent = sender.join().unwrap().expect_err("nobody reads");
                assert!(matches!(sent.reason(), SendReason::Closed), "{kind}: {sent:?}");
            });
            receives_all(kind, &ours, 1);
            ends(kind, &ours, true);
        }
    }

    fn the_end_inside_of_a_message_is_told_once() {
        for unread in UNREAD {
            for (kind, ours, hand) in Hand::pairs() {
                if unread {
                    ours.send(b"unread", &[]).expect("room for it");
                }
                assert!(hand.put_message(Kind::Message, 0, text(0).as_bytes(), &[]));
                assert!(hand.put(&first(b"begun", 5, 1), &[]));
                drop(hand);
                receives_all(kind, &ours, 1);
                let end = ours.recv_timeout(HANG);
                assert!(matches!(end, Err(RecvError::Torn(_))), "{kind}: {end:?}");
                ends(kind, &ours, false);
            }
        }
    }

    fn what_four_threads_send_four_threads_receive_once_and_whole() {
        const EACH: usize = 500;
        for (kind, ours, theirs) in pairs() {
            let heard = Mutex::new(BTreeMap::<usize, usize>::new());
            let payload = |number: usize| {
                let len = [0, 10, 5000, 100_000][number % 4];
                [&number.to_le_bytes()[..], &vec![number as u8; len]].concat()
            };
            thread::scope(|scope| {
                let senders: Vec<_> = (0..4)
                    .map(|thread| {
                        let (ours, payload) = (&ours, &payload);
                        scope.spawn(move || {
                            for number in thread * EACH..(thread + 1) * EACH {
                                let fds = files(number % 3, number);
                                ours.send(&payload(number), &borrowed(&fds)).expect("a reader");
                            }
                        })
                    })
                    .collect();
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut last = BTreeMap::new();
                        for message in &theirs {
                            let message = message.expect("a message");
                            let (front, _) = message.bytes.split_first_chunk().expect("a number");
                            let number = usize::from_le_bytes(*front);
                            assert!(message.bytes == payload(number), "{kind}: {number} is mixed");
                            let numbers: Vec<_> = message.fds.into_iter().map(number_in).collect();
                            assert_eq!(numbers, (number..number + number % 3).collect::<Vec<_>>());
                            // Of one sender, later ones come later.
                            let before = last.insert(number / EACH, number);
                            assert!(before.is_none_or(|before| before < number), "{kind}");
                            *heard.lock().unwrap().entry(number).or_default() += 1;
                        }
                    });
                }
                for sender in senders {
                    sender.join().unwrap();
                }
                ours.shutdown(Shutdown::Write).expect("a socket");
            });
            let heard = heard.into_inner().unwrap();
            assert!(heard.keys().copied().eq(0..4 * EACH), "{kind}: {} came", heard.len());
            assert!(heard.values().all(|&times| times == 1), "{kind}");
        }
    }

    fn one_thread_waits_while_others_try() {
        for (kind, ours, theirs) in pairs() {
            let sleeper = Sleeper::default();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    sleeper.is_me();
                    ours.recv().expect("a message").bytes.into_vec()
                });
                sleeper.sleeps();
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            let received = ours.try_recv();
                            assert!(matches!(received, Err(RecvError::Empty)), "{kind}: {received:?}");
                        }
                    });
                }
                let waits = scope.spawn(|| ours.recv_timeout(Duration::from_millis(20)));
                let received = waits.join().unwrap();
                assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
                // Not before the others have tried in vain.
                let others = || std::fs::read_dir("/proc/self/task").unwrap().count() <= 3;
                assert!(eventually(others));
                theirs.send(b"for it", &[]).expect("room for it");
                assert_eq!(waiter.join().unwrap(), b"for it", "{kind}");
            });
        }
    }

    fn a_shutdown_wakes_all_who_wait() {
        for how in [Shutdown::Read, Shutdown::Both] {
            for (kind, ours, theirs) in pairs() {
                let sleepers = [(); 3].map(|()| Sleeper::default());
                thread::scope(|scope| {
                    let waiters: Vec<_> = sleepers
                        .iter()
                        .map(|sleeper| {
                            let ours = &ours;
                            scope.spawn(move || {
                                sleeper.is_me();
                                ours.recv()
                            })
                        })
                        .collect();
                    sleepers.iter().for_each(Sleeper::sleeps);
                    ours.shutdown(how).expect("a socket");
                    for waiter in waiters {
                        let end = waiter.join().unwrap();
                        assert!(matches!(end, Err(RecvError::Closed)), "{kind}, {how:?}: {end:?}");
                    }
                });
                drop(theirs);
            }
        }
    }

    fn a_shutdown_wakes_one_who_sends() {
        for (kind, ours, theirs) in pairs() {
            let sleeper = Sleeper::default();
            thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    sleeper.is_me();
                    ours.send(&vec![7; 5_000_000], &[])
                });
                sleeper.sleeps();
                ours.shutdown(Shutdown::Write).expect("a socket");
                let sent = sender.join().unwrap().expect_err("the direction has ended");
                assert!(matches!(sent.reason(), SendReason::Closed), "{kind}: {sent:?}");
            });
            let end = theirs.recv_timeout(HANG);
            assert!(matches!(end, Err(RecvError::Torn(_))), "{kind}: {end:?}");
        }
    }

    fn half_a_channel_goes_on() {
        for (kind, ours, theirs) in pairs() {
            ours.send(text(0).as_bytes(), &[]).expect("room for it");
            ours.shutdown(Shutdown::Write).expect("a socket");
            let sent = ours.send(b"late", &[]).expect_err("the direction has ended");
            assert!(matches!(sent.reason(), SendReason::Closed), "{kind}: {sent:?}");
            receives_all(kind, &theirs, 1);
            ends(kind, &theirs, false);
            let fds = files(1, 5);
            theirs.send(b"back", &borrowed(&fds)).expect("the other direction goes on");
            let message = ours.recv().expect("a message");
            assert_eq!(message.fds.into_iter().map(number_in).collect::<Vec<_>>(), [5], "{kind}");
        }
    }
}

tests_alone! {
    /// Over sockets: a process that knows nothing of us inherits its end by a number.
    fn all_messages_come_before_the_end_of_a_process() {
        for ending in ["exit 0", "exit 3", "exec sleep 100"] {
            for count in QUEUED {
                for unread in UNREAD {
                    for (kind, ours, theirs) in pairs() {
                        let what = format!("{kind}, {ending}, {count}, unread {unread}");
                        for number in 0..count {
                            theirs.send(text(number).as_bytes(), &[]).expect("room for it");
                        }
                        if unread {
                            ours.send(b"unread", &[]).expect("room for it");
                        }
                        // What is queued is the socket's, whoever wrote it; now it is the child's alone.
                        let mut child = sh(ending).inherit(&theirs, 4).spawn().expect("a shell");
                        drop(theirs);
                        if ending.contains("sleep") {
                            child.kill().expect("it is ours");
                        }
                        child.wait().expect("it is ours");
                        receives_all(&what, &ours, count);
                        ends(&what, &ours, unread);
                    }
                }
            }
        }
    }

    /// Over sockets, as the one before.
    fn a_copy_of_the_end_does_not_hide_the_end_of_a_process() {
        for count in QUEUED {
            let (said, says) = pipe();
            let mut command = sh("sleep 100 & echo $! >&4; cat <&5 >&3; echo >&4; exec sleep 100");
            let mut child =
                command.inherit(says, 4).inherit(queue(count), 5).spawn().expect("a shell");
            let _grandchild = LeftBehind::announced_on(&said);
            (&said).read_exact(&mut [0]).expect("it says so");
            let channel = RawChannel::from(child.take_stream().expect("its end"));
            child.kill().expect("it is ours");
            receives_all("a grandchild", &channel, count);
            for _ in 0..2 {
                let end = channel.recv_timeout(HANG);
                assert!(matches!(end, Err(RecvError::PeerGone(_))), "{count}: {end:?}");
            }
            let end = channel.iter().map(|it| it.map(drop)).collect::<Vec<_>>();
            assert!(matches!(end[..], [Err(RecvError::PeerGone(_))]), "{count}: {end:?}");
            let mut sent = channel.send(b"late", &[]);
            while sent.is_ok() {
                sent = channel.send(&[7; 10_000], &[]);
            }
            let reason = sent.unwrap_err().into_parts().1;
            assert!(matches!(reason, SendReason::PeerGone(_)), "{count}: {reason:?}");
            child.wait().expect("it is ours");
        }
    }
}

/// The messages as bytes in a file.
fn queue(count: usize) -> File {
    let of = |number| frames(Kind::Message, 0, text(number).as_bytes(), 0).swap_remove(0).0;
    let bytes: Vec<u8> = (0..count).flat_map(of).collect();
    crate::support::file_with(&bytes)
}
