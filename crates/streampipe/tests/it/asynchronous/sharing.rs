use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::io::Read;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use streampipe::tokio::{Channel, Incoming, RawChannel, SeqPacket, Stream, channel};
use streampipe::{Bytes, CallError, Command, RecvError, SendReason, Stdio};

use tokio::task::unconstrained;

use super::{block_on, polled, soon, waker_that};
use crate::support::tests_alone;

type Texts = Channel<(u64, Bytes), u64>;

/// Runs a task on a runtime of four threads.
fn block_on_threads<T>(task: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(4).enable_all().build().expect("a runtime").block_on(task)
}

/// What the other side has seen, by number: how often.
#[derive(Default)]
struct Oracle {
    requests: Mutex<HashMap<u64, u32>>,
    values: Mutex<HashMap<u64, u32>>,
    answered: AtomicUsize,
}

impl Oracle {
    fn note(map: &Mutex<HashMap<u64, u32>>, number: u64) {
        *map.lock().expect("no panic").entry(number).or_default() += 1;
    }

    fn seen(map: &Mutex<HashMap<u64, u32>>, number: u64) -> u32 {
        map.lock().expect("no panic").get(&number).copied().unwrap_or_default()
    }

    async fn serve(&self, server: Channel<u64, (u64, Bytes)>) {
        loop {
            match server.recv_any().await {
                Ok(Incoming::Value((number, _))) => Self::note(&self.values, number),
                Ok(Incoming::Request(request)) => {
                    let ((number, _), responder) = request.into_parts();
                    Self::note(&self.requests, number);
                    responder.answer(number + 1).await.expect("room");
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What became of what one task has started: its number, whether it is a call, and whether it was done.
async fn caprice(client: Arc<Texts>, task: u64) -> Vec<(u64, bool, bool)> {
    let mut random = fastrand::Rng::with_seed(task);
    let mut all = Vec::new();
    for step in 0..30 {
        let number = task * 1000 + step;
        let text = Bytes::from(vec![0; [10, 5_000, 200_000][random.usize(..3)]]);
        let polls = if random.bool() { usize::MAX } else { random.usize(..6) };
        let is_call = random.bool();
        let is_done = if is_call {
            let answer = polled(polls, client.call((number, text))).await;
            answer.map(|it| assert_eq!(it.expect("an answer"), number + 1)).is_some()
        } else {
            let sent = polled(polls, client.send((number, text))).await;
            sent.map(|it| it.expect("room")).is_some()
        };
        all.push((number, is_call, is_done));
    }
    all
}

/// Counts how often a task is polled.
async fn counted<T>(polls: Arc<AtomicUsize>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(context)
    })
    .await
}

fn is_send<T: Send>(it: T) -> T {
    it
}

/// Compiled, and not run. A value that threads may not share can be sent all the same.
#[allow(dead_code, clippy::let_underscore_future)]
fn futures_go_to_other_threads(
    values: &Channel<Cell<u8>, Cell<u8>>,
    request: streampipe::tokio::Request<Cell<u8>, Cell<u8>>,
    (raw, packets, stream): (&RawChannel, &SeqPacket, &Stream),
    child: &mut streampipe::tokio::Child,
) {
    let _ = is_send(values.send(Cell::new(1)));
    let _ = is_send(values.call(Cell::new(1)));
    let _ = is_send(values.recv());
    let _ = is_send(values.recv_request());
    let _ = is_send(values.recv_any());
    let _ = is_send(values.serve(async |it: Cell<u8>| it));
    let _ = is_send(request.answer(Cell::new(1)));
    let _ = is_send((raw.send(b"", &[]), raw.recv()));
    let _ = is_send((packets.send_fds(b"", &[]), packets.recv_fds(&mut [])));
    let _ = is_send((stream.send_fds(b"", &[]), stream.recv_fds(&mut [])));
    let _ = is_send(child.wait());
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Channel<*const u8, *const u8>>();
    is_shared::<(RawChannel, SeqPacket, Stream, streampipe::tokio::Child)>();
    is_shared::<streampipe::tokio::Responder<*const u8>>();
}

tests_alone! {
    fn tasks_that_change_their_minds_lose_nothing_and_double_nothing() {
        block_on_threads(async {
            let (client, server) = channel().expect("a pair");
            let oracle = Arc::new(Oracle::default());
            let seen = Arc::clone(&oracle);
            let serving = tokio::spawn(async move { seen.serve(server).await });
            let client: Arc<Texts> = Arc::new(client);
            let tasks: Vec<_> =
                (0..64).map(|task| tokio::spawn(caprice(Arc::clone(&client), task))).collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(soon(task).await.expect("no panic"));
            }
            // What was answered before this has come when it has.
            assert_eq!(soon(client.call((1 << 40, Bytes::default()))).await.expect("one"), (1 << 40) + 1);
            let late = client.late_answers();
            drop(client);
            soon(serving).await.expect("no panic");
            let mut calls = 1;
            for (number, is_call, is_done) in all {
                let map = if is_call { &oracle.requests } else { &oracle.values };
                let seen = Oracle::seen(map, number);
                match (is_call, is_done) {
                    (_, true) => assert_eq!(seen, 1, "{number}"),
                    // The request may have been sent, or not.
                    (true, false) => assert!(seen <= 1, "{number}"),
                    (false, false) => assert_eq!(seen, 0, "{number} was withdrawn"),
                }
                calls += u64::from(is_call && is_done);
            }
            assert_eq!(oracle.answered.load(Ordering::Relaxed) as u64, calls + late);
        });
    }

    fn an_answer_wakes_its_own_caller_and_not_the_herd() {
        const CALLS: usize = 1_000;
        block_on(async {
            let (client, server) = channel::<usize, usize>().expect("a pair");
            let client = Arc::new(client);
            let polls = Arc::new(AtomicUsize::new(0));
            let calls: Vec<_> = (0..CALLS)
                .map(|number| {
                    let client = Arc::clone(&client);
                    let call = async move { client.call(number).await.expect("an answer") };
                    tokio::spawn(counted(Arc::clone(&polls), call))
                })
                .collect();
            let mut requests = Vec::new();
            while requests.len() < CALLS {
                requests.push(soon(server.recv_request()).await.expect("a request"));
            }
            let before = polls.load(Ordering::Relaxed);
            fastrand::Rng::with_seed(5).shuffle(&mut requests);
            for request in requests {
                let (number, responder) = request.into_parts();
                soon(responder.answer(number + 1)).await.expect("room");
            }
            for (number, call) in calls.into_iter().enumerate() {
                assert_eq!(soon(call).await.expect("no panic"), number + 1);
            }
            let sending = before;
            let answering = polls.load(Ordering::Relaxed) - before;
            assert!(sending <= 4 * CALLS, "{sending} polls to send {CALLS} calls");
            assert!(answering <= 4 * CALLS, "{answering} polls for {CALLS} answers");
        });
    }

    fn all_calls_fail_when_the_peer_dies() {
        block_on(async {
            // The second leaves a copy of its end to a process that outlives it, until its input ends.
            let keeper = "exec 5<&0; cat <&5 >/dev/null & echo >&3; exec cat >/dev/null <&3";
            for script in ["echo >&3; exec cat >/dev/null <&3", keeper] {
                let mut command = Command::new("sh");
                command.args(["-c", script]).stdin(Stdio::piped());
                let mut child = command.spawn().expect("sh");
                let input = child.stdin.take();
                child.stream().read_exact(&mut [0]).expect("it has started");
                let stream = child.take_stream().expect("there");
                let client = Arc::new(Channel::<u32, u32>::try_from(stream).expect("registered"));
                let calls: Vec<_> = (0..100)
                    .map(|number| {
                        let client = Arc::clone(&client);
                        tokio::spawn(async move { client.call(number).await })
                    })
                    .collect();
                for _ in 0..200 {
                    tokio::task::yield_now().await;
                }
                child.signal(9).expect("it lives");
                for call in calls {
                    match soon(call).await.expect("no panic") {
                        Err(CallError::NotReceived(RecvError::Closed | RecvError::Reset))
                            if script != keeper => {}
                        Err(CallError::NotReceived(RecvError::PeerGone(_))) if script == keeper => {}
                        other => panic!("{other:?}"),
                    }
                }
                drop(input);
                child.wait().expect("a status");
            }
        });
    }

    fn futures_that_are_dropped_leave_no_listener_behind() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let told = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&told);
            let waker = waker_that(move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
            let recv = || Box::pin(unconstrained(server.recv()));
            let mut waiting: Vec<_> = (0..10_000).map(|_| recv()).collect();
            let call = |number| Box::pin(unconstrained(server.call(number)));
            let mut calls: Vec<_> = (0..100).map(call).collect();
            for future in &mut waiting {
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            for call in &mut calls {
                assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            fastrand::Rng::with_seed(6).shuffle(&mut waiting);
            drop((waiting, calls));
            let before = told.load(Ordering::Relaxed);
            client.send(5).await.expect("room");
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(told.load(Ordering::Relaxed), before, "somebody is told who is gone");
            // Those who wait hold the other references to what counts.
            drop(waker);
            assert_eq!(Arc::strong_count(&told), 1, "a waker is left");
            assert_eq!(soon(server.recv()).await.expect("a value"), 5);
        });
    }

    fn a_waker_may_use_the_channel_it_is_told_of() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let server = Arc::new(server);
            let inner = Arc::clone(&server);
            let waker = waker_that(move || assert_eq!(inner.late_answers(), 0));
            let mut reading = pin!(server.recv_request());
            assert!(polled(1, reading.as_mut()).await.is_none());
            let mut listening = Box::pin(server.recv());
            let mut other = Box::pin(server.recv());
            for it in [&mut listening, &mut other] {
                assert!(it.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            client.send(5).await.expect("room");
            assert!(polled(3, reading.as_mut()).await.is_none());
            drop(listening);
            let mut heard = other.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(&mut heard, std::task::Poll::Ready(Ok(5))));
        });
    }

    fn all_callers_are_told_when_many_requests_are_dropped_at_once() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let client = Arc::new(client);
            let calls: Vec<_> = (0..3_000)
                .map(|number| {
                    let client = Arc::clone(&client);
                    tokio::spawn(async move { client.call(number).await })
                })
                .collect();
            let mut requests = Vec::new();
            while requests.len() < calls.len() {
                requests.push(soon(server.recv_request()).await.expect("a request"));
            }
            // More than there is room for, while somebody waits to receive.
            let mut waiting = pin!(server.recv_request());
            assert!(polled(1, waiting.as_mut()).await.is_none());
            drop(requests);
            let told = async {
                for call in calls {
                    assert!(matches!(call.await.expect("no panic"), Err(CallError::NoAnswer)));
                }
            };
            tokio::select! {
                () = soon(told) => {}
                request = waiting => panic!("{request:?}"),
            }
        });
    }

    fn a_caller_is_told_whose_request_was_dropped_while_something_was_sent() {
        block_on(async {
            let (client, server) = channel::<u32, Bytes>().expect("a pair");
            let client = Arc::new(client);
            let caller = Arc::clone(&client);
            let calling = tokio::spawn(async move { caller.call(1).await });
            let request = server.recv_request().await.expect("a request");
            let mut waiting = pin!(server.recv_request());
            assert!(polled(1, waiting.as_mut()).await.is_none());
            let mut sending = pin!(server.send(Bytes::from(vec![1; 3_000_000])));
            assert!(polled(1, sending.as_mut()).await.is_none());
            drop(request);
            let (sent, value) = soon(async { tokio::join!(sending, client.recv()) }).await;
            sent.expect("room");
            assert_eq!(value.expect("a value").len(), 3_000_000);
            assert!(matches!(soon(calling).await.expect("no panic"), Err(CallError::NoAnswer)));
        });
    }

    fn those_who_wait_to_send_are_told_when_the_peer_goes() {
        block_on(async {
            let (client, server) = channel::<Bytes, u32>().expect("a pair");
            let client = Arc::new(client);
            let sends: Vec<_> = (0..100)
                .map(|_| {
                    let client = Arc::clone(&client);
                    tokio::spawn(async move {
                        loop {
                            client.send(Bytes::from(vec![1; 100_000])).await?;
                        }
                        #[allow(unreachable_code, reason = "says the type")]
                        Ok::<(), streampipe::SendError<Bytes>>(())
                    })
                })
                .collect();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            drop(server);
            for send in sends {
                let error = soon(send).await.expect("no panic").expect_err("gone");
                assert!(matches!(error.reason(), SendReason::Closed | SendReason::Io(_)), "{error}");
            }
        });
    }
}
