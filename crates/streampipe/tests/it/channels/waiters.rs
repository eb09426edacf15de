use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};
use streampipe::{Bytes, Fd, channel};

use super::{HANG, pairs};
use crate::engines::tests_of_engines;
use crate::messages::files;
use crate::spawn::helpers::Sleeper;
use crate::support::{identity, tests_alone};

tests_alone! {
    fn messages_that_come_at_once_wake_as_many_who_wait() {
        for _ in 0..50 {
            let (ours, theirs) = channel::<u32, u32>().expect("a pair");
            let sleepers = [(); 3].map(|()| Sleeper::default());
            let [reader, waiters @ ..] = &sleepers;
            let (ours, (got, gets)) = (&ours, mpsc::channel());
            thread::scope(|scope| {
                scope.spawn(|| {
                    reader.is_me();
                    assert_eq!(ours.call_timeout(1, 2 * HANG).expect("an answer"), 2);
                });
                let request = theirs.recv_request().expect("the reader asks");
                reader.sleeps();
                for waiter in waiters {
                    let got = got.clone();
                    scope.spawn(move || {
                        waiter.is_me();
                        let number = ours.recv().expect("one of the two messages");
                        got.send(number).expect("somebody listens");
                    });
                    waiter.sleeps();
                }
                theirs.send(10).expect("room");
                theirs.send(11).expect("room");
                // Both have one while the reader, who could wake them again, still waits for its answer.
                let numbers = [(); 2].map(|()| gets.recv_timeout(HANG));
                request.answer(2).expect("room");
                assert!(numbers.iter().all(Result::is_ok), "one came and was not handed over");
            });
        }
    }
}

type Four = (u8, Bytes, Bytes, Bytes);

/// What each of several senders sends: who, which, and bytes that say so, some of them not copied.
#[derive(Serialize, Deserialize)]
struct Letter {
    from: u8,
    number: u32,
    fd: Option<Fd>,
    bytes: Bytes,
    text: String,
}

impl Letter {
    fn new(from: u8, number: u32, fd: &Fd) -> Self {
        let len = [0, 10, 5000, 40_000, 200_000][number as usize % 5];
        let fd = (number % 3 == 0).then(|| fd.try_clone().expect("room"));
        let text = char::from(b'a' + from).to_string().repeat(len / 7);
        Self { from, number, fd, bytes: vec![from; len].into(), text }
    }

    fn is_whole(&self, fds: &[Fd]) {
        let expected = Self::new(self.from, self.number, &fds[usize::from(self.from)]);
        assert!(self.bytes == expected.bytes && self.text == expected.text, "it is mixed");
        assert_eq!(self.fd.as_ref().map(identity), expected.fd.as_ref().map(identity));
    }
}

tests_of_engines! {
    fn values_of_eight_senders_are_whole_and_in_order() {
        let fds: Vec<Fd> = files(8, 0).into_iter().map(Fd::from).collect();
        for (ours, theirs) in pairs::<Letter, Letter>() {
            thread::scope(|scope| {
                for from in 0..8 {
                    let (ours, fds) = (&ours, &fds);
                    scope.spawn(move || {
                        for number in 0..50 {
                            let letter = Letter::new(from, number, &fds[usize::from(from)]);
                            match number % 2 {
                                0 => ours.send(letter).expect("room"),
                                _ => ours.send_timeout(&letter, HANG).expect("room"),
                            }
                        }
                    });
                }
                let mut next = [0; 8];
                for _ in 0..8 * 50 {
                    let letter = theirs.recv_timeout(HANG).expect("a letter");
                    letter.is_whole(&fds);
                    let next = &mut next[usize::from(letter.from)];
                    assert_eq!(letter.number, *next);
                    *next += 1;
                }
            });
        }
    }

    fn each_message_goes_to_one_of_those_who_wait() {
        for (ours, theirs) in pairs::<u32, u32>() {
            thread::scope(|scope| {
                let readers = [(); 6].map(|()| {
                    scope.spawn(|| theirs.iter().map(|it| it.expect("a number")).collect())
                });
                (0..3000).for_each(|number| ours.send(number).expect("room"));
                ours.shutdown(Shutdown::Write).expect("ours");
                let got = readers.map(|it| it.join().expect("no panic"));
                assert!(got.iter().all(|numbers: &Vec<u32>| numbers.is_sorted()));
                let mut all = got.concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..3000));
            });
        }
    }

    fn large_bytes_are_parts_of_the_message_they_came_in() {
        for (ours, theirs) in pairs::<Four, Four>() {
            let sent = (1, vec![2; 4096].into(), vec![3; 4095].into(), vec![4; 100_000].into());
            let came = thread::scope(|scope| {
                scope.spawn(|| ours.send(&sent).expect("room"));
                theirs.recv().expect("bytes")
            });
            assert!(came == sent);
            drop((ours, theirs));
            let at = |bytes: &Bytes| bytes.as_ptr() as usize;
            // The lengths between them take 2 and 3 bytes.
            assert_eq!(at(&came.3) - at(&came.1), 4096 + 2 + 4095 + 3);
            let copy = came.3.clone();
            assert_eq!(at(&copy), at(&came.3), "a clone is no copy");
            drop(came);
            assert!(copy == vec![4; 100_000] && copy.into_vec() == vec![4; 100_000]);
        }
    }
}

tests_alone! {
    fn bytes_are_sent_on_from_many_threads_at_once() {
        let (ours, theirs) = channel::<Bytes, Bytes>().expect("a pair");
        ours.send(Bytes::from(vec![9; 30_000])).expect("room");
        let bytes = theirs.recv().expect("bytes");
        let onward = [(); 4].map(|()| channel::<Vec<Bytes>, Vec<Bytes>>().expect("a pair"));
        drop((ours, theirs));
        thread::scope(|scope| {
            for (from, to) in &onward {
                let bytes = bytes.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        from.send(vec![bytes.clone(), bytes.clone()]).expect("room");
                        let came = to.recv().expect("both");
                        assert!(came[0] == bytes && came[1] == bytes);
                    }
                });
            }
        });
        assert_eq!(bytes.into_vec(), vec![9; 30_000]);
    }
}
