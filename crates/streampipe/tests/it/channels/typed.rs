use std::fs::File;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use streampipe::{
    Bytes, CallError, Channel, Fd, Incoming, RawChannel, RecvError, SendReason, Stream, channel,
    pair,
};

use super::pairs;
use crate::engines::tests_of_engines;
use crate::messages::{borrowed, files, number_in};
use crate::support::tests_alone;

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    name: String,
    inputs: Vec<Fd>,
    log: Option<Fd>,
    body: Bytes,
}

fn job(size: usize, fds: usize) -> Job {
    let mut inputs = files(fds, 0).into_iter().map(Fd::from);
    let log = inputs.next();
    Job { name: "a".repeat(size / 3), inputs: inputs.collect(), log, body: vec![7; size].into() }
}

tests_of_engines! {
    fn values_arrive_with_their_descriptors() {
        for (ours, theirs) in pairs::<Job, usize>() {
            for size in [0, 1, 4095, 4096, 65536, 1 << 20] {
                for fds in [0, 1, 5] {
                    thread::scope(|scope| {
                        scope.spawn(|| ours.send(job(size, fds)).expect("room"));
                        let job = theirs.recv().expect("a job");
                        assert_eq!((job.name.len(), job.body.len()), (size / 3, size));
                        assert!(job.body.iter().all(|&it| it == 7));
                        let fds_came = job.log.into_iter().chain(job.inputs);
                        let numbers: Vec<_> = fds_came.map(|fd| number_in(fd.into())).collect();
                        assert_eq!(numbers, (0..fds).collect::<Vec<_>>());
                    });
                }
            }
            theirs.send(&5).expect("room");
            assert_eq!(ours.recv().expect("an answer"), 5);
            drop(ours);
            assert!(matches!(theirs.recv(), Err(RecvError::Closed)));
        }
    }
}

tests_alone! {
    fn a_channel_travels_in_a_message_and_works_there() {
        #[derive(Serialize, Deserialize)]
        struct Introduction {
            to: Channel<String, usize>,
            raw: RawChannel,
            stream: Stream,
            #[serde(with = "streampipe::passed")]
            file: File,
        }
        let (ours, theirs) = channel::<Introduction, ()>().expect("a pair");
        let (to, other) = channel::<String, usize>().expect("a pair");
        let (raw, other_raw) = RawChannel::pair().expect("a pair");
        let (stream, mut other_stream) = pair().expect("a pair");
        let file = tempfile::tempfile().expect("a file");
        ours.send(Introduction { to, raw, stream, file }).expect("room");
        let mut came = theirs.recv().expect("it was sent");
        came.to.send("hello".to_owned()).expect("room");
        assert_eq!(other.recv().expect("a word"), "hello");
        came.raw.send(b"raw", &[]).expect("room");
        assert_eq!(other_raw.recv().expect("bytes").bytes, b"raw");
        came.stream.write_all(b"x").expect("room");
        other_stream.read_exact(&mut [0]).expect("a byte");
        came.file.write_all(b"x").expect("room");
        drop(came);
        assert!(matches!(other.recv(), Err(RecvError::Closed)));
        assert_eq!(other_stream.read(&mut [0]).expect("the end"), 0);
    }

    fn a_failed_send_gives_the_value_back() {
        let (ours, theirs) = channel::<Job, ()>().expect("a pair");
        drop(theirs);
        let error = ours.send(job(10, 3)).expect_err("nobody there");
        assert!(matches!(error.reason(), SendReason::Closed));
        assert_eq!(error.into_inner().inputs.len(), 2);
    }

    fn calls_of_many_threads_get_their_own_answers() {
        let (client, server) = channel::<u64, u64>().expect("a pair");
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| server.serve(|number| number * 2).expect("an orderly end"));
            }
            let callers: Vec<_> = (0..8)
                .map(|caller| {
                    let client = &client;
                    scope.spawn(move || {
                        for number in 0..200 {
                            let number = caller * 1000 + number;
                            assert_eq!(client.call(number).expect("an answer"), number * 2);
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|caller| caller.join().expect("no panic"));
            client.shutdown(std::net::Shutdown::Write).expect("ours");
        });
    }

    fn both_sides_call_and_talk() {
        let (ours, theirs) = channel::<u32, String>().expect("a pair");
        thread::scope(|scope| {
            scope.spawn(|| {
                theirs.send("before".to_owned()).expect("room");
                let request = theirs.recv_request().expect("a request");
                assert_eq!(theirs.call("and you?".to_owned()).expect("an answer"), 99);
                let number = request.value;
                request.answer(number.to_string()).expect("room");
            });
            scope.spawn(|| {
                let Ok(Incoming::Value(text)) = ours.recv_any() else { panic!("a value") };
                assert_eq!(text, "before");
                let Ok(Incoming::Request(request)) = ours.recv_any() else { panic!("a request") };
                assert_eq!(request.value, "and you?");
                request.answer(99).expect("room");
            });
            assert_eq!(ours.call(7).expect("an answer"), "7");
        });
    }

    fn a_call_ends_when_there_will_be_no_answer() {
        let (client, server) = channel::<u32, u32>().expect("a pair");
        thread::scope(|scope| {
            scope.spawn(|| drop(server.recv_request().expect("a request")));
            assert!(matches!(client.call(1), Err(CallError::NoAnswer)));
        });
        let error = client.call_timeout(2, Duration::from_millis(20)).expect_err("nobody answers");
        assert!(error.is_timeout());
        server.recv_request().expect("it waits").answer(4).expect("room");
        thread::scope(|scope| {
            scope.spawn(|| {
                let request = server.recv_request().expect("a request");
                request.answer(6).expect("room");
            });
            assert_eq!(client.call(3).expect("its own answer"), 6);
        });
        assert_eq!(client.late_answers(), 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let request = server.recv_request().expect("a request");
                let (_, responder) = request.into_parts();
                server.shutdown(std::net::Shutdown::Both).expect("ours");
                drop(responder);
            });
            assert!(matches!(client.call(1), Err(CallError::NotReceived(RecvError::Closed))));
        });
    }

    fn bombs_are_errors() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Nested(Option<Box<Nested>>);
        let (ours, theirs) = RawChannel::pair().expect("a pair");
        let theirs = Channel::<Nested, Nested>::from(theirs);
        ours.send(&[1; 100_000], &[]).expect("room");
        assert!(matches!(theirs.recv(), Err(RecvError::Undecodable(_))));
        let mut deep = Nested(None);
        for _ in 0..1000 {
            deep = Nested(Some(Box::new(deep)));
        }
        let error = theirs.send(&deep).expect_err("too deep");
        assert!(error.to_string().contains("128"), "{error}");

        let (ours, theirs) = RawChannel::pair().expect("a pair");
        let theirs = Channel::<(), Vec<()>>::from(theirs);
        ours.send(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[]).expect("room");
        assert!(matches!(theirs.recv(), Err(RecvError::Undecodable(_))));
    }

    fn a_descriptor_that_is_not_named_or_named_twice_is_an_error() {
        let (ours, theirs) = RawChannel::pair().expect("a pair");
        let theirs = Channel::<(), (Fd, Fd)>::from(theirs);
        for (bytes, count) in [([0, 0], 2), ([0, 1], 1), ([0, 2], 2), ([0, 1], 3)] {
            let fds = files(count, 0);
            ours.send(&bytes, &borrowed(&fds)).expect("room");
            assert!(matches!(theirs.recv(), Err(RecvError::Undecodable(_))));
        }
        let fds = files(2, 0);
        ours.send(&[1, 0], &borrowed(&fds)).expect("room");
        let (second, first) = theirs.recv().expect("both are named");
        assert_eq!((number_in(first.into()), number_in(second.into())), (0, 1));
    }
}
