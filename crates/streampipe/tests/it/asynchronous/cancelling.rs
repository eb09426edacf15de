use std::future::Future;
use std::os::fd::OwnedFd;

use streampipe::tokio::{Channel, Child, RawChannel, SeqPacket, Stream};
use streampipe::{Bytes, CallError, Command, Fd, Message, RecvError};
use tokio::task::JoinHandle;

use super::{block_on, pair, polled, raw_pairs, soon};
use crate::engines::{over_each_carrier, tests_of_engines};
use crate::messages::{borrowed, files, number_in};
use crate::support::tests_alone;

/// Bytes and descriptors of messages: of one frame, of many, with descriptors in several.
const SIZES: [(usize, usize); 6] =
    [(0, 0), (1, 1), (5_000, 3), (60_000, 2), (1_000_000, 300), (3, 0)];

type Values = Channel<(Bytes, Vec<Fd>), (Bytes, Vec<Fd>)>;

fn check(message: Message, (size, fds): (usize, usize)) {
    assert_eq!((message.bytes.len(), message.fds.len()), (size, fds));
    assert!(message.bytes.iter().all(|&byte| byte == size as u8));
    check_files(message.fds);
}

fn check_files(fds: Vec<OwnedFd>) {
    for (number, fd) in fds.into_iter().enumerate() {
        assert_eq!(number_in(fd), number);
    }
}

fn value((size, fds): (usize, usize)) -> (Bytes, Vec<Fd>) {
    let fds = files(fds, 0).into_iter().map(Fd::from).collect();
    (vec![size as u8; size].into(), fds)
}

fn check_value((bytes, fds): (Bytes, Vec<Fd>), size: (usize, usize)) {
    assert_eq!((bytes.len(), fds.len()), size);
    check_files(fds.into_iter().map(OwnedFd::from).collect());
}

/// Repeats what is cancelled after no poll, after one, after two, until it is done; how often it was not.
async fn insisting<T, F: Future<Output = T>>(mut make: impl FnMut() -> F) -> (T, usize) {
    for polls in 0..100_000 {
        if let Some(done) = polled(polls, make()).await {
            return (done, polls);
        }
    }
    panic!("it is never done");
}

/// Typed channels over each carrier.
fn value_pairs() -> Vec<(Values, Values)> {
    over_each_carrier(
        |a, b| (a.try_into().expect("registered"), b.try_into().expect("registered")),
        |a, b| (a.try_into().expect("registered"), b.try_into().expect("registered")),
    )
}

/// Receives all there is, until the end.
fn collect(channel: RawChannel) -> JoinHandle<Vec<(usize, usize)>> {
    tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            match channel.recv().await {
                Ok(message) => {
                    all.push((message.bytes.len(), message.fds.len()));
                    let size = (message.bytes.len(), message.fds.len());
                    check(message, size);
                }
                Err(RecvError::Closed) => return all,
                Err(error) => panic!("{error}"),
            }
        }
    })
}

tests_of_engines! {
    fn a_message_comes_once_and_whole_however_often_its_receive_is_dropped() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let sending = tokio::spawn(async move {
                    for size in SIZES {
                        let fds = files(size.1, 0);
                        let bytes = vec![size.0 as u8; size.0];
                        ours.send(&bytes, &borrowed(&fds)).await.expect("room");
                    }
                });
                let mut dropped = 0;
                for size in SIZES {
                    let (message, times) = soon(insisting(|| theirs.recv())).await;
                    check(message.expect("a message"), size);
                    dropped += times;
                }
                assert!(dropped > SIZES.len(), "the receives were done at once");
                sending.await.expect("no panic");
                assert!(matches!(theirs.recv().await, Err(RecvError::Closed)));
            }
        });
    }

    fn a_send_that_is_dropped_sends_nothing_and_one_that_is_done_all() {
        block_on(async {
            for size in SIZES {
                let fds = files(size.1, 0);
                let bytes = vec![size.0 as u8; size.0];
                for kind in 0..raw_pairs().len() {
                    for polls in 0.. {
                        let (ours, theirs) = raw_pairs().swap_remove(kind);
                        let heard = collect(theirs);
                        let sent = polled(polls, ours.send(&bytes, &borrowed(&fds))).await;
                        let mut due = Vec::new();
                        if let Some(sent) = &sent {
                            sent.as_ref().expect("room");
                            due.push(size);
                        }
                        ours.send(&[9; 9], &[]).await.expect("room");
                        due.push((9, 0));
                        drop(ours);
                        assert_eq!(soon(heard).await.expect("no panic"), due, "{polls} polls");
                        if sent.is_some() {
                            break;
                        }
                    }
                }
            }
        });
    }

    fn a_send_can_be_withdrawn_wherever_it_was_cut() {
        block_on(async {
            // Some of these end within a frame, its last one.
            for size in (30_000..74_000).step_by(1_777) {
                for (ours, theirs) in raw_pairs() {
                    let bytes = vec![size as u8; size];
                    let mut due = Vec::new();
                    while let Some(sent) = polled(2, ours.send(&bytes, &[])).await {
                        sent.expect("room");
                        due.push((size, 0));
                    }
                    assert!(due.len() > 1);
                    let heard = collect(theirs);
                    soon(ours.send(&[9; 9], &[])).await.expect("room");
                    due.push((9, 0));
                    drop(ours);
                    assert_eq!(soon(heard).await.expect("no panic"), due, "of {size} bytes");
                }
            }
        });
    }

    fn a_call_that_is_dropped_anywhere_leaves_a_channel_that_works() {
        block_on(async {
            for (client, server) in value_pairs() {
                let serving = tokio::spawn(async move {
                    let mut served = 0;
                    loop {
                        let request = match server.recv_request().await {
                            Ok(request) => request,
                            Err(RecvError::Closed) => return served,
                            Err(error) => panic!("{error}"),
                        };
                        let (question, responder) = request.into_parts();
                        responder.answer(question).await.expect("room");
                        served += 1;
                    }
                });
                let mut done = 0;
                for size in SIZES {
                    let (answer, _) = soon(insisting(|| client.call(value(size)))).await;
                    check_value(answer.expect("an answer"), size);
                    done += 1;
                }
                let answer = soon(client.call(value((7, 7)))).await;
                check_value(answer.expect("an answer"), (7, 7));
                let late = client.late_answers();
                drop(client);
                let served = soon(serving).await.expect("no panic");
                assert_eq!(served, late + done + 1);
            }
        });
    }

    fn a_request_is_received_once_however_often_that_is_dropped() {
        block_on(async {
            for (client, server) in value_pairs() {
                let calling = tokio::spawn(async move {
                    for size in SIZES {
                        check_value(client.call(value(size)).await.expect("an answer"), size);
                    }
                });
                for size in SIZES {
                    let (request, _) = soon(insisting(|| server.recv_request())).await;
                    let (question, responder) = request.expect("a request").into_parts();
                    check_value(question, size);
                    responder.answer(value(size)).await.expect("room");
                }
                soon(calling).await.expect("no panic");
                assert!(matches!(server.recv_request().await, Err(RecvError::Closed)));
            }
        });
    }

    fn an_answer_that_is_dropped_is_none_and_one_that_is_done_is_whole() {
        block_on(async {
            for size in SIZES {
                for kind in 0..value_pairs().len() {
                    for polls in 0.. {
                        let (client, server) = value_pairs().swap_remove(kind);
                        let calling = tokio::spawn(async move {
                            (client.call(value((1, 0))).await, client.call(value((2, 0))).await)
                        });
                        let request = server.recv_request().await.expect("a request");
                        let answered = polled(polls, request.answer(value(size))).await;
                        let next = soon(server.recv_request()).await.expect("a request");
                        next.answer(value((2, 2))).await.expect("room");
                        let (first, second) = soon(calling).await.expect("no panic");
                        check_value(second.expect("an answer"), (2, 2));
                        match (&answered, first) {
                            (Some(Ok(())), Ok(answer)) => check_value(answer, size),
                            (None, Err(CallError::NoAnswer)) => {}
                            (sent, other) => panic!("{sent:?} {other:?} after {polls} polls"),
                        }
                        if answered.is_some() {
                            break;
                        }
                    }
                }
            }
        });
    }

    fn bytes_and_their_descriptors_come_once_however_often_that_is_dropped() {
        block_on(async {
            let (ours, theirs) = pair().expect("a pair");
            let flooding = tokio::spawn(async move {
                let fds = files(3, 0);
                for number in 0..600_u32 {
                    let fds = borrowed(&fds[..1 + number as usize % 3]);
                    let byte = [number as u8; 1];
                    let (sent, _) = insisting(|| ours.send_fds(&byte, &fds)).await;
                    assert_eq!(sent.expect("room"), 1);
                }
            });
            for number in 0..600_u32 {
                let receive = async || {
                    let mut bytes = [0; 64];
                    let (len, fds) = theirs.recv_fds(&mut bytes).await.expect("bytes");
                    (bytes[0], len, fds)
                };
                let ((byte, len, fds), _) = soon(insisting(receive)).await;
                assert_eq!((byte, len, fds.len()), (number as u8, 1, 1 + number as usize % 3));
                check_files(fds);
            }
            flooding.await.expect("no panic");
        });
    }
}

tests_alone! {
    fn packets_and_their_descriptors_come_once_however_often_that_is_dropped() {
        let descriptors = |number: u64| (number % 4) as usize;
        block_on(async {
            let (ours, theirs) = SeqPacket::pair().expect("a pair");
            let flooding = tokio::spawn(async move {
                let fds = files(3, 0);
                for number in 0..600_u64 {
                    let packet = number.to_ne_bytes();
                    let fds = borrowed(&fds[..descriptors(number)]);
                    let (sent, _) = insisting(|| ours.send_fds(&packet, &fds)).await;
                    assert_eq!(sent.expect("room"), 8);
                }
            });
            for number in 0..600_u64 {
                let receive = async || {
                    let mut packet = [0; 8];
                    let (len, fds) = theirs.recv_fds(&mut packet).await.expect("a packet");
                    (packet, len, fds)
                };
                let ((packet, len, fds), _) = soon(insisting(receive)).await;
                assert_eq!((u64::from_ne_bytes(packet), len), (number, 8));
                assert_eq!(fds.len(), descriptors(number));
                check_files(fds);
            }
            flooding.await.expect("no panic");
            let (end, _) = insisting(async || theirs.recv(&mut [0; 8]).await).await;
            assert_eq!(end.expect("the end"), 0);
        });
    }

    fn a_wait_for_a_child_can_be_dropped_and_made_again() {
        block_on(async {
            let child = Command::new("sh").args(["-c", "read line <&3; exit 7"]).spawn().expect("sh");
            let mut child = Child::try_from(child).expect("registered");
            let stream: Stream = child.take_stream().expect("registered").expect("there");
            for polls in 0..5 {
                assert!(polled(polls, child.wait()).await.is_none());
            }
            drop(stream);
            let status = soon(async {
                loop {
                    if let Some(status) = polled(1, child.wait()).await {
                        return status;
                    }
                }
            });
            assert_eq!(status.await.expect("a status").code(), Some(7));
            assert_eq!(child.wait().await.expect("the same").code(), Some(7));
        });
    }
}
