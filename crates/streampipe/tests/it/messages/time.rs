//! One deadline bounds a call, whatever the peer and other threads do (promise P7).

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use streampipe::{Budget, Child, Command, RawChannel, RecvError, SeqPacket};
use streampipe::{SendError, SendReason};
use streampipe_wire::{HEADER_LEN, Kind};

use super::by_hand::{Hand, first, frames, payloads};
use super::{borrowed, files, pairs};
use crate::engines::tests_of_engines;
use crate::spawn::helpers::Sleeper;
use crate::support::tests_alone;

/// How long a call may take.
const LIMIT: Duration = Duration::from_millis(100);

/// How much longer on a machine that has other things to do.
const GRACE: Duration = Duration::from_secs(2);

/// How long a storm lasts that nobody stops: longer than that, so that it is seen when a call does not come back.
const STORM: Duration = Duration::from_secs(6);

/// More than there is ever room for.
const LARGE: usize = 3_000_000;

const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

/// What the call returns, in time.
fn in_time<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let returned = call();
    let took = began.elapsed();
    assert!(took < LIMIT + GRACE, "{what}: it took {took:?}");
    returned
}

fn recv_times_out(what: &str, channel: &RawChannel) {
    let began = Instant::now();
    let received = in_time(what, || channel.recv_timeout(LIMIT));
    assert!(matches!(received, Err(RecvError::TimedOut)), "{what}: {received:?}");
    assert!(began.elapsed() >= LIMIT, "{what}: too early");
    let received = in_time(what, || channel.try_recv());
    assert!(matches!(received, Err(RecvError::Empty)), "{what}: {received:?}");
}

fn timed_out(what: &str, sent: Result<(), SendError>) {
    let is_so = matches!(&sent, Err(error) if matches!(error.reason(), SendReason::TimedOut));
    assert!(is_so, "{what}: {sent:?}");
}

fn is_full(what: &str, sent: Result<(), SendError>) {
    let is_so = matches!(&sent, Err(error) if matches!(error.reason(), SendReason::Full));
    assert!(is_so, "{what}: {sent:?}");
}

/// Does something again and again until it is dropped, or for [`STORM`], or nobody is there any more.
struct Storm<'scope> {
    stops: &'scope AtomicBool,
}

impl<'scope> Storm<'scope> {
    fn start<'env: 'scope>(
        scope: &'scope thread::Scope<'scope, 'env>,
        stops: &'scope AtomicBool,
        mut gust: impl FnMut() -> bool + Send + 'scope,
    ) -> Self {
        let began = Instant::now();
        scope.spawn(move || while !stops.load(SeqCst) && began.elapsed() < STORM && gust() {});
        Self { stops }
    }

    /// From several threads.
    fn start_many<'env: 'scope>(
        scope: &'scope thread::Scope<'scope, 'env>,
        stops: &'scope AtomicBool,
        gust: impl Fn() -> bool + Send + Copy + 'scope,
    ) -> [Self; 4] {
        [(); 4].map(|()| Self::start(scope, stops, gust))
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
    }
}

/// How slow a slow peer is.
fn now_and_then() {
    thread::park_timeout(Duration::from_millis(10));
}

/// Sends messages as fast as it can. On a stream many at once, so that the receiver never catches up.
fn rain(hand: &Hand, turn: &Mutex<()>, kind: Kind) -> bool {
    let drop = frames(kind, 1, b"", 0).swap_remove(0).0;
    // What threads write into a stream at the same time mixes.
    let _alone = hand.is_stream().then(|| turn.lock());
    hand.put(&drop.repeat(if hand.is_stream() { 1000 } else { 1 }), &[])
}

tests_of_engines! {
    fn a_send_to_a_peer_that_never_reads_ends_in_time() {
        let large = vec![7; LARGE];
        for (kind, ours, theirs) in pairs() {
            timed_out(kind, in_time(kind, || ours.send_timeout(&large, &[], LIMIT)));
            // What is owed of it comes before all else, and finds no room either.
            timed_out(kind, in_time(kind, || ours.send_timeout(b"small", &[], LIMIT)));
            is_full(kind, in_time(kind, || ours.try_send(b"small", &[])));
            thread::scope(|scope| {
                let reader = scope.spawn(|| theirs.recv());
                ours.send(b"next", &[]).expect("there is a reader");
                assert_eq!(reader.join().unwrap().expect("a message").bytes, b"next", "{kind}");
            });
        }
    }

    fn small_messages_to_a_peer_that_never_reads_are_sent_or_not() {
        for (kind, ours, theirs) in pairs() {
            let mut sent = 0_u32;
            while ours.try_send(&sent.to_le_bytes(), &[]).is_ok() {
                sent += 1;
            }
            is_full(kind, in_time(kind, || ours.try_send(b"lost", &[])));
            timed_out(kind, in_time(kind, || ours.send_timeout(b"lost", &[], LIMIT)));
            let fds = files(1, 0);
            timed_out(kind, in_time(kind, || ours.send_timeout(b"", &borrowed(&fds), LIMIT)));
            for number in 0..sent {
                assert_eq!(theirs.recv().expect("a message").bytes, number.to_le_bytes());
            }
            ours.send(b"next", &[]).expect("there is room");
            assert_eq!(theirs.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn a_send_to_a_peer_that_reads_a_little_now_and_then_ends_in_time() {
        let large = vec![7; LARGE];
        for (kind, ours, hand) in Hand::pairs() {
            let stops = AtomicBool::new(false);
            let read = thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    let mut read = Vec::new();
                    while !stops.load(SeqCst) {
                        read.extend(hand.get(1));
                        now_and_then();
                    }
                    loop {
                        match hand.get(100_000) {
                            end if end.is_empty() => return read,
                            more => read.extend(more),
                        }
                    }
                });
                timed_out(kind, in_time(kind, || ours.send_timeout(&large, &[], LIMIT)));
                stops.store(true, SeqCst);
                ours.send(b"next", &[]).expect("there is a reader");
                drop(ours);
                reader.join().unwrap()
            });
            assert_eq!(payloads(&read), [b"next"], "{kind}");
        }
    }

    fn a_send_ends_in_time_while_another_thread_is_sending() {
        for (kind, ours, hand) in Hand::pairs() {
            let large = vec![7; LARGE];
            let read = thread::scope(|scope| {
                scope.spawn(|| ours.send(&large, &[]).expect("there is a reader"));
                // It has begun, and cannot end.
                let mut read = hand.get(HEADER_LEN);
                timed_out(kind, in_time(kind, || ours.send_timeout(b"lost", &[], LIMIT)));
                is_full(kind, in_time(kind, || ours.try_send(b"lost", &[])));
                while read.len() < LARGE {
                    read.extend(hand.get(100_000));
                }
                ours.send(b"next", &[]).expect("there is room");
                ours.shutdown(std::net::Shutdown::Write).expect("a socket");
                loop {
                    match hand.get(100_000) {
                        end if end.is_empty() => return read,
                        more => read.extend(more),
                    }
                }
            });
            let payloads = payloads(&read);
            assert!(payloads == [large, b"next".to_vec()], "{kind}: {}", payloads.len());
        }
    }

    fn a_receive_from_a_silent_peer_ends_in_time() {
        for (kind, ours, theirs) in pairs() {
            recv_times_out(kind, &ours);
            theirs.send(b"next", &[]).expect("room for it");
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn a_receive_from_a_peer_that_sends_a_byte_at_a_time_ends_in_time() {
        for (kind, ours, hand) in Hand::pairs() {
            let message = [7; 200];
            let stops = AtomicBool::new(false);
            // On a stream a byte of a frame, on packets a frame of a byte.
            let pieces: Vec<Vec<u8>> = if hand.is_stream() {
                frames(Kind::Message, 0, &message, 0)[0].0.iter().map(|&it| vec![it]).collect()
            } else {
                (0..message.len() as u64).map(|at| first(&[7], 199 - at, 0)).collect()
            };
            let (soon, late) = pieces.split_at(100);
            let mut soon = soon.iter();
            thread::scope(|scope| {
                let storm = Storm::start(scope, &stops, || {
                    now_and_then();
                    soon.next().is_none_or(|piece| hand.put(piece, &[]))
                });
                recv_times_out(kind, &ours);
                recv_times_out(kind, &ours);
                drop(storm);
            });
            // What came of it is kept.
            for piece in soon.chain(late) {
                assert!(hand.put(piece, &[]));
            }
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, message, "{kind}");
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn a_receive_of_nothing_but_first_frames_ends_in_time() {
        for (kind, ours, hand) in Hand::pairs() {
            let stops = AtomicBool::new(false);
            thread::scope(|scope| {
                let storm = Storm::start(scope, &stops, || {
                    hand.put(&first(b"begun", 1000, 5), &[]) && hand.withdraw(0)
                });
                let received = in_time(kind, || ours.recv_timeout(LIMIT));
                assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
                let received = in_time(kind, || ours.try_recv());
                assert!(matches!(received, Err(RecvError::Empty)), "{kind}: {received:?}");
                drop(storm);
                recv_times_out(kind, &ours);
            });
            for rest_fds in [0, 3] {
                hand.put(&first(b"begun", 10, rest_fds), &[]);
                recv_times_out(kind, &ours);
                hand.withdraw(0);
            }
            assert!(hand.put(&first(b"begun", 0, 3), &[]));
            recv_times_out(kind, &ours);
            assert!(hand.withdraw(0));
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn a_receive_of_a_message_without_end_ends_in_time() {
        for (kind, ours, hand) in Hand::pairs() {
            let stops = AtomicBool::new(false);
            let mut left = 1_u64 << 60;
            thread::scope(|scope| {
                let storm = Storm::start(scope, &stops, || {
                    left -= 1000;
                    hand.put(&first(&[7; 1000], left, 0), &[])
                });
                let received = in_time(kind, || ours.recv_timeout(LIMIT));
                assert!(matches!(received, Err(RecvError::TooLarge(_))), "{kind}: {received:?}");
                let received = in_time(kind, || ours.recv_timeout(LIMIT));
                assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
                let received = in_time(kind, || ours.try_recv());
                assert!(matches!(received, Err(RecvError::Empty)), "{kind}: {received:?}");
                drop(storm);
                recv_times_out(kind, &ours);
            });
            assert!(hand.withdraw(0));
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    fn a_receive_in_a_storm_of_what_nobody_asked_for_ends_in_time() {
        let most = Budget::default().queued_bytes(u64::MAX).queued_messages(u32::MAX);
        let kinds = [
            (Kind::Request, most),
            (Kind::Request, Budget::default()),
            (Kind::Answer, Budget::default()),
            (Kind::NoAnswer, Budget::default()),
        ];
        for (storms_of, budget) in kinds {
            for (kind, ours, hand) in Hand::pairs() {
                let what = format!("{kind}, {storms_of:?}");
                ours.set_budget(budget);
                let (stops, turn) = (AtomicBool::new(false), Mutex::new(()));
                thread::scope(|scope| {
                    let storm = Storm::start_many(scope, &stops, || rain(&hand, &turn, storms_of));
                    let received = in_time(&what, || ours.recv_timeout(LIMIT));
                    assert!(matches!(received, Err(RecvError::TimedOut)), "{what}: {received:?}");
let received = in_time(&what, || ours.try_recv());
                    assert!(matches!(received, Err(RecvError::Empty)), "{what}: {received:?}");
                    ours.set_budget(most);
                    drop(storm);
                    // Whoever is in the middle of a gust needs room.
                    recv_times_out(&what, &ours);
                });
                assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
                assert_eq!(ours.recv().expect("a message").bytes, b"next", "{what}");
            }
        }
    }

    fn a_receive_ends_in_time_while_another_thread_is_receiving() {
        for (kind, ours, theirs) in pairs() {
            let sleeper = Sleeper::default();
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    sleeper.is_me();
                    ours.recv().expect("a message").bytes
                });
                sleeper.sleeps();
                recv_times_out(kind, &ours);
                theirs.send(b"1", &[]).expect("room for it");
                theirs.send(b"2", &[]).expect("room for it");
                let mut both = [ours.recv().expect("a message").bytes, other.join().unwrap()];
                both.sort_by_key(|it| it[0]);
                assert_eq!(both, [b"1", b"2"], "{kind}");
            });
        }
    }
}

tests_alone! {
    /// Over sockets: the kernel is asked what they hold.
    fn a_receive_whose_time_is_over_does_not_read_on() {
        for (kind, ours, hand) in Hand::pairs() {
            let answers = frames(Kind::Answer, 1, b"", 0).swap_remove(0).0;
            let answers = answers.repeat(if hand.is_stream() { 1500 } else { 1 });
            let fill = || {
                for _ in 0..if hand.is_stream() { 2 } else { 200 } {
                    assert!(hand.put(&answers, &[]));
                }
            };
            fill();
            // It takes what fits into a socket, as one that does not wait, but not more and more of it.
            let received = ours.recv_timeout(Duration::ZERO);
            assert!(matches!(received, Err(RecvError::TimedOut)), "{kind}: {received:?}");
            assert_eq!(queued(&ours) > 100 * HEADER_LEN as u64, hand.is_stream(), "{kind}");
            let received = ours.try_recv();
            assert!(matches!(received, Err(RecvError::Empty)), "{kind}: {received:?}");
            assert_eq!(queued(&ours) > 0, hand.is_stream(), "{kind}");
            assert!(hand.put_message(Kind::Message, 0, b"next", &[]));
            assert_eq!(ours.recv().expect("a message").bytes, b"next", "{kind}");
        }
    }

    /// Over sockets: the process knows nothing of us.
    fn calls_to_a_stopped_process_end_in_time() {
        for (kind, channel, mut child) in echoes() {
            let large = vec![7; LARGE];
            channel.send(b"ready?", &[]).expect("room for it");
            assert_eq!(channel.recv().expect("an echo").bytes, b"ready?");
            child.signal(SIGSTOP).expect("it is ours");
            recv_times_out(kind, &channel);
            timed_out(kind, in_time(kind, || channel.send_timeout(&large, &[], LIMIT)));
            is_full(kind, in_time(kind, || channel.try_send(b"small", &[])));
            recv_times_out(kind, &channel);
            child.signal(SIGCONT).expect("it is ours");
            thread::scope(|scope| {
                let reader = scope.spawn(|| channel.recv());
                channel.send(b"next", &[]).expect("there is a reader");
                assert_eq!(reader.join().unwrap().expect("an echo").bytes, b"next", "{kind}");
            });
            drop(channel);
            assert!(child.wait().expect("it is ours").success(), "{kind}");
        }
    }
}

/// How many bytes have come and were not received.
fn queued(channel: &RawChannel) -> u64 {
    rustix::io::ioctl_fionread(channel).expect("a socket")
}

/// Processes that send back what they read, whatever it is.
fn echoes() -> Vec<(&'static str, RawChannel, Child)> {
    let (ours, theirs) = SeqPacket::pair().expect("a pair");
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let packets = sh("exec cat <&4 >&4").inherit(OwnedFd::from(theirs), 4).spawn();
    let mut stream = sh("exec cat <&3 >&3").spawn().expect("a shell");
    let end = stream.take_stream().expect("its end");
    vec![
        ("packets", RawChannel::from(ours), packets.expect("a shell")),
        ("stream", RawChannel::from(end), stream),
    ]
}
