//! An error that says that a message was not sent is checked against what the peer has received: over thousands of closes
//! at random moments, by each way to send.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use streampipe::{Bytes, CallError, Channel, Fd, RawChannel, RecvError, SeqPacket, Stream};

use super::{borrowed, files};
use crate::asynchronous::block_on;
use crate::engines::{over_each_carrier, pair_with_room, tests_of_engines};

/// How often each way is tried for each message and carrier.
const ROUNDS: usize = 200;

/// How many messages are sent at most, each with its number in front.
const MESSAGES: u8 = 5;

/// Bytes and descriptors: in one frame, in many, with descriptors behind.
const SIZES: [(usize, usize); 4] = [(1, 0), (150_000, 0), (1, 1), (100_000, 260)];

/// What the peer does before it closes.
struct Plan {
    end: RawChannel,
    /// It speaks first, so that we are awake and close behind it.
    greets: bool,
    /// It receives so many, requests or messages.
    reads: usize,
    is_asked: bool,
    /// It waits for so many turns of a loop.
    spins: u32,
}

/// Follows plans; says which messages came, and which were answered.
fn peer(plans: Receiver<Plan>, came: Sender<Vec<u8>>) {
    for Plan { end, greets, reads, is_asked, spins } in plans {
        let mut numbers = Vec::new();
        if greets {
            // We may be gone.
            let _ = end.send(b"who?", &[]);
        }
        for _ in 0..reads {
            let number = if is_asked {
                end.recv_request().map(|mut request| {
                    let number = request.take_message().bytes[0];
                    // An answer that does not come says nothing about the request.
                    let _ = request.answer(&[number], &[]);
                    number
                })
            } else {
                end.recv().map(|message| message.bytes[0])
            };
            match number {
                Ok(number) => numbers.push(number),
                Err(_) => break,
            }
        }
        (0..spins).for_each(|_| std::hint::spin_loop());
        drop(end);
        came.send(numbers).expect("somebody wants to know");
    }
}

/// What became of a message, as far as its sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Sent,
    NotSent,
    /// It was sent, and no answer came.
    Unknown,
}

fn told_of_call<T, U>(answer: Result<T, CallError<U>>) -> Told {
    match answer {
        Ok(_) => Told::Sent,
        Err(CallError::NotSent(_)) => Told::NotSent,
        Err(_) => Told::Unknown,
    }
}

fn told_of_send<T>(sent: Result<(), T>) -> Told {
    if sent.is_ok() { Told::Sent } else { Told::NotSent }
}

/// A message with a number in front, of this size.
struct Letter {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Letter {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        borrowed(&self.fds)
    }

    fn value(&self) -> (u8, Bytes, Vec<Fd>) {
        let fds = self.fds.iter().map(|fd| fd.try_clone().expect("room").into()).collect();
        (self.bytes[0], self.bytes.clone().into(), fds)
    }
}

type Value = (u8, Bytes, Vec<Fd>);

/// Each way to send: of an end, all numbers, until one is not sent.
type Way = fn(RawChannel, greets: bool, &mut [Letter]) -> Vec<Told>;

/// Sends letters by this, until one was not sent, and one more.
fn each(letters: &mut [Letter], mut send: impl FnMut(&Letter) -> Told) -> Vec<Told> {
    let mut told = Vec::new();
    for (number, letter) in letters.iter_mut().enumerate() {
        letter.bytes[0] = number as u8;
        told.push(send(letter));
        if told.iter().filter(|it| **it == Told::NotSent).count() > 1 {
            break;
        }
    }
    told
}

fn greeted(ours: RawChannel, greets: bool) -> RawChannel {
    if greets {
        ours.recv().expect("a greeting");
    }
    ours
}

/// As tasks send.
fn each_by_a_task(
    ours: RawChannel,
    letters: &mut [Letter],
    send: impl AsyncFn(&streampipe::tokio::RawChannel, &Letter) -> Told,
) -> Vec<Told> {
    block_on(async {
        let ours = streampipe::tokio::RawChannel::try_from(ours).expect("registered");
        let mut told = Vec::new();
        for (number, letter) in letters.iter_mut().enumerate() {
            letter.bytes[0] = number as u8;
            told.push(send(&ours, letter).await);
        }
        told
    })
}

const WAYS: [(&str, bool, Way); 9] = [
    ("send", false, |ours, greets, letters| {
        let ours = greeted(ours, greets);
        each(letters, |it| told_of_send(ours.send(&it.bytes, &it.fds())))
    }),
    ("send_timeout", false, |ours, greets, letters| {
        let ours = greeted(ours, greets);
        let short = Duration::from_micros(200);
        each(letters, |it| told_of_send(ours.send_timeout(&it.bytes, &it.fds(), short)))
    }),
    ("try_send", false, |ours, greets, letters| {
        let ours = greeted(ours, greets);
        each(letters, |it| told_of_send(ours.try_send(&it.bytes, &it.fds())))
    }),
    ("call", true, |ours, greets, letters| {
        let ours = greeted(ours, greets);
        each(letters, |it| told_of_call(ours.call(&it.bytes, &it.fds())))
    }),
    ("call_timeout", true, |ours, greets, letters| {
        let ours = greeted(ours, greets);
        let short = Duration::from_micros(200);
        each(letters, |it| told_of_call(ours.call_timeout(&it.bytes, &it.fds(), short)))
    }),
    ("send of a value", false, |ours, greets, letters| {
        let ours = Channel::<Value, Value>::from(greeted(ours, greets));
        each(letters, |it| {
            told_of_send(ours.send(it.value()).map_err(|error| {
                let back = error.into_inner();
                assert!(back.0 == it.bytes[0] && back.1 == it.bytes, "another value comes back");
            }))
        })
    }),
    ("call of a value", true, |ours, greets, letters| {
        let ours = Channel::<Value, u8>::from(greeted(ours, greets));
        each(letters, |it| told_of_call(ours.call(it.value())))
    }),
    ("send of a task", false, |ours, greets, letters| {
        each_by_a_task(greeted(ours, greets), letters, async |ours, it| {
            told_of_send(ours.send(&it.bytes, &it.fds()).await)
        })
    }),
    ("call of a task", true, |ours, greets, letters| {
        each_by_a_task(greeted(ours, greets), letters, async |ours, it| {
            told_of_call(ours.call(&it.bytes, &it.fds()).await)
        })
    }),
];

/// Pairs over each carrier, with room for what one of them does not read.
fn pairs() -> Vec<(RawChannel, RawChannel)> {
    over_each_carrier(
        |_, _| {
            let (a, b) = SeqPacket::pair().expect("a pair");
            (a.into(), b.into())
        },
        |_, _| {
            let (a, b): (Stream, Stream) = pair_with_room(64 << 10).expect("a pair");
            (a.into(), b.into())
        },
    )
}

tests_of_engines! {
    fn what_was_not_sent_has_not_come() {
        let (plans, plans_of_peer) = channel();
        let (came_of_peer, came) = channel();
        let peer = thread::spawn(|| peer(plans_of_peer, came_of_peer));
        let mut random = fastrand::Rng::with_seed(3);
        let mut seen = BTreeMap::new();
        for (size, fds) in SIZES {
            let letter = || Letter { bytes: vec![0; size], fds: files(fds, 0) };
            let mut letters: Vec<_> = (0..MESSAGES).map(|_| letter()).collect();
            for (way, is_asked, send) in WAYS {
                let rounds = if size > 1 { ROUNDS / 10 } else { ROUNDS };
                for round in 0..rounds {
                    for (ours, end) in pairs() {
                        let greets = random.bool();
                        let reads = random.usize(0..usize::from(MESSAGES));
                        let spins = if random.bool() { 0 } else { random.u32(0..10_000) };
                        let plan = Plan { end, greets, reads, is_asked, spins };
                        plans.send(plan).expect("the peer lives");
                        let told = send(ours, greets, &mut letters);
                        let came = came.recv().expect("the peer lives");
                        let what = format!("{way}, {size} bytes, {fds} descriptors, round {round}");
                        check(&what, &told, &came);
                        let not_sent = told.iter().filter(|it| **it == Told::NotSent).count();
                        *seen.entry((way, size, not_sent > 0)).or_insert(0) += 1;
                    }
                }
                // Some were not sent, and some were.
                assert!(seen.contains_key(&(way, size, true)), "{way}, {size}: {seen:?}");
            }
        }
        drop(plans);
        peer.join().expect("no panic");
    }
}

fn check(what: &str, told: &[Told], came: &[u8]) {
    assert!(came.is_sorted(), "{what}: {came:?}");
    for (number, told) in told.iter().enumerate() {
        let has_come = came.contains(&(number as u8));
        assert!(
            *told != Told::NotSent || !has_come,
            "{what}: {number} has come, told was {told:?}"
        );
    }
}

/// The check itself fails if it should.
#[test]
#[should_panic(expected = "has come")]
fn a_message_that_has_come_and_was_not_sent_is_seen() {
    check("a lie", &[Told::Sent, Told::NotSent], &[0, 1]);
}

tests_of_engines! {
    /// The peer speaks first, reads one message, answers, and closes: each of the many ends is told of one request.
    fn the_last_call_before_a_close_is_answered() {
        const CALLS: usize = 3_000;
        let (ends, ends_of_peer) = channel::<RawChannel>();
        let (answered_by_peer, answered) = channel();
        let peer = thread::spawn(move || {
            for end in ends_of_peer {
                end.send(b"who?", &[]).expect("room");
                let request = end.recv_request().expect("a request");
                answered_by_peer.send(request.answer(b"!", &[]).is_ok()).expect("it is wanted");
            }
        });
        for _ in 0..CALLS {
            for (ours, end) in pairs() {
                ends.send(end).expect("the peer lives");
                ours.recv().expect("a greeting");
                let answer = ours.call(b"me", &[]);
                assert!(answered.recv().expect("the peer lives"));
                assert_eq!(answer.expect("an answer").bytes, b"!");
                assert!(matches!(ours.recv(), Err(RecvError::Closed)));
            }
        }
        drop(ends);
        peer.join().expect("no panic");
    }
}
