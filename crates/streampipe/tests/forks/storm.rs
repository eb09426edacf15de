//! A peer killed at any moment: nothing torn, nothing leaked, nothing lost that was queued.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use streampipe::{SeqPacket, Stream};

use super::child::forked;
use crate::support;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_thousand_kills_tear_no_packet", a_thousand_kills_tear_no_packet),
    ("a_thousand_kills_leave_a_prefix_of_the_stream", a_thousand_kills_leave_a_prefix),
    ("the_check_of_frames_sees_a_torn_one", the_check_sees_a_torn_one),
];

const KILLS: u64 = 1000;

/// A frame: its number and length, the same byte over and over, every third with a descriptor.
fn frame(number: u32) -> Vec<u8> {
    let len = 16 + (number.wrapping_mul(2_654_435_761) >> 16) % 6000;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.resize(len as usize, number as u8);
    bytes
}

fn carries_a_descriptor(number: u32) -> bool {
    number % 3 == 0
}

fn is_whole(bytes: &[u8], number: u32) -> bool {
    bytes == frame(number)
}

/// Waits until a random number of bytes has come, then kills; so the moment is random in terms of
/// the sender's progress, whatever the machine's speed.
pub(crate) fn spin(random: &mut fastrand::Rng) {
    for _ in 0..random.u32(0..3000) {
        std::hint::spin_loop();
    }
}

fn check_descriptors(fds: Vec<OwnedFd>, expected: usize, identity: (u64, u64)) {
    assert_eq!(fds.len(), expected);
    assert!(fds.iter().all(|fd| support::identity(fd) == identity), "another file");
}

fn a_thousand_kills_tear_no_packet() {
    let file = support::file_with(b"x");
    let mut frames = 0;
    for kill in 0..KILLS {
        let mut random = fastrand::Rng::with_seed(kill);
        let (ours, theirs) = SeqPacket::pair().expect("a pair");
        let (_stream, mut child) = forked({
            let file = file.try_clone().expect("a duplicate");
            move |_| send_packets(&theirs, &file)
        });
        let mut buffer = vec![0; 8192];
        let mut number = 0;
        let enough = random.u32(0..60);
        loop {
            if number == enough {
                spin(&mut random);
                child.kill().expect("it runs");
            }
            let (len, fds) = ours.recv_fds(&mut buffer).expect("a packet or the end");
            if len == 0 {
                break;
            }
            assert!(is_whole(&buffer[..len], number), "kill {kill}: packet {number} is torn");
            let expected = usize::from(carries_a_descriptor(number));
            check_descriptors(fds, expected, support::identity(&file));
            number += 1;
        }
        frames += number;
        assert!(!child.wait().expect("a status").success());
    }
    assert!(frames > 1000, "the kills came too early to test much: {frames} packets");
}

fn send_packets(end: &SeqPacket, file: &File) -> i32 {
    for number in 0.. {
        let sent = if carries_a_descriptor(number) {
            end.send_fds(&frame(number), &[file.as_fd()])
        } else {
            end.send(&frame(number))
        };
        if sent.is_err() {
            return 1;
        }
    }
    0
}

fn a_thousand_kills_leave_a_prefix() {
    let file = support::file_with(b"x");
    let mut torn = 0;
    for kill in 0..KILLS {
        let mut random = fastrand::Rng::with_seed(kill);
        let (ours, theirs) = Stream::pair().expect("a pair");
        let (_stream, mut child) = forked({
            let file = file.try_clone().expect("a duplicate");
            move |_| send_frames(&theirs, &file)
        });
        let (bytes, fds) = receive_until_killed(&ours, &mut random, || {
            child.kill().expect("it runs");
        });
        let (whole, rest) = check_prefix(&bytes).unwrap_or_else(|at| panic!("kill {kill}: {at}"));
        torn += u32::from(rest > 0);
        // Each descriptor came with the first byte of its frame: none missing, none too many.
        let started = whole + u32::from(rest > 0);
        let expected = (0..started).filter(|&number| carries_a_descriptor(number)).count();
        check_descriptors(fds, expected, support::identity(&file));
        assert!(!child.wait().expect("a status").success());
    }
    // Not a promise, only the reason why packets are the better choice; and proof that the kills
    // do strike in the middle of a send.
    assert!(torn > 0, "no kill hit a send in progress");
}

fn receive_until_killed(
    ours: &Stream,
    random: &mut fastrand::Rng,
    kill: impl FnOnce(),
) -> (Vec<u8>, Vec<OwnedFd>) {
    let enough = random.usize(0..600_000);
    let mut kill = Some(kill);
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 4096];
    loop {
        if bytes.len() >= enough {
            if let Some(kill) = kill.take() {
                spin(random);
                kill();
            }
        }
        let (len, more) = ours.recv_fds(&mut buffer).expect("bytes or the end");
        if len == 0 {
            return (bytes, fds);
        }
        bytes.extend_from_slice(&buffer[..len]);
        fds.extend(more);
    }
}

fn send_frames(end: &Stream, file: &File) -> i32 {
    for number in 0.. {
        // Large, so that a kill finds the kernel in the middle of one.
        let bytes = frame(number).repeat(if number % 5 == 0 { 60 } else { 1 });
        let sent = if carries_a_descriptor(number) {
            end.send_fds(&bytes, &[file.as_fd()])
        } else {
            std::io::Write::write_all(&mut &*end, &bytes).map(|()| bytes.len())
        };
        if sent.is_err() {
            return 1;
        }
    }
    0
}

/// How many frames came whole, and how many bytes of the next; an error if a byte is wrong.
fn check_prefix(mut bytes: &[u8]) -> Result<(u32, usize), String> {
    for number in 0.. {
        let expected = frame(number).repeat(if number % 5 == 0 { 60 } else { 1 });
        if bytes.len() < expected.len() {
            return match expected.starts_with(bytes) {
                true => Ok((number, bytes.len())),
                false => Err(format!("frame {number} starts wrong")),
            };
        }
        let (this, rest) = bytes.split_at(expected.len());
        if this != expected {
            return Err(format!("frame {number} is wrong"));
        }
        bytes = rest;
    }
    Err("more frames than there are numbers".to_owned())
}

fn the_check_sees_a_torn_one() {
    let mut bytes = frame(0).repeat(60);
    bytes.extend(frame(1));
    assert_eq!(check_prefix(&bytes), Ok((2, 0)));
    bytes.extend(&frame(2)[..20]);
    assert_eq!(check_prefix(&bytes), Ok((2, 20)));
    bytes.extend(frame(3));
    assert!(check_prefix(&bytes).is_err());
    assert!(!is_whole(&frame(4)[1..], 4) && is_whole(&frame(4), 4));
}
