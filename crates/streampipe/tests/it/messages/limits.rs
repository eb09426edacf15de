//! Limits: of the descriptor table, of budgets, of the system, and of the peer's taste.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use streampipe::{Budget, FdError, FdPolicy, Message, RecvError, SendError, SendReason};
use streampipe_wire::{Header, Kind};

use super::by_hand::{Hand, first, frames};
use super::{borrowed, files, number_in, pairs};
use crate::engines::tests_of_engines;
use crate::spawn::helpers::alone_behind;
use crate::support::{Descriptors, FreeDescriptors, has_program, skip};

/// Long enough for anything; whoever waits for it hangs.
const LONG: Duration = Duration::from_secs(20);

const SHORT: Duration = Duration::from_millis(30);

fn numbers(message: Message) -> Vec<usize> {
    message.fds.into_iter().map(number_in).collect()
}

fn needs(received: Result<Message, RecvError>) -> Option<usize> {
    match received {
        Err(RecvError::NoRoom { needed }) => Some(needed),
        other => panic!("no room for it: {other:?}"),
    }
}

/// How many bytes and descriptors the message that is too large has.
fn too_large(received: Result<Message, RecvError>) -> (u64, u32) {
    match received {
        Err(RecvError::TooLarge(it)) => (it.bytes, it.fds),
        other => panic!("too large a message: {other:?}"),
    }
}

fn reason(sent: Result<(), SendError>) -> SendReason {
    sent.expect_err("it is refused").into_parts().1
}

tests_of_engines! {
    fn a_full_table_keeps_messages_waiting() {
        for (kind, ours, theirs) in pairs() {
            theirs.send(b"none", &[]).expect("room for it");
            for count in [1, 5, 3] {
                theirs.send(b"some", &borrowed(&files(count, 10 * count))).expect("room for it");
            }
            theirs.send(b"last", &[]).expect("room for it");
            {
                let _full = FreeDescriptors::exactly(0);
                assert_eq!(ours.recv().expect("it has none").bytes, b"none", "{kind}");
                for _ in 0..3 {
                    assert_eq!(needs(ours.recv()), Some(1), "{kind}");
                    assert_eq!(needs(ours.try_recv()), Some(1), "{kind}");
                    assert_eq!(needs(ours.recv_timeout(SHORT)), Some(1), "{kind}");
                }
            }
            {
                let _some = FreeDescriptors::exactly(1);
                assert_eq!(numbers(ours.recv().expect("room for 1")), [10], "{kind}");
            }
            for free in 0..5 {
                let _some = FreeDescriptors::exactly(free);
                assert_eq!(needs(ours.recv()), Some(5), "{kind}, {free}");
            }
            {
                let _all = FreeDescriptors::exactly(5);
                let message = ours.recv().expect("room for 5");
                assert_eq!(needs(ours.recv()), Some(3), "{kind}");
                assert_eq!(numbers(message), [50, 51, 52, 53, 54], "{kind}");
                assert_eq!(numbers(ours.recv().expect("room for 3")), [30, 31, 32], "{kind}");
            }
            assert_eq!(ours.recv().expect("a message").bytes, b"last", "{kind}");
        }
    }

    fn a_process_that_may_open_nothing_has_no_room() {
        for (kind, ours, theirs) in pairs() {
            theirs.send(b"one", &borrowed(&files(1, 0))).expect("room for it");
            let resource = rustix::process::Resource::Nofile;
            let before = rustix::process::getrlimit(resource);
            for current in [0, 1, 2, 3] {
                let lowered = rustix::process::Rlimit { current: Some(current), ..before };
                rustix::process::setrlimit(resource, lowered).expect("a limit can be lowered");
                let received = ours.recv();
                rustix::process::setrlimit(resource, before).expect("back to what it was");
                assert_eq!(needs(received), Some(1), "{kind}, {current}");
            }
            assert_eq!(numbers(ours.recv().expect("a message")), [0], "{kind}");
        }
    }

    fn many_descriptors_come_when_there_is_room_for_all() {
        for (kind, ours, theirs) in pairs() {
            let fds = files(300, 0);
            theirs.send(b"many", &borrowed(&fds)).expect("room for it");
            theirs.send(b"next", &borrowed(&fds[7..8])).expect("room for it");
            drop(fds);
            // All or none: the first 253 would stay, and wait for room for the others.
            for free in [0, 1, 252, 253, 299] {
                let before = Descriptors::now().count();
                let some = FreeDescriptors::exactly(free);
                assert_eq!(needs(ours.recv()), Some(300), "{kind}, {free}");
                assert_eq!(needs(ours.try_recv()), Some(300), "{kind}, {free}");
                drop(some);
                assert_eq!(Descriptors::now().count(), before, "{kind}, {free}");
            }
            {
                let _enough = FreeDescriptors::exactly(300);
                let message = ours.recv().expect("room for all");
                assert_eq!(numbers(message), (0..300).collect::<Vec<_>>(), "{kind}");
            }
            assert_eq!(numbers(ours.recv().expect("a message")), [7], "{kind}");
        }
    }

    fn a_receive_with_a_deadline_waits_for_room() {
        for (kind, ours, theirs) in pairs() {
            theirs.send(b"two", &borrowed(&files(2, 0))).expect("room for it");
            let full = FreeDescriptors::exactly(0);
            let began = Instant::now();
            assert_eq!(needs(ours.recv_timeout(SHORT)), Some(2), "{kind}");
            assert!(began.elapsed() >= SHORT, "{kind}: it did not wait");
            thread::scope(|scope| {
                let receiver = scope.spawn(|| ours.recv_timeout(LONG));
                assert_eq!(needs(ours.recv_timeout(SHORT)), Some(2), "{kind}");
                drop(full);
                let message = receiver.join().unwrap().expect("there is room");
                assert_eq!(numbers(message), [0, 1], "{kind}");
            });
        }
    }

    fn a_table_that_others_fill_loses_descriptors_at_worst() {
        const ROUNDS: usize = 300;
        for (kind, ours, theirs) in pairs() {
            let made: Vec<OwnedFd> = [0, 10, 20].into_iter().flat_map(|it| files(3, it)).collect();
            let _some = FreeDescriptors::exactly(40);
            let over = std::sync::atomic::AtomicBool::new(false);
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(relaxed) {
                        // As many as there are, up to all.
                        let all: Vec<OwnedFd> =
                            (0..60).map_while(|_| ours.as_fd().try_clone_to_owned().ok()).collect();
                        drop(all);
                    }
                });
                let (mut whole, mut lost) = (0, 0);
                for round in 0..ROUNDS {
                    let expected = [10 * (round % 3), 10 * (round % 3) + 1, 10 * (round % 3) + 2];
                    let fds = &made[3 * (round % 3)..][..3];
                    theirs.send(&round.to_le_bytes(), &borrowed(fds)).expect("room for it");
                    loop {
                        match ours.recv() {
                            Ok(message) => {
                                whole += 1;
                                assert_eq!(message.bytes, round.to_le_bytes(), "{kind}");
                                assert_eq!(numbers(message), expected, "{kind}");
                            }
                            Err(RecvError::NoRoom { needed: 3 }) => continue,
                            Err(RecvError::FdsLost { sent: 3, came, .. }) if came < 3 => lost += 1,
                            Err(error) => panic!("{kind}: {error:?}"),
                        }
                        break;
                    }
                }
                over.store(true, relaxed);
                assert_eq!(whole + lost, ROUNDS);
                assert!(whole > 0, "{kind}: {lost} lost");
            });
        }
    }

    fn a_full_table_keeps_nobody_from_sending() {
        for (kind, ours, theirs) in pairs() {
            let fds = files(300, 0);
            {
                let _full = FreeDescriptors::exactly(0);
                ours.send(b"many", &borrowed(&fds)).expect("room for it");
            }
            drop(fds);
            let message = theirs.recv().expect("a message");
            assert_eq!(numbers(message), (0..300).collect::<Vec<_>>(), "{kind}");
        }
    }

    fn descriptors_above_the_limit_take_no_room() {
        for (kind, ours, theirs) in pairs() {
            // Below the limit nothing is open but what was before.
            let high: Vec<OwnedFd> = files(20, 0)
                .iter()
                .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 900).expect("a high number"))
                .collect();
            theirs.send(b"high", &borrowed(&high)).expect("room for it");
            let _some = FreeDescriptors::exactly(20);
            let message = ours.recv().expect("as many are free as are needed");
            assert_eq!(numbers(message), (0..20).collect::<Vec<_>>(), "{kind}");
        }
    }

    // --- budgets ---

    fn a_message_at_its_limit_arrives_and_one_beyond_it_is_dropped() {
        // In one frame, in two, in three; cut at the end of a frame.
        for limit in [0_u64, 1, 100, 73_727, 73_728, 73_729, 147_456, 200_000] {
            for (kind, ours, theirs) in pairs() {
                ours.set_budget(Budget::default().message_bytes(limit));
                let beyond = [limit.saturating_sub(1), limit, limit + 1, 3 * limit + 2, limit];
                thread::scope(|scope| {
                    scope.spawn(|| {
                        for len in beyond {
                            let payload = vec![len as u8; len as usize];
                            theirs.send(&payload, &borrowed(&files(2, 0))).expect("room for it");
                        }
                    });
                    for len in beyond {
                        let before = Descriptors::now().count();
                        let received = ours.recv();
                        if len > limit {
                            assert_eq!(too_large(received), (len, 2), "{kind}");
                            continue;
                        }
                        let message = received.expect("it is within the budget");
                        assert_eq!(message.bytes, vec![len as u8; len as usize], "{kind}");
                        assert!(Descriptors::now().count() <= before + 2 + 2);
                        assert_eq!(numbers(message), [0, 1], "{kind}");
                    }
                });
            }
        }
    }

    fn descriptors_beyond_the_budget_never_come_in() {
        for limit in [0_u32, 1, 252, 253, 254, 506] {
            for (kind, ours, theirs) in pairs() {
                ours.set_budget(Budget::default().message_fds(limit));
                for count in [limit, limit + 1, limit.saturating_sub(1), 600] {
                    theirs.send(b"some", &borrowed(&files(count as usize, 0))).expect("room");
                    theirs.send(b"next", &borrowed(&files(limit as usize, 1))).expect("room");
                    if count > limit {
                        // Any that came in would find no room, and be told of.
                        let before = Descriptors::now();
                        let full = FreeDescriptors::exactly(0);
                        assert_eq!(too_large(ours.recv()), (4, count), "{kind}");
                        let next = ours.try_recv();
                        drop(full);
                        if limit > 0 {
                            assert!(matches!(next, Err(RecvError::NoRoom { .. })), "{kind}: {next:?}");
                            assert_eq!(before.count(), Descriptors::now().count(), "{kind}");
                        } else {
                            assert_eq!(next.expect("the next").bytes, b"next", "{kind}");
                            continue;
                        }
                    } else {
                        let message = ours.recv().expect("it is within the budget");
                        assert_eq!(numbers(message), (0..count as usize).collect::<Vec<_>>());
                    }
                    let message = ours.recv().expect("the next");
                    assert_eq!(message.bytes, b"next", "{kind}");
                    assert_eq!(numbers(message), (1..=limit as usize).collect::<Vec<_>>(), "{kind}");
                }
            }
        }
    }

    fn the_largest_budget_and_the_largest_claim_take_no_memory() {
        for (kind, ours, hand) in Hand::pairs() {
            ours.set_budget(Budget::default().message_bytes(u64::MAX).message_fds(u32::MAX));
            let most = isize::MAX as u64;
            assert!(hand.put(&first(b"much", most - 4, 16), &[]));
            let received = ours.recv_timeout(SHORT);
            assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
            assert!(hand.withdraw(0));
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
            // More than any memory has is too large, whatever the budget says.
            for claimed in [most + 1, u64::MAX] {
                assert!(hand.put(&first(b"much", claimed - 4, 0), &[]));
                let received = ours.recv();
                let Err(RecvError::TooLarge(it)) = received else { panic!("{kind}: {received:?}") };
                assert_eq!((it.bytes, it.most_bytes), (claimed, most), "{kind}");
                let text = format!("message of {claimed} bytes exceeds the limit of {most}");
                assert_eq!(it.to_string(), text);
                assert!(hand.withdraw(0));
            }
            ours.set_budget(Budget::default());
            assert!(hand.put(&first(b"much", u64::MAX - 4, u32::MAX), &[]));
            assert_eq!(too_large(ours.recv()), (u64::MAX, u32::MAX), "{kind}");
            assert!(hand.withdraw(0));
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn requests_that_nobody_takes_fill_their_budget_and_no_more() {
        let budgets: [(Budget, usize); 8] = [
            (Budget::default().queued_messages(0), 1),
            (Budget::default().queued_messages(1), 1),
            (Budget::default().queued_messages(7), 7),
            // The one with which it is too much is in it.
            (Budget::default().queued_bytes(0), 1),
            (Budget::default().queued_bytes(40), 5),
            (Budget::default().queued_fds(0), 1),
            (Budget::default().queued_fds(3), 4),
            (Budget::default().queued_bytes(u64::MAX).queued_fds(u32::MAX), 20),
        ];
        for (budget, most) in budgets {
            for (kind, ours, hand) in Hand::pairs() {
                ours.set_budget(budget);
                let message = ours.recv_timeout(SHORT);
                assert!(matches!(message, Err(RecvError::TimedOut)), "{kind}: {message:?}");
                let fds = files(1, 0);
                for id in 1..=20 {
                    assert!(hand.put_message(Kind::Request, id, b"10 bytes..", &fds));
                }
                assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
                let before = Descriptors::now().count();
                if most == 20 {
                    assert_eq!(ours.recv().expect("behind the requests").bytes, b"next", "{kind}");
                } else if most == 7 {
                    match ours.recv() {
                        Err(RecvError::Unclaimed { messages: 0, requests: 7 }) => {}
                        other => panic!("{kind}: {other:?}"),
                    }
                } else {
                    let message = ours.recv_timeout(SHORT);
                    assert!(matches!(message, Err(RecvError::TimedOut)), "{kind}: {message:?}");
                    let message = ours.try_recv();
                    assert!(matches!(message, Err(RecvError::Empty)), "{kind}: {message:?}");
                }
                assert_eq!(Descriptors::now().count(), before + most, "{kind}: {budget:?}");
                // With more room it goes on where it stopped.
                ours.set_budget(Budget::default());
                if most < 20 {
                    assert_eq!(ours.recv().expect("behind the requests").bytes, b"next", "{kind}");
                }
            }
        }
    }

    // --- what is refused ---

    fn a_peer_that_refuses_descriptors_receives_the_others() {
        for (kind, ours, theirs) in pairs() {
            let fds = files(2, 0);
            ours.send(b"before", &borrowed(&fds[..1])).expect("room for it");
            theirs.refuse_fds().expect("a socket");
            ours.send(b"first", &[]).expect("room for it");
            let refused = reason(ours.send(b"with", &borrowed(&fds)));
            assert!(matches!(refused, SendReason::FdsRefused), "{kind}: {refused:?}");
            let refused = reason(ours.try_send(&[7; 200_000], &borrowed(&fds)));
            assert!(matches!(refused, SendReason::FdsRefused), "{kind}: {refused:?}");
            ours.send(b"last", &[]).expect("room for it");
            let (mut came, mut dropped) = (Vec::new(), Vec::new());
            while came.last().is_none_or(|last| last != b"last") {
                match theirs.recv() {
                    Ok(message) => {
                        assert!(message.fds.is_empty());
                        came.push(message.bytes.into_vec());
                    }
                    error => dropped.push(too_large(error)),
                }
            }
            assert_eq!(came, [&b"first"[..], b"last"], "{kind}");
            assert_eq!(dropped, [(6, 1), (4, 2), (200_000, 2)], "{kind}");
            // The other direction takes them.
            theirs.send(b"back", &borrowed(&fds)).expect("room for it");
            assert_eq!(numbers(ours.recv().expect("a message")), [0, 1], "{kind}");
        }
    }

    fn a_descriptor_that_may_not_go_is_not_sent() {
        let directory = std::fs::File::open("/").expect("a directory");
        for (kind, ours, theirs) in pairs() {
            let fds = files(1, 0);
            ours.set_policy(FdPolicy::new().untrusted_peer());
            let refused = reason(ours.send(b"lost", &[fds[0].as_fd(), directory.as_fd()]));
            assert!(matches!(refused, SendReason::RefusedFd(_)), "{kind}: {refused:?}");
            ours.send(b"next", &borrowed(&fds)).expect("a file may go");
            assert_eq!(theirs.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn an_own_end_among_many_descriptors_is_named_by_its_place() {
        for (kind, ours, theirs) in pairs() {
            let fds = files(1, 0);
            let mut all = vec![fds[0].as_fd(); 600];
            all[300] = theirs.as_fd();
            match reason(ours.send(b"lost", &all)) {
                SendReason::Fd(FdError::OverItself { index }) => assert_eq!(index, 300, "{kind}"),
                other => panic!("{kind}: {other:?}"),
            }
            ours.send(b"next", &[]).expect("room for it");
            assert_eq!(theirs.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn descriptors_of_a_message_that_never_ends_are_closed_with_the_error() {
        for (kind, ours, hand) in Hand::pairs() {
            let before = Descriptors::now().count();
            let frames = frames(Kind::Message, 0, b"300", 300);
            assert!(hand.put(&frames[0].0, &[]));
            let fds = files(1, 0);
            assert!(hand.put(&frames[1].0, &[fds[0].as_fd(); 253]));
            drop(fds);
            let received = ours.recv_timeout(SHORT);
            assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
            assert_eq!(Descriptors::now().count(), before + 253, "{kind}");
            assert!(hand.put(&Header::new(Kind::Message, 0).to_bytes(), &[]));
            let received = ours.recv();
            assert!(matches!(received, Err(RecvError::Malformed(_))), "{kind}: {received:?}");
            assert_eq!(Descriptors::now().count(), before, "{kind}");
            assert!(matches!(ours.recv(), Err(RecvError::Malformed(_))), "{kind}");
        }
    }

    fn descriptors_with_another_byte_than_the_first_are_refused() {
        let (_, ours, hand) = Hand::pairs().pop().expect("a stream");
        let frames = frames(Kind::Message, 0, b"one", 1);
        let fds = files(1, 0);
        assert!(hand.put(&frames[0].0, &[]));
        assert!(hand.put(&frames[1].0[..1], &[]));
        let received = ours.recv_timeout(SHORT);
        assert!(matches!(received, Err(RecvError::TimedOut)), "{received:?}");
        assert!(hand.put(&frames[1].0[1..], &borrowed(&fds)));
        let received = ours.recv();
        assert!(matches!(received, Err(RecvError::UnexpectedFds { due: 1, came: 0 })), "{received:?}");
    }
}

/// The most descriptors that the user of the next test may have open, or in flight.
const IN_FLIGHT: u64 = 50;

#[test]
fn too_many_descriptors_in_flight_stop_no_channel() {
    let path = concat!(module_path!(), "::too_many_descriptors_in_flight_stop_no_channel");
    let what = "descriptors in flight of a user without privileges";
    if !rustix::process::geteuid().is_root() {
        // What other tests of this user have in flight counts, too.
        return skip(what, "only the superuser can become somebody who does nothing else");
    }
    if !has_program("setpriv", what) {
        return;
    }
    let program = std::env::current_exe().expect("the test binary");
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let mut listing = std::process::Command::new(user[0]);
    let listed = listing.args(&user[1..]).arg(program).arg("--list").output();
    if !listed.is_ok_and(|it| it.status.success()) {
        return skip(what, "nobody may not run this program");
    }
    alone_behind(path, &user, || in_flight("as nobody"));
}

fn in_flight(who: &str) {
    let resource = rustix::process::Resource::Nofile;
    let before = rustix::process::getrlimit(resource);
    for (kind, ours, theirs) in pairs() {
        let fds = files(10, 0);
        let lowered = rustix::process::Rlimit { current: Some(IN_FLIGHT), ..before };
        rustix::process::setrlimit(resource, lowered).expect("a limit can be lowered");
        let mut sent = 0;
        let refused = loop {
            match ours.send(b"ten", &borrowed(&fds)) {
                Ok(()) => sent += 1,
                Err(error) => break error.into_parts().1,
            }
        };
        let errno = rustix::io::Errno::TOOMANYREFS.raw_os_error();
        let is_so = matches!(&refused, SendReason::Io(it) if it.raw_os_error() == Some(errno));
        assert!(is_so, "{who}, {kind}: {refused:?}");
        assert!(sent <= 6, "{who}, {kind}: {sent}");
        ours.send(b"none", &[]).expect("it goes on");
        for _ in 0..sent {
            assert_eq!(numbers(theirs.recv().expect("a message")), (0..10).collect::<Vec<_>>());
        }
        assert_eq!(theirs.recv().expect("a message").bytes, b"none", "{who}, {kind}");
        ours.send(b"ten", &borrowed(&fds)).expect("none is in flight any more");
        assert_eq!(numbers(theirs.recv().expect("a message")), (0..10).collect::<Vec<_>>());
        rustix::process::setrlimit(resource, before).expect("back to what it was");
    }
}
