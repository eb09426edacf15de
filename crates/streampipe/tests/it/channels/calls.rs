use std::iter;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use streampipe::{
    Budget, CallError, Channel, Fd, Incoming, RecvError, Request, Responder, SendReason, channel,
};

use super::by_hand::{ANSWER, ByHand, MESSAGE, NO_ANSWER, REQUEST, WITHDRAWAL, by_hand};
use super::{HANG, pairs};
use crate::engines::tests_of_engines;
use crate::messages::{files, number_in};
use crate::spawn::helpers::Sleeper;
use crate::support::{file_with, tests_alone};

/// Answers all requests, not in the order they came, until the peer has finished.
fn answer_in_any_order(server: &Channel<u64, u64>) {
    let mut pending: Vec<Request<u64, u64>> = Vec::new();
    loop {
        let next =
            if pending.is_empty() { server.recv_request() } else { server.try_recv_request() };
        match next {
            Ok(request) => pending.push(request),
            Err(RecvError::Closed) => return assert!(pending.is_empty()),
            Err(RecvError::Empty) => {
                let request = pending.swap_remove(fastrand::usize(..pending.len()));
                let answer = request.value.wrapping_mul(3) + 1;
                request.answer(answer).expect("room");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// 16 threads ask a thousand things each.
fn ask(client: &Channel<u64, u64>) {
    thread::scope(|scope| {
        for caller in 0..16_u64 {
            scope.spawn(move || {
                for number in 0..1000 {
                    let number = caller << 32 | number;
                    let answer = client.call_timeout(number, HANG).expect("an answer");
                    assert_eq!(answer, number.wrapping_mul(3) + 1);
                }
            });
        }
    });
}

/// Sends what fits in without waiting, and one byte at a time at the end.
fn fill<B: serde::de::DeserializeOwned>(channel: &Channel<Vec<u8>, B>) {
    for size in [30_000, 1000, 0] {
        while channel.try_send(vec![0; size]).is_ok() {}
    }
}

/// A request of the peer, and no room to say anything about it.
fn unable_to_tell() -> (Channel<Vec<u8>, u8>, ByHand, Responder<Vec<u8>>) {
    let (ours, peer) = by_hand::<Vec<u8>, u8>();
    peer.send(REQUEST, 7, &[1]);
    let (_, responder) = ours.recv_request().expect("a request").into_parts();
    fill(&ours);
    (ours, peer, responder)
}

/// Reads what fills the channel; the caller must be told after it.
fn is_told(peer: &ByHand) {
    loop {
        match peer.recv().expect("the caller is told") {
            // Sent, or begun and withdrawn.
            (MESSAGE | WITHDRAWAL, 0, _) => {}
            told => return assert_eq!(told, (NO_ANSWER, 7, vec![])),
        }
    }
}

/// The same, where nobody sends and a receive sleeps before it is read, and before this happens.
fn is_told_while_a_receive_sleeps(
    ours: &Channel<Vec<u8>, u8>,
    peer: &ByHand,
    sleeper: &Sleeper,
    then: impl FnOnce(),
) {
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            sleeper.is_me();
            ours.recv()
        });
        sleeper.sleeps();
        then();
        is_told(peer);
        peer.close();
        assert!(matches!(receiving.join().expect("no panic"), Err(RecvError::Closed)));
    });
}

tests_of_engines! {
    fn both_sides_call_at_once_over_one_channel() {
        for (ours, theirs) in pairs::<u64, u64>() {
            let (ours, theirs) = (&ours, &theirs);
            thread::scope(|scope| {
                for end in [ours, theirs] {
                    scope.spawn(move || {
                        end.serve(|number| number.wrapping_mul(3) + 1).expect("an orderly end");
                    });
                }
                let asking = [ours, theirs].map(|end| {
                    scope.spawn(move || {
                        for number in 0..2000 {
                            let answer = end.call_timeout(number, HANG).expect("an answer");
                            assert_eq!(answer, number * 3 + 1);
                        }
                    })
                });
                asking.into_iter().for_each(|it| it.join().expect("no panic"));
                for end in [ours, theirs] {
                    end.shutdown(Shutdown::Write).expect("ours");
                }
            });
        }
    }

    fn late_answers_are_counted_and_their_descriptors_closed() {
        for (client, server) in pairs::<u8, Option<Fd>>() {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            let answer = client.call_timeout(1, Duration::from_millis(1));
            assert!(matches!(answer, Err(ref error) if error.is_timeout()), "{answer:?}");
            let request = server.recv_request().expect("a request");
            request.answer(Some(writer.into())).expect("room");
            server.send(None).expect("room");
            assert!(client.recv().expect("what came after it").is_none());
            assert_eq!(client.late_answers(), 1);
            // The last copy of the writing end is closed.
            assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
        }
    }

    fn answers_nobody_asked_for_and_second_answers_are_late() {
        let (ours, peer) = by_hand::<u8, u8>();
        peer.send(ANSWER, 77, &[1]);
        peer.send(NO_ANSWER, u64::MAX, &[]);
        peer.send(ANSWER, 0, &[1]);
        thread::scope(|scope| {
            let caller = scope.spawn(|| ours.call(5));
            assert_eq!(peer.recv(), Some((REQUEST, 1, vec![5])));
            peer.send(ANSWER, 1, &[6]);
            assert_eq!(caller.join().expect("no panic").expect("the first answer"), 6);
        });
        peer.send(ANSWER, 1, &[9]);
        peer.send(NO_ANSWER, 1, &[]);
        peer.send(MESSAGE, 0, &[8]);
        assert_eq!(ours.recv().expect("a message"), 8);
        assert_eq!(ours.late_answers(), 5);
    }

    fn an_answer_that_is_none_reaches_its_caller_and_nobody_else() {
        let (ours, peer) = by_hand::<u8, bool>();
        thread::scope(|scope| {
            let caller = scope.spawn(|| ours.call(5));
            assert_eq!(peer.recv(), Some((REQUEST, 1, vec![5])));
            peer.send(ANSWER, 1, &[2]);
            let answer = caller.join().expect("no panic");
            let Err(CallError::NotReceived(RecvError::Undecodable(_))) = answer else {
                panic!("{answer:?}")
            };
            peer.send(MESSAGE, 0, &[1]);
            assert!(ours.recv().expect("the channel goes on"));
        });
    }

    fn the_caller_of_a_request_that_is_none_is_told() {
        let (ours, peer) = by_hand::<u8, bool>();
        peer.send(REQUEST, 41, &[2]);
        peer.send(REQUEST, 42, &[1, 1]);
        peer.send(REQUEST, 43, &[1]);
        peer.close();
        ours.serve(|yes| u8::from(yes) + 5).expect("an orderly end");
        for id in [41, 42] {
            assert_eq!(peer.recv(), Some((NO_ANSWER, id, vec![])));
        }
        assert_eq!(peer.recv(), Some((ANSWER, 43, vec![6])));
    }

    fn a_caller_and_a_receiver_share_a_channel() {
        for (ours, theirs) in pairs::<u32, u32>() {
            thread::scope(|scope| {
                scope.spawn(|| {
                    for number in 0..1000 {
                        assert_eq!(ours.call_timeout(number, HANG).expect("an answer"), number);
                    }
                });
                scope.spawn(|| {
                    for number in 0..1000 {
                        assert_eq!(ours.recv_timeout(HANG).expect("a message"), number);
                    }
                });
                for number in 0..1000 {
                    theirs.send(number).expect("room");
                    let request = theirs.recv_request().expect("a request");
                    let value = request.value;
                    request.answer(value).expect("room");
                }
            });
        }
    }

    fn whatever_comes_is_handed_over_in_the_order_it_came() {
        let (ours, peer) = by_hand::<u8, u8>();
        for (kind, id) in [(REQUEST, 1), (MESSAGE, 0), (REQUEST, 2), (MESSAGE, 0), (MESSAGE, 0)] {
            peer.send(kind, id, &[id as u8]);
        }
        peer.send(NO_ANSWER, 1, &[]);
        // All of it waits for somebody while this one waits for its answer.
        assert!(matches!(ours.call(1), Err(CallError::NoAnswer)));
        let kinds = [(); 5].map(|()| match ours.recv_any().expect("it came") {
            Incoming::Request(request) => request.value,
            Incoming::Value(value) => value,
        });
        assert_eq!(kinds, [1, 0, 2, 0, 0]);
    }

    fn a_caller_is_told_when_there_was_no_room_to_say_so_and_a_receive_begins() {
        let (ours, peer, responder) = unable_to_tell();
        let sleeper = Sleeper::default();
        drop(responder);
        is_told_while_a_receive_sleeps(&ours, &peer, &sleeper, || {});
    }

    fn a_caller_is_told_when_there_was_no_room_to_say_so_and_a_receive_sleeps() {
        let (ours, peer, responder) = unable_to_tell();
        let sleeper = Sleeper::default();
        is_told_while_a_receive_sleeps(&ours, &peer, &sleeper, || drop(responder));
    }

    fn a_caller_is_told_when_the_send_that_was_in_the_way_is_over() {
        let (ours, peer) = by_hand::<Vec<u8>, u8>();
        peer.send(REQUEST, 7, &[1]);
        let request = ours.recv_request().expect("a request");
        let sleeper = Sleeper::default();
        thread::scope(|scope| {
            scope.spawn(|| {
                sleeper.is_me();
                ours.send(vec![0; 3_000_000]).expect("room in the end");
            });
            sleeper.sleeps();
            drop(request);
            is_told(&peer);
        });
    }

    fn who_asks_and_reads_nothing_takes_no_memory_without_bound() {
        let (ours, peer) = by_hand::<u8, bool>();
        let requests = 100_000;
        thread::scope(|scope| {
            let serving = scope.spawn(|| ours.serve(u8::from).expect("an orderly end"));
            for id in 1..=requests {
                peer.send(REQUEST, id, &[2]);
            }
            peer.close();
            serving.join().expect("no panic");
        });
        // Those there was room for at once; then, behind what is sent when there is room again, the last that was kept.
        let is_told = AtomicBool::new(false);
        let last = thread::scope(|scope| {
            scope.spawn(|| {
                ours.send(1).expect("room");
                while !is_told.load(Ordering::SeqCst) {
                    assert!(matches!(ours.try_recv(), Err(RecvError::Closed)));
                }
            });
            let mut told = iter::from_fn(|| peer.recv());
            told.find(|it| it.0 == MESSAGE).expect("the message");
            let last = told.next().map(|it| it.1);
            is_told.store(true, Ordering::SeqCst);
            last.expect("somebody else is told")
        });
        assert!(last > 60_000 && last < 80_000, "{last} of {requests} were kept");
    }
}

tests_alone! {
    fn sixteen_thousand_calls_get_their_answers_from_four_threads() {
        let (client, server) = channel::<u64, u64>().expect("a pair");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| answer_in_any_order(&server));
            }
            ask(&client);
            client.shutdown(Shutdown::Write).expect("ours");
        });
        assert_eq!((client.late_answers(), server.late_answers()), (0, 0));
    }

    fn answers_bring_the_descriptors_of_their_questions() {
        let (client, server) = channel::<usize, Fd>().expect("a pair");
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| server.serve(|number| files(1, number).remove(0).into()));
            }
            let callers = [(); 4].map(|()| {
                scope.spawn(|| {
                    for number in 0..100 {
                        let fd = client.call(number).expect("an answer");
                        assert_eq!(number_in(fd.into()), number);
                    }
                })
            });
            callers.into_iter().for_each(|it| it.join().expect("no panic"));
            client.shutdown(Shutdown::Write).expect("ours");
        });
    }

    fn an_answer_that_cannot_be_encoded_comes_back_and_its_caller_is_told() {
        type Flat = std::collections::BTreeMap<String, Fd>;
        let (client, server) = channel::<u8, (Flat, Words)>().expect("a pair");
        thread::scope(|scope| {
            scope.spawn(|| {
                let request = server.recv_request().expect("a request");
                let fds = [("one".to_owned(), Fd::from(file_with(b"1")))].into();
                let error = request.answer((fds, Words)).expect_err("it does not serialize");
                assert!(matches!(error.reason(), SendReason::Unencodable(_)), "{error:?}");
                assert_eq!(number_in(error.into_inner().0.remove("one").expect("it").into()), 1);
            });
            assert!(matches!(client.call(1), Err(CallError::NoAnswer)));
        });
    }

    fn requests_that_nobody_takes_do_not_fill_the_memory() {
        let (ours, theirs) = channel::<u8, u8>().expect("a pair");
        ours.set_budget(Budget::default().queued_messages(10));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..30 {
                    // It is answered in the end.
                    scope.spawn({ let theirs = &theirs; move || theirs.call_timeout(number, HANG) });
                }
            });
            let unclaimed = ours.recv();
            let Err(RecvError::Unclaimed { messages: 0, requests: 10 }) = unclaimed else {
                panic!("{unclaimed:?}")
            };
            for _ in 0..30 {
                ours.recv_request().expect("a request").answer(1).expect("room");
            }
        });
    }
}

/// Serializes as nothing.
struct Words;

impl serde::Serialize for Words {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it does not"))
    }
}

impl<'de> serde::Deserialize<'de> for Words {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
