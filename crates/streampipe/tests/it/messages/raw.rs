use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use streampipe::{CallError, RecvError};

use super::{borrowed, files, number_in, pairs};
use crate::engines::tests_of_engines;

tests_of_engines! {
    fn messages_of_any_size_and_number_of_descriptors_arrive() {
        for (kind, ours, theirs) in pairs() {
            let sizes = [0, 1, 64, 4064, 4096, 4097, 16384, 65535, 65536, 65537, 200_000, 5_000_000];
            thread::scope(|scope| {
                scope.spawn(|| {
                    for (round, len) in sizes.into_iter().enumerate() {
                        let payload: Vec<u8> = (0..len).map(|at| (at * 7 + round) as u8).collect();
                        let fds = files([0, 1, 2, 16][round % 4], round * 100);
                        ours.send(&payload, &borrowed(&fds)).expect("room for it");
                    }
                });
                for (round, len) in sizes.into_iter().enumerate() {
                    let message = theirs.recv().expect("a message");
                    assert_eq!(message.bytes.len(), len, "{kind}");
                    assert!(message.bytes.iter().enumerate().all(|(at, &it)| it == (at * 7 + round) as u8));
                    let numbers: Vec<_> = message.fds.into_iter().map(number_in).collect();
                    let count = [0, 1, 2, 16][round % 4];
                    assert_eq!(numbers, (round * 100..round * 100 + count).collect::<Vec<_>>());
                }
            });
            drop(ours);
            assert!(matches!(theirs.recv(), Err(RecvError::Closed)));
        }
    }

    fn more_than_253_descriptors_arrive() {
        for (_, ours, theirs) in pairs() {
            let fds = files(300, 0);
            ours.send(b"many", &borrowed(&fds)).expect("room for it");
            let message = theirs.recv().expect("a message");
            assert_eq!(message.bytes, b"many");
            let numbers: Vec<_> = message.fds.into_iter().map(number_in).collect();
            assert_eq!(numbers, (0..300).collect::<Vec<_>>());
        }
    }

    fn a_receive_that_asks_again_and_again_waits_and_ends_as_any_other() {
        for (_, ours, theirs) in pairs() {
            theirs.set_busy_poll(Duration::from_millis(5));
            let deadline = Duration::from_millis(20);
            assert!(matches!(theirs.recv_timeout(deadline), Err(RecvError::TimedOut)));
            assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
            thread::scope(|scope| {
                let receiving = scope.spawn(|| theirs.recv().expect("a message").bytes.into_vec());
                ours.send(b"here", &[]).expect("room");
                assert_eq!(receiving.join().expect("no panic"), b"here");
                let receiving = scope.spawn(|| theirs.recv());
                ours.shutdown(std::net::Shutdown::Write).expect("ours");
                assert!(matches!(receiving.join().expect("no panic"), Err(RecvError::Closed)));
            });
        }
    }

    fn calls_are_answered_in_any_order_and_never_left_waiting() {
        for (kind, ours, theirs) in pairs() {
            let (first_is_there, second_may_come) = mpsc::channel();
            let fds = files(2, 0);
            let (ours, fds) = (&ours, &fds);
            thread::scope(|scope| {
                let first = scope.spawn(|| ours.call(b"first", &[]));
                let second = scope.spawn(move || {
                    second_may_come.recv().expect("it is told");
                    ours.call(b"second", &borrowed(fds))
                });
                let dropped = theirs.recv_request().expect("a request");
                assert_eq!(dropped.message().bytes, b"first", "{kind}");
                first_is_there.send(()).expect("it listens");
                let mut answered = theirs.recv_request().expect("a request");
                let question = answered.take_message();
                answered.answer(&question.bytes, &borrowed(&question.fds)).expect("room");
                let answer = second.join().expect("no panic").expect("an answer");
                let numbers: Vec<_> = answer.fds.into_iter().map(number_in).collect();
                assert_eq!((&answer.bytes[..], &numbers[..]), (&b"second"[..], &[0, 1][..]));
                drop(dropped);
                let left = first.join().expect("no panic");
                assert!(matches!(left, Err(CallError::NoAnswer)), "{kind}: {left:?}");
            });
            let late = ours.call_timeout(b"third", &[], Duration::from_millis(5));
            assert!(late.expect_err("nobody answers").is_timeout());
            let third = theirs.recv_request_timeout(Duration::from_secs(10)).expect("it waits");
            third.answer(b"late", &borrowed(fds)).expect("room");
            assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
            assert_eq!(ours.late_answers(), 1);
        }
    }
}
