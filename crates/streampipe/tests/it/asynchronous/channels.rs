use std::pin::pin;
use std::task::Poll;

use streampipe::tokio::{Channel, channel};
use streampipe::{CallError, Fd, RecvError, SendReason};

use super::{block_on, poll_once, raw_pairs};
use crate::engines::tests_of_engines;
use crate::messages::{borrowed, files, number_in};
use crate::support::tests_alone;

tests_of_engines! {
    fn messages_of_any_size_arrive() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let sizes = [0, 1, 4096, 70_000, 3_000_000, 5];
                let sending = async {
                    for size in sizes {
                        let fds = files(size % 3, 0);
                        ours.send(&vec![3; size], &borrowed(&fds)).await.expect("room");
                    }
                };
                let receiving = async {
                    for size in sizes {
                        let message = theirs.recv().await.expect("a message");
                        assert_eq!((message.bytes.len(), message.fds.len()), (size, size % 3));
                        assert!(message.bytes.iter().all(|&it| it == 3));
                    }
                };
                tokio::join!(sending, receiving);
                drop(ours);
                assert!(matches!(theirs.recv().await, Err(RecvError::Closed)));
                assert!(matches!(
                    theirs.send(b"x", &[]).await.expect_err("nobody").reason(),
                    SendReason::Closed
                ));
            }
        });
    }

    fn a_send_that_is_dropped_is_withdrawn_and_the_next_arrives() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                for size in [300_000, 3_000_000] {
                    let large = vec![9; size];
                    {
                        let mut sending = pin!(ours.send(&large, &[]));
                        let _ = poll_once(sending.as_mut());
                    }
                    let next = async {
                        ours.send(b"next", &[]).await.expect("room");
                    };
                    let heard = async {
                        loop {
                            let message = theirs.recv().await.expect("a message");
                            if message.bytes == b"next" {
                                break;
                            }
                            // It was not withdrawn, for it had been sent.
                            assert_eq!(message.bytes, large);
                        }
                    };
                    tokio::join!(next, heard);
                }
            }
        });
    }

    fn a_receive_that_is_dropped_loses_nothing() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let large = vec![9; 1_000_000];
                let mut sending = pin!(ours.send(&large, &[]));
                let mut is_sent = false;
                let message = loop {
                    if !is_sent {
                        is_sent = poll_once(sending.as_mut()).is_ready();
                    }
                    let mut receiving = pin!(theirs.recv());
                    if let Poll::Ready(message) = poll_once(receiving.as_mut()) {
                        break message.expect("a message");
                    }
                    tokio::task::yield_now().await;
                };
                assert_eq!(message.bytes, large);
            }
        });
    }

    fn raw_calls_are_answered_or_told_that_they_are_not() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let fds = files(2, 0);
                let calling = async {
                    let answer = client.call(b"shout", &borrowed(&fds)).await.expect("an answer");
                    let numbers: Vec<_> = answer.fds.into_iter().map(number_in).collect();
                    assert_eq!((&answer.bytes[..], &numbers[..]), (&b"SHOUT"[..], &[0, 1][..]));
                    let none = client.call(b"whisper", &[]).await;
                    assert!(matches!(none, Err(CallError::NoAnswer)), "{none:?}");
                };
                let serving = async {
                    let mut request = server.recv_request().await.expect("a request");
                    let question = request.take_message();
                    let answer = question.bytes.to_ascii_uppercase();
                    request.answer(&answer, &borrowed(&question.fds)).await.expect("room");
                    drop(server.recv_request().await.expect("a request"));
                };
                tokio::join!(calling, serving);
                assert_eq!(client.late_answers(), 0);
            }
        });
    }
}

tests_alone! {
    fn many_calls_are_outstanding_at_once() {
        block_on(async {
            let (client, server) = channel::<(u64, Option<Fd>), u64>().expect("a pair");
            let serving = async {
                let mut waiting = Vec::new();
                for _ in 0..100 {
                    waiting.push(server.recv_request().await.expect("a request"));
                }
                // In another order than they came.
                for request in waiting.into_iter().rev() {
                    let ((number, fd), responder) = request.into_parts();
                    let in_file = fd.map_or(0, |fd| number_in(fd.into()) as u64);
                    responder.answer(number * 2 + in_file).await.expect("room");
                }
            };
            let client = &client;
            let calls = (0..100_u64).map(|number| async move {
                let fd = files((number % 2) as usize, number as usize).pop().map(Fd::from);
                let in_file = if fd.is_some() { number } else { 0 };
                let answer = client.call((number, fd)).await.expect("an answer");
                assert_eq!(answer, number * 2 + in_file);
            });
            let mut calls: Vec<_> = calls.map(Box::pin).collect();
            let calling = async {
                std::future::poll_fn(|context| {
                    calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
                    if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            };
            tokio::join!(serving, calling);
        });
    }

    fn a_call_fails_at_once_when_the_peer_goes() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let calling = async { (client.call(1).await, client.call(2).await) };
            let leaving = async {
                drop(server.recv_request().await.expect("a request"));
                server.recv_request().await.expect("a request");
                drop(server);
            };
            let ((first, second), ()) = tokio::join!(calling, leaving);
            assert!(matches!(first, Err(CallError::NoAnswer)));
            assert!(matches!(second, Err(CallError::NoAnswer | CallError::NotReceived(_))));
        });
    }

    fn a_cancelled_call_is_counted_when_its_answer_comes() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            assert!(poll_once(pin!(client.call(1)).as_mut()).is_pending());
            server.recv_request().await.expect("a request").answer(5).await.expect("room");
            let (answer, ()) = tokio::join!(client.call(2), async {
                server.recv_request().await.expect("a request").answer(6).await.expect("room");
            });
            assert_eq!((answer.expect("its own"), client.late_answers()), (6, 1));
        });
    }

    fn tasks_on_several_threads_share_a_channel() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, server) = channel::<u64, u64>().expect("a pair");
            let server = tokio::spawn(async move { server.serve(|it| async move { it + 1 }).await });
            let client: std::sync::Arc<Channel<u64, u64>> = client.into();
            let callers: Vec<_> = (0..16)
                .map(|caller| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        for number in 0..200 {
                            let number = caller * 1000 + number;
                            assert_eq!(client.call(number).await.expect("an answer"), number + 1);
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("no panic");
            }
            drop(client);
            server.await.expect("no panic").expect("an orderly end");
        });
    }
}
