//! What is blocked in one direction when that direction is shut down here: it ends, whatever carries the bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use streampipe::{Command, Datagram, RawChannel, RecvError, SeqPacket, Stream, copy_both};

use crate::engines::{over_each_carrier, pair, pair_with_room, tests_of_engines};
use crate::support::tests_alone;

/// Long enough for whatever must come.
const AMPLE: Duration = Duration::from_secs(60);

/// Runs a call that blocks, and shuts down from another thread.
fn ended_by<T: Send>(end: &Stream, how: Shutdown, call: impl FnOnce(&Stream) -> T + Send) -> T {
    let both = Barrier::new(2);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            both.wait();
            call(end)
        });
        both.wait();
        end.shutdown(how).unwrap();
        blocked.join().unwrap()
    })
}

/// Each way to be blocked in a read, with the shutdown through this handle or another one.
fn a_blocked_read_is_ended(pair: impl Fn() -> Stream) {
    for how in [Shutdown::Read, Shutdown::Both] {
        for timeout in [None, Some(AMPLE)] {
            // Many times, for it is a matter of moments.
            for _ in 0..20 {
                let end = pair();
                end.set_read_timeout(timeout).unwrap();
                assert_eq!(ended_by(&end, how, |mut end| end.read(&mut [0; 8]).unwrap()), 0);
                assert_eq!((&end).read(&mut [0; 8]).unwrap(), 0, "and stays so");
            }
            let end = pair();
            end.set_read_timeout(timeout).unwrap();
            let error = ended_by(&end, how, |mut end| end.read_exact(&mut [0; 8]).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            let end = pair();
            end.set_read_timeout(timeout).unwrap();
            let other = end.try_clone().unwrap();
            let both = Barrier::new(2);
            thread::scope(|scope| {
                let blocked = scope.spawn(|| {
                    both.wait();
                    (&other).read(&mut [0; 8]).unwrap()
                });
                both.wait();
                end.shutdown(how).unwrap();
                assert_eq!(blocked.join().unwrap(), 0);
            });
            assert_eq!((&end).read(&mut [0; 8]).unwrap(), 0);
        }
    }
}

fn a_blocked_write_is_ended(pair: impl Fn() -> Stream) {
    let much = vec![0; 8 << 20];
    for how in [Shutdown::Write, Shutdown::Both] {
        for timeout in [None, Some(AMPLE)] {
            let end = pair();
            end.set_write_timeout(timeout).unwrap();
            let error = ended_by(&end, how, |mut end| end.write_all(&much).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
    }
}

/// A program that neither reads nor writes, on two pipes.
fn sleep() -> streampipe::Child {
    Command::new("sleep").arg("1000").on_stdio().spawn().unwrap()
}

/// Its end, with the child left to be ended by the caller.
struct Sleeping {
    child: streampipe::Child,
}

impl Sleeping {
    fn stream(&mut self) -> Stream {
        self.child.stream().try_clone().unwrap()
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

tests_of_engines! {
    fn a_blocked_read_ends_when_reading_is_shut_down() {
        let peers = std::cell::RefCell::new(Vec::new());
        a_blocked_read_is_ended(|| {
            let (a, b) = pair().unwrap();
            peers.borrow_mut().push(b);
            a
        });
    }

    fn a_blocked_write_ends_when_writing_is_shut_down() {
        let peers = std::cell::RefCell::new(Vec::new());
        a_blocked_write_is_ended(|| {
            let (a, b) = pair_with_room(8192).unwrap();
            peers.borrow_mut().push(b);
            a
        });
    }

    fn a_relay_that_waits_ends_when_its_end_is_shut_down() {
        // Many times, for it is a matter of moments.
        for _ in 0..50 {
            let ((a, left), (right, b)) = (pair().unwrap(), pair().unwrap());
            let both = Barrier::new(2);
            thread::scope(|scope| {
                let relay = scope.spawn(|| {
                    both.wait();
                    copy_both(&left, &right)
                });
                both.wait();
                // It has begun.
                (&a).write_all(b"x").unwrap();
                (&b).read_exact(&mut [0]).unwrap();
                left.shutdown(Shutdown::Both).unwrap();
                right.shutdown(Shutdown::Both).unwrap();
                relay.join().unwrap().unwrap();
            });
            drop((a, b));
        }
    }
}

tests_of_engines! {
    fn a_blocked_receive_of_messages_ends_when_reading_is_shut_down() {
        for timeout in [None, Some(AMPLE)] {
            let channels = over_each_carrier(
                |a, b| (RawChannel::from(a), RawChannel::from(b)),
                |a, b| (RawChannel::from(a), RawChannel::from(b)),
            );
            for (a, b) in channels {
                for _ in 0..2 {
                    let both = Barrier::new(3);
                    thread::scope(|scope| {
                        let receives = |call: fn(&RawChannel, Option<Duration>) -> Option<RecvError>| {
                            let (a, both) = (&a, &both);
                            scope.spawn(move || {
                                both.wait();
                                call(a, timeout).expect("no message")
                            })
                        };
                        let blocked = [
                            receives(|a, timeout| match timeout {
                                Some(timeout) => a.recv_timeout(timeout).err(),
                                None => a.recv().err(),
                            }),
                            receives(|a, timeout| match timeout {
                                Some(timeout) => a.recv_request_timeout(timeout).err(),
                                None => a.recv_request().err(),
                            }),
                        ];
                        both.wait();
                        a.shutdown(Shutdown::Read).unwrap();
                        for receive in blocked {
                            let error = receive.join().unwrap();
                            assert!(matches!(error, RecvError::Closed), "{error:?}");
                        }
                    });
                }
                drop(b);
            }
        }
    }
}

/// A blocked receive of packets is ended by its reading, a blocked send by its writing.
macro_rules! packets_are_ended {
    ($kind:ident) => {
        for timeout in [None, Some(AMPLE)] {
            for _ in 0..20 {
                let (a, b) = $kind::pair().unwrap();
                a.set_read_timeout(timeout).unwrap();
                a.set_write_timeout(timeout).unwrap();
                let both = Barrier::new(3);
                thread::scope(|scope| {
                    let receive = scope.spawn(|| {
                        both.wait();
                        a.recv(&mut [0; 8]).unwrap()
                    });
                    let send = scope.spawn(|| {
                        both.wait();
                        loop {
                            if let Err(error) = a.send(&[0; 1000]) {
                                return error.kind();
                            }
                        }
                    });
                    both.wait();
                    a.shutdown(Shutdown::Read).unwrap();
                    assert_eq!(receive.join().unwrap(), 0);
                    a.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(send.join().unwrap(), ErrorKind::BrokenPipe);
                });
                drop(b);
            }
        }
    };
}

tests_alone! {
    fn blocked_packets_end_when_their_direction_is_shut_down() {
        packets_are_ended!(SeqPacket);
        packets_are_ended!(Datagram);
    }

    fn a_blocked_read_of_two_pipes_ends_when_reading_is_shut_down() {
        let children = std::cell::RefCell::new(Vec::new());
        a_blocked_read_is_ended(|| {
            let mut child = Sleeping { child: sleep() };
            let stream = child.stream();
            children.borrow_mut().push(child);
            stream
        });
    }

    fn a_blocked_write_to_two_pipes_ends_when_writing_is_shut_down() {
        let children = std::cell::RefCell::new(Vec::new());
        a_blocked_write_is_ended(|| {
            let mut child = Sleeping { child: sleep() };
            let stream = child.stream();
            children.borrow_mut().push(child);
            stream
        });
    }

    fn a_relay_of_two_pipes_ends_when_its_end_is_shut_down() {
        let mut sleeping = Sleeping { child: sleep() };
        let left = sleeping.stream();
        let (right, other) = Stream::pair().unwrap();
        let both = Barrier::new(2);
        thread::scope(|scope| {
            let relay = scope.spawn(|| {
                both.wait();
                copy_both(&left, &right)
            });
            both.wait();
            left.shutdown(Shutdown::Both).unwrap();
            right.shutdown(Shutdown::Both).unwrap();
            relay.join().unwrap().unwrap();
        });
        drop(other);
    }

    /// As with a socket: what is queued can still be read, and the peer's writes fail.
    fn what_is_queued_in_a_pipe_can_still_be_read() {
        let script = "printf queued; read go; trap '' PIPE; printf more || exit 7";
        let mut child = Command::new("sh").args(["-c", script]).on_stdio().spawn().unwrap();
        let stream = child.take_stream().unwrap();
        let copies = [stream.try_clone().unwrap(), stream.try_clone().unwrap()];
        // Until it is there.
        let fd = std::os::fd::AsFd::as_fd(&stream);
        assert!(crate::support::readable_within(fd, AMPLE));
        stream.shutdown(Shutdown::Read).unwrap();
        stream.shutdown(Shutdown::Read).unwrap();
        let later = stream.try_clone().unwrap();
        let mut all = String::new();
        (&copies[0]).read_to_string(&mut all).unwrap();
        assert_eq!(all, "queued");
        for end in [&stream, &copies[0], &copies[1], &later] {
            assert_eq!((&mut &*end).read(&mut [0; 8]).unwrap(), 0);
            // The number itself has ended, too.
            assert_eq!(rustix::io::read(end, &mut [0; 8]).unwrap(), 0);
        }
        (&stream).write_all(b"go\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7), "nobody reads it any more");
    }

    /// A program that writes for ever does not keep the shutdown.
    fn a_flood_does_not_keep_the_shutdown() {
        let mut yes = Command::new("yes").on_stdio().spawn().unwrap();
        let stream = yes.take_stream().unwrap();
        assert_eq!((&stream).read(&mut [0; 2]).unwrap(), 2);
        stream.shutdown(Shutdown::Read).unwrap();
        let mut all = Vec::new();
        (&stream).read_to_end(&mut all).unwrap();
        assert!(all.chunks(2).all(|line| b"y\n".starts_with(line)));
        assert!(!yes.wait().unwrap().success(), "it ended of its own accord");
    }

    fn tasks_that_wait_for_two_pipes_are_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut sleeping = Sleeping { child: sleep() };
        for through_the_handle in [true, false] {
            let stream = if through_the_handle { sleeping.stream() } else {
                sleeping = Sleeping { child: sleep() };
                sleeping.stream()
            };
            let other = stream.try_clone().unwrap();
            runtime.block_on(async {
                use tokio::io::AsyncReadExt as _;

                let mut stream = streampipe::tokio::Stream::try_from(stream).unwrap();
                let waited = async {
                    let mut buffer = [0; 8];
                    tokio::join!(stream.recv_fds(&mut buffer), async {
                        tokio::task::yield_now().await;
                        if through_the_handle {
                            stream.end_direction(Shutdown::Read).unwrap();
                        } else {
                            other.shutdown(Shutdown::Read).unwrap();
                        }
                    }).0.unwrap().0
                };
                assert_eq!(waited.await, 0);
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            });
            drop(other);
        }
        // A poll that waits.
        let mut sleeping = Sleeping { child: sleep() };
        let stream = sleeping.stream();
        let other = stream.try_clone().unwrap();
        runtime.block_on(async {
            use tokio::io::AsyncReadExt as _;

            let mut stream = streampipe::tokio::Stream::try_from(stream).unwrap();
            let mut buffer = [0; 8];
            let (read, ()) = tokio::join!(stream.read(&mut buffer), async {
                tokio::task::yield_now().await;
                other.shutdown(Shutdown::Read).unwrap();
            });
            assert_eq!(read.unwrap(), 0);
        });
    }
}
