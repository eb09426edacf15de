//! A sender of messages killed at any moment: each message came whole, with its own descriptors, or did not come.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe::{Message, RawChannel, RecvError, SeqPacket, Stream};

use super::child::forked;
use super::storm::spin;
use crate::support::{self, Descriptors};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_thousand_kills_tear_no_message_of_packets", a_thousand_kills_tear_no_message_of_packets),
    ("a_thousand_kills_tear_no_message_of_a_stream", a_thousand_kills_tear_no_message_of_a_stream),
    ("the_check_of_messages_sees_a_wrong_one", the_check_sees_a_wrong_one),
];

const KILLS: u64 = 1000;

/// The longest payload.
const MOST: usize = 300_000;

/// A number that anybody can compute from another one, and nobody guesses.
fn mixed(number: u32) -> u32 {
    let mixed = number.wrapping_add(1).wrapping_mul(2_654_435_761);
    (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519)
}

fn size(number: u32) -> usize {
    let most = [8, 200, 5000, 80_000, MOST][mixed(number) as usize % 5];
    8 + (mixed(number) >> 4) as usize % (most - 7)
}

fn count(number: u32) -> usize {
    [0, 0, 1, 2, 0, 16, 0, 3][mixed(number) as usize >> 8 & 7]
}

/// What every payload is cut from.
fn noise() -> Vec<u8> {
    (0..MOST as u32 + 300).map(|at| mixed(at) as u8).collect()
}

/// A message: number, checksum, and the noise that belongs to the number.
fn payload(number: u32, noise: &[u8]) -> Vec<u8> {
    let body = &noise[(number % 256) as usize..][..size(number) - 8];
    let sum = body.iter().fold(number, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
    let mut bytes = Vec::with_capacity(size(number));
    bytes.extend(number.to_le_bytes());
    bytes.extend(sum.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn descriptors(number: u32, files: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    let from = mixed(number) as usize >> 12;
    (0..count(number)).map(|at| files[(from + at) % files.len()].as_fd()).collect()
}

fn is_right(message: &Message, payload: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
    let came = message.fds.iter().map(support::identity);
    message.bytes == payload && came.eq(fds.iter().map(support::identity))
}

/// What the sender sends, made once: the child has it from the start.
struct Play {
    files: Vec<OwnedFd>,
    payloads: Vec<Vec<u8>>,
}

impl Play {
    fn new() -> Self {
        let noise = noise();
        let files = (0..20).map(|_| support::file_with(b"x").into()).collect();
        Self { files, payloads: (0..64).map(|number| payload(number, &noise)).collect() }
    }

    fn message(&self, number: u32) -> (&[u8], Vec<BorrowedFd<'_>>) {
        // The numbers in the messages begin again after a while.
        let number = number % self.payloads.len() as u32;
        (&self.payloads[number as usize], descriptors(number, &self.files))
    }

    fn send_for_ever(&self, channel: &RawChannel) -> i32 {
        for number in 0.. {
            let (bytes, fds) = self.message(number);
            // Some of them can be given up, and are cut in other places.
            let sent = if number % 3 == 0 {
                channel.send_timeout(bytes, &fds, std::time::Duration::from_secs(100))
            } else {
                channel.send(bytes, &fds)
            };
            if sent.is_err() {
                return 1;
            }
        }
        0
    }
}

/// What was seen in all kills together.
#[derive(Debug, Default)]
struct Tally {
    messages: u32,
    descriptors: usize,
    torn: u32,
}

/// One sender, killed while this many bytes have come, and a little later.
fn one_kill(play: &Play, random: &mut fastrand::Rng, ends: (RawChannel, RawChannel)) -> Tally {
    let (ours, theirs) = ends;
    let (stream, mut child) = forked({
        let ours = ours.as_fd().try_clone_to_owned().expect("a duplicate");
        move |_| {
            // The receiver's end is not for the sender.
            drop(ours);
            play.send_for_ever(&theirs)
        }
    });
    drop(stream);
    let mut enough = Some(random.usize(..500_000));
    let (mut bytes, mut tally) = (0, Tally::default());
    loop {
        if enough.is_some_and(|enough| bytes >= enough) {
            enough = None;
            spin(random);
            child.kill().expect("it runs");
        }
        let message = match ours.recv() {
            Ok(message) => message,
            Err(RecvError::Closed) => break,
            Err(RecvError::Torn(_)) => {
                tally.torn += 1;
                assert!(matches!(ours.recv(), Err(RecvError::Closed)));
                break;
            }
            Err(other) => panic!("{other:?}"),
        };
        let (payload, fds) = play.message(tally.messages);
        assert!(is_right(&message, payload, &fds), "message {} is torn", tally.messages);
        bytes += payload.len();
        tally.messages += 1;
        tally.descriptors += fds.len();
    }
    assert!(!child.wait().expect("a status").success());
    tally
}

fn a_thousand_kills(pair: fn() -> (RawChannel, RawChannel)) {
    let play = Play::new();
    let before = Descriptors::now();
    let mut all = Tally::default();
    for kill in 0..KILLS {
        let tally = one_kill(&play, &mut fastrand::Rng::with_seed(kill), pair());
        all.messages += tally.messages;
        all.descriptors += tally.descriptors;
        all.torn += tally.torn;
        if kill % 100 == 0 {
            assert_eq!(Descriptors::now(), before, "after kill {kill}");
            assert!(!support::has_children(), "after kill {kill}");
        }
    }
    assert!(all.messages > 1000 && all.descriptors > 1000, "hardly anything was tested: {all:?}");
    assert!(all.torn > 0, "no kill hit a message on its way: {all:?}");
}

fn a_thousand_kills_tear_no_message_of_packets() {
    a_thousand_kills(|| {
        let (ours, theirs) = SeqPacket::pair().expect("a pair");
        (ours.into(), theirs.into())
    });
}

fn a_thousand_kills_tear_no_message_of_a_stream() {
    a_thousand_kills(|| {
        let (ours, theirs) = Stream::pair().expect("a pair");
        (ours.into(), theirs.into())
    });
}

fn the_check_sees_a_wrong_one() {
    let play = Play::new();
    let (ours, theirs) = Stream::pair().expect("a pair");
    let (ours, theirs) = (RawChannel::from(ours), RawChannel::from(theirs));
    let number = (0..64).find(|&it| count(it) == 2 && size(it) < 10_000).expect("there is one");
    let (payload, fds) = play.message(number);
    ours.send(payload, &fds).expect("room");
    let mut message = theirs.recv().expect("a message");
    assert!(is_right(&message, payload, &fds));
    assert!(!is_right(&message, &payload[1..], &fds) && !is_right(&message, payload, &fds[1..]));
    message.fds.swap(0, 1);
    assert!(!is_right(&message, payload, &fds));
}
