use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use streampipe::tokio::{Channel, Child, RawChannel, SeqPacket, Stream, channel};
use streampipe::{Budget, Bytes, CallError, Command, RecvError, SendReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;

use super::{block_on, block_on_paused, pair, poll_once, polled, raw_pairs, soon};
use crate::engines::tests_of_engines;
use crate::support::{FreeDescriptors, tests_alone};

/// More than the runtime lets a task do in one turn.
const MANY: usize = 200;

fn is_nonblocking(flags: &str) -> bool {
    let octal = flags.split_whitespace().last().expect("a number");
    u32::from_str_radix(octal, 8).expect("an octal number") & 0o4000 != 0
}

/// What a program that shares the open file description sees of its flags.
fn flags_in_a_child(end: BorrowedFd<'_>) -> String {
    let copy = end.try_clone_to_owned().expect("a duplicate");
    let mut grep = std::process::Command::new("grep");
    let output = grep.args(["flags:", "/proc/self/fdinfo/0"]).stdin(copy).output();
    String::from_utf8(output.expect("grep").stdout).expect("text")
}

/// `None` if the messages were not all received in one poll; how many were.
async fn in_one_turn<T>(mut once: impl AsyncFnMut() -> T) -> usize {
    let mut count = 0;
    let all = async {
        for _ in 0..MANY {
            once().await;
            count += 1;
        }
    };
    let _ = polled(1, all).await;
    count
}

tests_of_engines! {
    fn what_a_thread_left_in_a_channel_is_received_by_a_task() {
        block_on(async {
            // In the queues.
            let (client, server) = streampipe::channel::<u32, u32>().expect("a pair");
            client.send(7).expect("room");
            assert!(matches!(server.try_recv_request(), Err(RecvError::Empty)));
            let server = Channel::try_from(server).expect("registered");
            assert_eq!(soon(server.recv()).await.expect("a value"), 7);
            // A header that came with the message before.
            let (a, b) = crate::engines::pair().expect("a pair");
            let (a, b) = (streampipe::RawChannel::from(a), streampipe::RawChannel::from(b));
            a.send(&[1; 100], &[]).expect("room");
            a.send(&[], &[]).expect("room");
            assert_eq!(b.recv().expect("a message").bytes.len(), 100);
            let b = RawChannel::try_from(b).expect("registered");
            assert!(soon(b.recv()).await.expect("a message").bytes.is_empty());
            // An error that is final.
            let (a, b) = streampipe::SeqPacket::pair().expect("a pair");
            a.send(&[9; 40]).expect("room");
            let b = streampipe::RawChannel::from(b);
            assert!(matches!(b.try_recv(), Err(RecvError::Malformed(_))));
            let b = RawChannel::try_from(b).expect("registered");
            assert!(matches!(soon(b.recv()).await, Err(RecvError::Malformed(_))));
        });
    }

    fn a_task_that_always_has_something_to_do_lets_others_have_a_turn() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let sent = in_one_turn(async || ours.send(b"x", &[]).await.expect("room")).await;
                assert!((1..MANY).contains(&sent), "{sent} sent");
                for _ in sent..MANY {
                    ours.send(b"x", &[]).await.expect("room");
                }
                tokio::task::yield_now().await;
                let received = in_one_turn(async || theirs.recv().await.expect("one")).await;
                assert!((1..MANY).contains(&received), "{received} received");
            }
            let (ours, theirs) = SeqPacket::pair().expect("a pair");
            let sent = in_one_turn(async || ours.send(b"x").await.expect("room")).await;
            assert!((1..MANY).contains(&sent), "{sent} sent");
            for _ in sent..MANY {
                ours.send(b"x").await.expect("room");
            }
            tokio::task::yield_now().await;
            let received = in_one_turn(async || theirs.recv(&mut [0]).await.expect("one")).await;
            assert!((1..MANY).contains(&received), "{received} received");
            let (mut ours, mut theirs) = pair().expect("a pair");
            let sent = in_one_turn(async || ours.write(b"x").await.expect("room")).await;
            assert!((1..MANY).contains(&sent), "{sent} written");
            for _ in sent..MANY {
                ours.write_u8(1).await.expect("room");
            }
            tokio::task::yield_now().await;
            let read = in_one_turn(async || theirs.read_u8().await.expect("one")).await;
            assert!((1..MANY).contains(&read), "{read} read");
        });
    }

    fn nobody_who_shares_the_description_ever_sees_it_nonblocking() {
        block_on(async {
            let (mut ours, mut theirs) = pair().expect("a pair");
            let mut flags = vec![flags_in_a_child(ours.as_fd()), flags_in_a_child(theirs.as_fd())];
            let flood = vec![0; 5_000_000];
            {
                let (read_byte, write_flood) = (theirs.read_u8(), ours.write_all(&flood));
                let (mut reading, mut writing) = (pin!(read_byte), pin!(write_flood));
                assert!(poll_once(reading.as_mut()).is_pending());
                assert!(polled(1, writing.as_mut()).await.is_none());
            }
            flags.extend([flags_in_a_child(ours.as_fd()), flags_in_a_child(theirs.as_fd())]);
            let (client, server) = channel::<u32, u32>().expect("a pair");
            assert!(polled(2, client.call(1)).await.is_none());
            flags.extend([flags_in_a_child(client.as_fd()), flags_in_a_child(server.as_fd())]);
            let back = ours.into_inner();
            flags.push(flags_in_a_child(back.as_fd()));
            for flags in flags {
                assert!(!is_nonblocking(&flags), "{flags}");
            }
            // As a handle for threads, it waits.
            let reader = std::thread::spawn(move || {
                let mut heard = [0; 1];
                std::io::Read::read_exact(&mut &back, &mut heard).map(|()| heard)
            });
            theirs.write_all(b"x").await.expect("room");
            assert_eq!(reader.join().expect("no panic").expect("a byte"), *b"x");
        });
    }

    fn half_of_a_channel_goes_on_when_the_other_has_ended() {
        block_on(async {
            for (ours, theirs) in raw_pairs() {
                let mut waiting = pin!(theirs.recv());
                assert!(polled(2, waiting.as_mut()).await.is_none());
                ours.shutdown(Shutdown::Write).expect("ours");
                assert!(matches!(soon(waiting).await, Err(RecvError::Closed)));
                let (sent, received) = (theirs.send(&[1; 300_000], &[]), ours.recv());
                let (sent, received) = soon(async { tokio::join!(sent, received) }).await;
                sent.expect("room");
                assert_eq!(received.expect("a message").bytes.len(), 300_000);
                let error = ours.send(b"x", &[]).await.expect_err("ended");
                assert!(matches!(error.reason(), SendReason::Closed));
            }
        });
    }
}

tests_alone! {
    fn what_was_read_for_another_is_there_though_nothing_more_comes() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            client.send(7).await.expect("room");
            // It reads the value, for others.
            assert!(polled(5, server.recv_request()).await.is_none());
            assert_eq!(soon(server.recv()).await.expect("a value"), 7);
        });
    }

    fn a_call_goes_on_when_another_task_has_emptied_the_queues() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            client.set_budget(Budget::default().queued_messages(4));
            let mut calling = pin!(client.call(1));
            assert!(polled(1, calling.as_mut()).await.is_none());
            for number in 0..20 {
                server.send(number).await.expect("room");
            }
            server.recv_request().await.expect("a request").answer(99).await.expect("room");
            assert!(polled(10, calling.as_mut()).await.is_none(), "the queue is full");
            let taking = async {
                for number in 0..20 {
                    assert_eq!(client.recv().await.expect("a value"), number);
                }
            };
            let (answer, ()) = soon(async { tokio::join!(calling, taking) }).await;
            assert_eq!(answer.expect("an answer"), 99);
        });
    }

    fn calls_behind_a_backlog_that_nobody_takes_fail_together() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            client.set_budget(Budget::default().queued_messages(4));
            let client = std::sync::Arc::new(client);
            for number in 0..20 {
                server.send(number).await.expect("room");
            }
            // The end of the stream must not keep the reader busy either.
            server.shutdown(Shutdown::Write).expect("ours");
            let calls: Vec<_> = (0..30)
                .map(|number| {
                    let client = std::sync::Arc::clone(&client);
                    tokio::spawn(async move { client.call(number).await })
                })
                .collect();
            // A second for all of them, and not for each.
            for call in calls {
                let failed = soon(call).await.expect("no panic").expect_err("no answer");
                let is_unclaimed = matches!(
                    failed,
                    CallError::NotReceived(RecvError::Unclaimed { messages: 4, requests: 0 })
                );
                assert!(is_unclaimed, "{failed:?}");
            }
            for number in 0..20 {
                assert_eq!(client.recv().await.expect("a value"), number);
            }
            assert!(matches!(client.recv().await, Err(RecvError::Closed)));
        });
    }

    fn a_reader_for_others_lets_others_have_a_turn() {
        block_on(async {
            let (client, server) = channel::<u32, u32>().expect("a pair");
            let call = |number| Box::pin(unconstrained(client.call(number)));
            let mut calls: Vec<_> = (0..MANY as u32).map(call).collect();
            for call in &mut calls {
                assert!(poll_once(call.as_mut()).is_pending());
            }
            let answering = async {
                for _ in 0..MANY {
                    server.recv_request().await.expect("one").answer(1).await.expect("room");
                }
            };
            unconstrained(answering).await;
            drop(calls);
            tokio::task::yield_now().await;
            assert_eq!(client.late_answers(), 0, "nobody has read");
            assert!(polled(1, client.recv()).await.is_none());
            let late = client.late_answers() as usize;
            assert!((1..MANY).contains(&late), "{late} in one turn");
            assert!(polled(10, client.recv()).await.is_none());
            assert_eq!(client.late_answers() as usize, MANY);
        });
    }

    fn a_runtime_without_a_clock_is_told_so_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("a runtime");
        let _inside = runtime.enter();
        let made: [fn(); 4] = [
            || drop(pair()),
            || drop(SeqPacket::pair()),
            || drop(RawChannel::pair()),
            || drop(Child::try_from(Command::new("true").spawn().expect("true"))),
        ];
        for make in made {
            let panic = catch_unwind(AssertUnwindSafe(make)).expect_err("no clock");
            let text = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a text");
            assert!(text.contains("timers are disabled"), "{text}");
        }
        assert!(crate::support::is_childless_within(Duration::from_secs(10)));
    }

    fn a_registration_for_which_there_is_no_descriptor_is_an_error() {
        block_on(async {
            for free in 0..2 {
                let mut child = Command::new("true").spawn().expect("true");
                let stream = child.take_stream().expect("there");
                let full = FreeDescriptors::exactly(free);
                let error = Stream::try_from(stream).expect_err("no room");
                drop(full);
                assert_eq!(error.cause().raw_os_error(), Some(24), "{error}");
                child.wait().expect("a status");
            }
        });
    }

    fn two_handles_of_an_end_that_is_two_pipes_work_side_by_side() {
        block_on(async {
            let mut command = Command::new("cat");
            command.on_stdio();
            let mut child = command.spawn().expect("cat");
            let stream = child.take_stream().expect("there");
            let threads = stream.try_clone().expect("a handle");
            let other = stream.try_clone().expect("a handle");
            let mut one = Stream::try_from(stream).expect("registered");
            let mut other = Stream::try_from(other).expect("registered");
            let (large, mut heard) = (vec![5; 300_000], vec![0; 600_000]);
            let sending = async {
                one.write_all(&large).await.expect("room");
                one.write_all(&large).await.expect("room");
            };
            let hearing = async { other.read_exact(&mut heard).await.expect("an echo") };
            soon(async { tokio::join!(sending, hearing) }).await;
            // A handle that no task has ends the direction for all of them.
            threads.shutdown(Shutdown::Write).expect("ours");
            assert_eq!(soon(one.read(&mut [0; 8])).await.expect("the end"), 0);
            assert_eq!(other.write(b"x").await.expect_err("ended").kind(), ErrorKind::BrokenPipe);
            child.wait().expect("a status");
        });
    }

    fn a_direction_that_ends_while_a_write_waits_ends_the_write() {
        block_on(async {
            for two_pipes in [false, true] {
                let mut command = Command::new("sleep");
                if two_pipes {
                    command.on_stdio();
                }
                let mut child = command.arg("1000").spawn().expect("sleep");
                let stream = child.take_stream().expect("there");
                let other = stream.try_clone().expect("a handle");
                let mut stream = Stream::try_from(stream).expect("registered");
                let flood = vec![0; 5_000_000];
                // In a task of its own, so that nothing but this wakes it.
                let writing = tokio::spawn(async move { stream.write_all(&flood).await });
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                assert!(!writing.is_finished());
                other.shutdown(Shutdown::Write).expect("ours");
                let written = soon(writing).await.expect("no panic");
                assert_eq!(written.expect_err("ended").kind(), ErrorKind::BrokenPipe);
                child.signal(9).expect("it lives");
                child.wait().expect("a status");
            }
        });
    }

    fn timeouts_around_a_slow_peer_lose_nothing() {
        block_on_paused(async {
            let hour = Duration::from_secs(3600);
            let (client, server) = channel::<Bytes, usize>().expect("a pair");
            assert!(tokio::time::timeout(hour, client.call(Bytes::from(vec![1; 10]))).await.is_err());
            // Backpressure: what is not sent within the time is withdrawn.
            let mut sent = 0;
            while let Ok(done) = tokio::time::timeout(hour, client.send(Bytes::from(vec![2; 200_000]))).await {
                done.expect("room");
                sent += 1;
            }
            assert!(sent > 0);
            let request = server.recv_request().await.expect("a request");
            for _ in 0..sent {
                assert_eq!(server.recv().await.expect("a value").len(), 200_000);
            }
            let answering = async {
                request.answer(10).await.expect("room");
                server.recv_request().await.expect("a request").answer(11).await.expect("room");
            };
            let (answer, ()) = tokio::join!(client.call(Bytes::from(vec![3; 11])), answering);
            assert_eq!((answer.expect("its own"), client.late_answers()), (11, 1));
            assert!(tokio::time::timeout(hour, server.recv()).await.is_err(), "withdrawn");
        });
    }
}
