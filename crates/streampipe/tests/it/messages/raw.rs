use std::thread;
use std::time::Duration;

use streampipe::RecvError;

use super::{borrowed, files, number_in, pairs};
use crate::support::tests_alone;

tests_alone! {
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
}
