//! A future that was polled and is kept, but polled no more, is in nobody's way.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use streampipe::tokio::{Child, RawChannel, SeqPacket, channel};
use streampipe::{Budget, CallError, Command, Message, RecvError, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{block_on, pair, raw_pairs, soon};
use crate::engines::{over_each_carrier, tests_of_engines};
use crate::support::tests_alone;

/// More than there is ever room for.
const LARGE: usize = 4 << 20;

/// Polls the future once, for this task.
async fn poll_here<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls the future a few times, as a `select!` in a loop does; it is kept after that.
async fn keep<F: Future>(mut future: Pin<&mut F>) {
    for _ in 0..5 {
        assert!(poll_here(future.as_mut()).await.is_pending(), "it was to wait");
        tokio::task::yield_now().await;
    }
}

/// Answers each request with its payload, until the end; counts the messages that came beside.
async fn echo(server: RawChannel) -> usize {
    let mut messages = 0;
    loop {
        tokio::select! {
            biased;
            request = server.recv_request() => match request {
                Ok(mut request) => {
                    let question = request.take_message();
                    request.answer(&question.bytes, &[]).await.expect("room");
                }
                Err(RecvError::Closed) => return messages,
                Err(error) => panic!("{error}"),
            },
            message = server.recv() => match message {
                Ok(_) => messages += 1,
                Err(RecvError::Closed) => return messages,
                Err(error) => panic!("{error}"),
            },
        }
    }
}

fn is(message: Result<Message, RecvError>, byte: u8, len: usize) {
    let message = message.expect("a message");
    assert_eq!(message.bytes.len(), len);
    assert!(message.bytes.iter().all(|&it| it == byte), "another message");
}

/// Receives all there is, until the end: the first byte of each message, and its length.
async fn all(channel: &RawChannel) -> Vec<(u8, usize)> {
    let mut all = Vec::new();
    loop {
        match channel.recv().await {
            Ok(message) => {
                let first = message.bytes[0];
                assert!(message.bytes.iter().all(|&it| it == first), "bytes of two messages");
                all.push((first, message.bytes.len()));
            }
            Err(RecvError::Closed) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Wakes nobody; how many of it there are says who keeps it.
struct Kept;

impl Wake for Kept {
    fn wake(self: Arc<Self>) {}
}

/// Runs a task on a runtime of four threads.
fn block_on_threads<T>(task: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(4).enable_all().build().expect("a runtime").block_on(task)
}

tests_of_engines! {
    /// As one in a `select!` whose other branches are busy.
    fn a_receive_that_is_polled_again_and_again_is_noted_once() {
        block_on(async {
            for (client, server) in raw_pairs() {
                client.set_budget(Budget::default().queued_messages(1));
                server.send(b"wanted by nobody", &[]).await.expect("room");
                let kept = Arc::new(Kept);
                let waker = Waker::from(Arc::clone(&kept));
                let mut request = Box::pin(client.recv_request());
                for polls in 0..200 {
                    let polled = request.as_mut().poll(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending(), "it was to wait");
                    let count = Arc::strong_count(&kept);
                    assert!(count < 16, "noted {count} times after {polls} polls");
                    tokio::task::yield_now().await;
                }
                drop((request, waker));
                assert_eq!(Arc::strong_count(&kept), 1, "it is noted for ever");
                assert_eq!(client.recv().await.expect("a message").bytes, b"wanted by nobody");
            }
        });
    }

    fn a_kept_receive_does_not_delay_a_call() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let serving = tokio::spawn(echo(server));
                let mut kept = Box::pin(client.recv());
                keep(kept.as_mut()).await;
                for _ in 0..10 {
                    is(soon(client.call(&[3; 3], &[])).await.map_err(|it| panic!("{it}")), 3, 3);
                }
                drop(kept);
                drop(client);
                soon(serving).await.expect("no panic");
            }
        });
    }

    fn a_kept_receive_gets_what_comes_for_it() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let mut kept = pin!(ours.recv());
                keep(kept.as_mut()).await;
                theirs.send(&[1; 1], &[]).await.expect("room");
                is(soon(kept).await, 1, 1);
            }
        });
    }

    fn kept_receives_of_each_kind_do_not_delay_live_ones() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let (mut one, mut two) = (pin!(ours.recv()), pin!(ours.recv_request()));
                let (mut three, mut four) = (pin!(ours.recv()), pin!(ours.recv_request()));
                keep(one.as_mut()).await;
                keep(two.as_mut()).await;
                keep(three.as_mut()).await;
                keep(four.as_mut()).await;
                for number in 1..20 {
                    theirs.send(&[number; 7], &[]).await.expect("room");
                    is(soon(ours.recv()).await, number, 7);
                    let answering = async {
                        let mut request = ours.recv_request().await.expect("a request");
                        let question = request.take_message().bytes;
                        request.answer(&question, &[]).await.expect("room");
                    };
                    let question = [number; 9];
                    let (answer, ()) =
                        soon(async { tokio::join!(theirs.call(&question, &[]), answering) }).await;
                    is(answer.map_err(|it| panic!("{it}")), number, 9);
                }
            }
        });
    }

    fn kept_calls_do_not_delay_receives_and_other_calls() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let calls = [(); 6].map(|()| Box::pin(client.call(b"never", &[])));
                let mut unanswered = Vec::new();
                let mut kept = Vec::new();
                for mut call in calls {
                    keep(call.as_mut()).await;
                    unanswered.push(soon(server.recv_request()).await.expect("a request"));
                    kept.push(call);
                }
                for number in 1..20 {
                    server.send(&[number; 7], &[]).await.expect("room");
                    is(soon(client.recv()).await, number, 7);
                    let answering = async {
                        let request = server.recv_request().await.expect("a request");
                        request.answer(&[number; 2], &[]).await.expect("room");
                    };
                    let (answer, ()) =
                        soon(async { tokio::join!(client.call(b"now", &[]), answering) }).await;
                    is(answer.map_err(|it| panic!("{it}")), number, 2);
                }
                // What they waited for is there when they are polled again.
                for request in unanswered {
                    soon(request.answer(&[9; 9], &[])).await.expect("room");
                }
                for call in kept {
                    is(soon(call).await.map_err(|it| panic!("{it}")), 9, 9);
                }
                assert_eq!(client.late_answers(), 0);
            }
        });
    }

    fn a_kept_send_does_not_delay_others_and_is_sent_when_it_is_polled() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let large = vec![1; LARGE];
                let mut kept = Box::pin(ours.send(&large, &[]));
                keep(kept.as_mut()).await;
                // The peer begins to read.
                let (reading, stops) = (all(&theirs), async {
                    for number in 2..10 {
                        soon(ours.send(&[number; 100], &[])).await.expect("room");
                    }
                    soon(ours.send(&vec![10; LARGE], &[])).await.expect("room");
                    soon(kept).await.expect("room");
                    ours.shutdown(std::net::Shutdown::Write).expect("ours");
                });
                let (all, ()) = soon(async { tokio::join!(reading, stops) }).await;
                let mut due: Vec<_> = (2..10).map(|number| (number, 100)).collect();
                due.extend([(10, LARGE), (1, LARGE)]);
                assert_eq!(all, due);
            }
        });
    }

    fn a_kept_send_that_is_dropped_was_not_sent() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let large = vec![1; LARGE];
                let mut kept = Box::pin(ours.send(&large, &[]));
                keep(kept.as_mut()).await;
                let (reading, stops) = (all(&theirs), async {
                    soon(ours.send(&[2; 100], &[])).await.expect("room");
                    drop(kept);
                    soon(ours.send(&[3; 100], &[])).await.expect("room");
                    ours.shutdown(std::net::Shutdown::Write).expect("ours");
                });
                let (all, ()) = soon(async { tokio::join!(reading, stops) }).await;
                assert_eq!(all, [(2, 100), (3, 100)]);
            }
        });
    }

    fn a_kept_send_is_withdrawn_before_the_end() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let large = vec![1; LARGE];
                let mut kept = pin!(ours.send(&large, &[]));
                keep(kept.as_mut()).await;
                // What was sent of it is read, so that there is room for its withdrawal.
                let mut reading = pin!(theirs.recv());
                for _ in 0..100 {
                    assert!(poll_here(reading.as_mut()).await.is_pending());
                    tokio::task::yield_now().await;
                }
                ours.shutdown(std::net::Shutdown::Write).expect("ours");
                let end = soon(reading).await;
                assert!(matches!(end, Err(RecvError::Closed)), "{end:?}");
            }
        });
    }

    fn a_kept_call_that_is_half_sent_does_not_delay_others() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let large = vec![1; LARGE];
                let mut kept = Box::pin(client.call(&large, &[]));
                keep(kept.as_mut()).await;
                let serving = tokio::spawn(echo(server));
                is(soon(client.call(&[2; 2], &[])).await.map_err(|it| panic!("{it}")), 2, 2);
                soon(client.send(b"beside", &[])).await.expect("room");
                is(soon(kept).await.map_err(|it| panic!("{it}")), 1, LARGE);
                drop(client);
                assert_eq!(soon(serving).await.expect("no panic"), 1);
            }
        });
    }

    fn a_kept_answer_does_not_delay_other_answers() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let client = Arc::new(client);
                let caller = Arc::clone(&client);
                let first = tokio::spawn(async move { caller.call(b"first", &[]).await });
                let request = soon(server.recv_request()).await.expect("a request");
                let large = vec![1; LARGE];
                // Nobody reads: the caller is not polled while this one is.
                let mut kept = Box::pin(request.answer(&large, &[]));
                assert!(poll_here(kept.as_mut()).await.is_pending());
                for number in 2..10 {
                    let answering = async {
                        let request = server.recv_request().await.expect("a request");
                        request.answer(&[number; 3], &[]).await.expect("room");
                    };
                    let (answer, ()) =
                        soon(async { tokio::join!(client.call(b"other", &[]), answering) }).await;
                    is(answer.map_err(|it| panic!("{it}")), number, 3);
                }
                soon(kept).await.expect("room");
                is(soon(first).await.expect("no panic").map_err(|it| panic!("{it}")), 1, LARGE);
            }
        });
    }

    fn a_caller_is_told_that_there_is_no_answer_beside_a_kept_send() {
        block_on(async {
            for (client, server) in raw_pairs() {
                let client = Arc::new(client);
                let caller = Arc::clone(&client);
                let calling = tokio::spawn(async move { caller.call(b"first", &[]).await });
                let request = soon(server.recv_request()).await.expect("a request");
                let large = vec![1; LARGE];
                let mut kept = pin!(server.send(&large, &[]));
                assert!(poll_here(kept.as_mut()).await.is_pending());
                drop(request);
                let told = async {
                    let answer = calling.await.expect("no panic");
                    assert!(matches!(answer, Err(CallError::NoAnswer)), "{answer:?}");
                };
                tokio::select! {
                    () = soon(told) => {}
                    request = server.recv_request() => panic!("{request:?}"),
                }
            }
        });
    }

    fn senders_of_large_messages_that_are_all_polled_get_all_of_them_through() {
        let talk = async || {
            for (ours, theirs) in raw_pairs() {
                let ours = Arc::new(ours);
                let senders: Vec<_> = (1..5)
                    .map(|number| {
                        let ours = Arc::clone(&ours);
                        tokio::spawn(async move {
                            for _ in 0..5 {
                                ours.send(&vec![number; LARGE / 4], &[]).await.expect("room");
                            }
                        })
                    })
                    .collect();
                drop(ours);
                let mut all = soon(all(&theirs)).await;
                all.sort_unstable();
                let due = (1..5).flat_map(|number| [(number, LARGE / 4); 5]);
                assert!(all.into_iter().eq(due));
                for sender in senders {
                    soon(sender).await.expect("no panic");
                }
            }
        };
        block_on(talk());
        block_on_threads(talk());
    }

    fn a_hundred_channels_in_one_loop_with_a_heartbeat() {
        block_on(async {
            let mut ours = Vec::new();
            let mut servers = Vec::new();
            for _ in 0..100 / raw_pairs().len() {
                for (client, server) in raw_pairs() {
                    ours.push(client);
                    servers.push(tokio::spawn(echo(server)));
                }
            }
            let mut kept: Vec<_> = ours.iter().map(|channel| Box::pin(channel.recv())).collect();
            for round in 0..3 {
                // One turn of the loop: all are looked at, and the timer is first.
                for future in &mut kept {
                    assert!(poll_here(future.as_mut()).await.is_pending());
                }
                for channel in &ours {
                    let answer = soon(channel.call(&[round; 5], &[])).await;
                    is(answer.map_err(|it| panic!("{it}")), round, 5);
                }
            }
            drop(kept);
            drop(ours);
            for server in servers {
                soon(server).await.expect("no panic");
            }
        });
    }

    fn a_kept_future_of_one_thread_does_not_delay_the_tasks_of_others() {
        for _ in 0..20 {
            block_on_threads(async {
                for (client, server) in raw_pairs() {
                    let serving = tokio::spawn(echo(server));
                    let client = Arc::new(client);
                    let large = vec![1; LARGE];
                    let (mut recv, mut send) = (pin!(client.recv()), pin!(client.send(&large, &[])));
                    assert!(super::poll_once(recv.as_mut()).is_pending());
                    let _ = super::poll_once(send.as_mut());
                    let calls: Vec<_> = (0..20_u8)
                        .map(|number| {
                            let client = Arc::clone(&client);
                            tokio::spawn(async move {
                                let answer = client.call(&[number; 4], &[]).await;
                                is(answer.map_err(|it| panic!("{it}")), number, 4);
                            })
                        })
                        .collect();
                    for call in calls {
                        soon(call).await.expect("no panic");
                    }
                    client.shutdown(std::net::Shutdown::Write).expect("ours");
                    soon(serving).await.expect("no panic");
                }
            });
        }
    }

    fn a_kept_future_does_not_delay_a_blocking_peer() {
        let pairs = over_each_carrier(
            |a, b| (streampipe::RawChannel::from(a), streampipe::RawChannel::from(b)),
            |a, b| (streampipe::RawChannel::from(a), streampipe::RawChannel::from(b)),
        );
        for (ours, theirs) in pairs {
            let serving = thread::spawn(move || {
                let request = theirs.recv_request().expect("a request");
                let question = request.message().bytes.clone();
                request.answer(&question, &[]).expect("room");
                theirs.recv().expect("a message").bytes.len()
            });
            block_on(async {
                let ours = RawChannel::try_from(ours).expect("registered");
                let large = vec![1; LARGE];
                let (mut recv, mut send) = (pin!(ours.recv()), Box::pin(ours.send(&large, &[])));
                keep(recv.as_mut()).await;
                assert!(super::poll_once(send.as_mut()).is_pending());
                is(soon(ours.call(&[2; 2], &[])).await.map_err(|it| panic!("{it}")), 2, 2);
                soon(send).await.expect("room");
            });
            assert_eq!(serving.join().expect("no panic"), LARGE);
        }
    }

    fn kept_reads_and_writes_of_a_stream_do_not_delay_the_other_half() {
        block_on(async {
            let (ours, theirs) = pair().expect("a pair");
            let (mut reads, mut writes) = tokio::io::split(ours);
            let (mut their_reads, mut their_writes) = tokio::io::split(theirs);
            let mut byte = [0; 1];
            {
                let mut kept = pin!(reads.read(&mut byte));
                keep(kept.as_mut()).await;
                for number in 1..100 {
                    soon(writes.write_u8(number)).await.expect("room");
                    assert_eq!(soon(their_reads.read_u8()).await.expect("a byte"), number);
                }
            }
            let large = vec![1; LARGE];
            let mut kept = pin!(writes.write_all(&large));
            keep(kept.as_mut()).await;
            for number in 1..100 {
                soon(their_writes.write_u8(number)).await.expect("room");
                assert_eq!(soon(reads.read_u8()).await.expect("a byte"), number);
            }
        });
    }

    fn a_kept_receive_of_descriptors_does_not_delay_another() {
        block_on(async {
            let (ours, theirs) = pair().expect("a pair");
            let (mut one, mut other) = ([0; 8], [0; 8]);
            let mut kept = pin!(ours.recv_fds(&mut one));
            keep(kept.as_mut()).await;
            for _ in 0..10 {
                theirs.send_fds(b"x", &[]).await.expect("room");
                assert_eq!(soon(ours.recv_fds(&mut other)).await.expect("a byte").0, 1);
            }
        });
    }
}

tests_alone! {
    fn a_kept_receive_of_packets_does_not_delay_another() {
        block_on(async {
            let (ours, theirs) = SeqPacket::pair().expect("a pair");
            let (mut one, mut other) = ([0; 8], [0; 8]);
            let mut kept = pin!(ours.recv(&mut one));
            keep(kept.as_mut()).await;
            for _ in 0..10 {
                theirs.send(b"x").await.expect("room");
                assert_eq!(soon(ours.recv(&mut other)).await.expect("a packet"), 1);
            }
        });
    }

    fn a_kept_receive_of_values_does_not_delay_a_call() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let serving = tokio::spawn(async move { server.serve(async |it| it * 2).await });
            let mut kept = pin!(client.recv());
            let waited = tokio::time::timeout(Duration::from_millis(10), &mut kept).await;
            assert!(waited.is_err());
            assert_eq!(soon(client.call(1)).await.expect("an answer"), 2);
            client.shutdown(std::net::Shutdown::Write).expect("ours");
            soon(serving).await.expect("no panic").expect("served");
        });
    }

    fn the_task_that_reads_for_others_does_not_keep_the_channel_open() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let mut calls: Vec<_> = (0..20).map(|number| Box::pin(client.call(number))).collect();
            for call in &mut calls {
                keep(call.as_mut()).await;
            }
            drop(calls);
            drop(client);
            // At once, with nothing run in between.
            let mut requests = 0;
            let end = loop {
                let mut next = pin!(tokio::task::unconstrained(server.recv()));
                match super::poll_once(next.as_mut()) {
                    Poll::Ready(Err(error)) => break error,
                    Poll::Ready(Ok(_)) => panic!("nothing was sent"),
                    Poll::Pending => requests += 1,
                }
                assert!(requests < 1000, "the end is still open");
            };
            assert!(matches!(end, RecvError::Closed), "{end:?}");
        });
    }

    /// Over two pipes, whoever waits for room has the pipe looked after by another number.
    fn a_kept_send_into_a_pipe_does_not_keep_that_open() {
        block_on(async {
            let mut command = Command::new("sh");
            command.args(["-c", "head -c 1000 >/dev/null; read x; cat >/dev/null"]);
            command.on_stdio().stderr(Stdio::null());
            let mut child = command.spawn().expect("sh");
            let stream = child.take_stream().expect("there");
            let ours = RawChannel::try_from(stream).expect("registered");
            let large = vec![1; LARGE];
            let mut kept = pin!(ours.send(&large, &[]));
            assert!(super::poll_once(kept.as_mut()).is_pending());
            ours.shutdown(std::net::Shutdown::Write).expect("ours");
            // It reads to the end.
            let mut child = Child::try_from(child).expect("registered");
            soon(child.wait()).await.expect("a status");
        });
    }
}
