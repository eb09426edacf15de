//! A peer of a ring that dies between two steps of the protocol, while the survivor sleeps or before it calls.
//!
//! The peer takes the steps by hand, so that each place between two of them is met for certain; behind each instruction of
//! the library's own calls, `stepped.rs` kills it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use streampipe::{Stream, Wait};
use streampipe_ring::{Arm, Half, Sleep};
use streampipe_sys::futex;
use streampipe_sys::job::procfs::{self, Activity};
use streampipe_sys::region::Owner;

use crate::hostile::{CAPACITY, MARGIN, Peer, WAITS, die, ring, with_peer};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_writer_that_dies_between_any_two_steps_leaves_what_it_published", writers),
    ("a_reader_that_dies_between_any_two_steps_is_told_of", readers),
    ("a_peer_that_dies_asleep_is_told_of", asleep),
    ("a_survivor_that_never_waits_is_told_of_a_death", polled),
];

/// Within which somebody who is blocked hears of a death.
const SOON: Duration = Duration::from_secs(1);

/// What the peer did, and what of it must arrive: bytes, and descriptors with the first of them.
type Steps = (&'static str, fn(&mut Peer), &'static [u8], usize);

const WRITING: &[Steps] = &[
    ("nothing", |_| {}, b"", 0),
    ("copied, not published", |peer| peer.copy_in(b"bytes"), b"", 0),
    ("published, not belled", |peer| write_untold(peer, b"bytes"), b"bytes", 0),
    (
        "published twice, not belled",
        |peer| {
            write_untold(peer, b"by");
            write_untold(peer, b"tes");
        },
        b"bytes",
        0,
    ),
    (
        "published, and half of the next copied",
        |peer| {
            let sleep = write(peer, b"bytes");
            peer.wake_reader(sleep);
            peer.copy_in(b"mo");
        },
        b"bytes",
        0,
    ),
    (
        "descriptors sent, not noted",
        |peer| {
            send_fds(peer, 2);
            peer.copy_in(b"bytes");
        },
        b"",
        0,
    ),
    (
        "descriptors noted, not published",
        |peer| {
            send_fds(peer, 2);
            peer.note_batch();
            peer.copy_in(b"bytes");
        },
        b"",
        0,
    ),
    (
        "descriptors published, not belled",
        |peer| {
            send_fds(peer, 2);
            peer.note_batch();
            write(peer, b"bytes");
        },
        b"bytes",
        2,
    ),
    (
        "descriptors published, and the next ones sent",
        |peer| {
            send_fds(peer, 2);
            peer.note_batch();
            write(peer, b"bytes");
            send_fds(peer, 1);
            peer.note_batch();
        },
        b"bytes",
        2,
    ),
    (
        "a half ended, not belled",
        |peer| {
            write(peer, b"bytes");
            let _ = streampipe_ring::end(Half::Writing, &peer.view());
        },
        b"bytes",
        0,
    ),
    (
        "a closing noted, nothing closed",
        |peer| {
            write(peer, b"bytes");
            let _ = streampipe_ring::note_closing(&peer.view());
        },
        b"bytes",
        0,
    ),
    ("a doorbell in vain", |peer| peer.wake_reader(Some(Sleep::AtLifeline)), b"", 0),
    ("a wake-up in vain", |peer| peer.wake_reader(Some(Sleep::OnFutex)), b"", 0),
    ("armed, not asleep", |peer| peer.consumer.arm(Sleep::OnFutex, &peer.view()), b"", 0),
    (
        "everything there is room for",
        |peer| write_untold(peer, &[b'x'; CAPACITY]),
        &[b'x'; CAPACITY],
        0,
    ),
];

/// What the peer did with a full ring of ours, and how much of it is free by that.
type Readings = (&'static str, fn(&mut Peer), usize);

const READING: &[Readings] = &[
    ("nothing", |_| {}, 0),
    ("copied, not released", |peer| drop(peer.copy_out(CAPACITY)), 0),
    ("released, not told", |peer| read_untold(peer, CAPACITY), CAPACITY),
    ("released in part, not told", |peer| read_untold(peer, 100), 100),
    (
        "released in part, and told",
        |peer| {
            let sleep = read(peer, CAPACITY / 2);
            peer.wake_writer(sleep);
        },
        CAPACITY / 2,
    ),
    (
        "a half ended, not told",
        |peer| {
            let _ = streampipe_ring::end(Half::Reading, &peer.view());
        },
        0,
    ),
    (
        "a closing noted, nothing closed",
        |peer| {
            let _ = streampipe_ring::note_closing(&peer.view());
        },
        0,
    ),
    ("told in vain", |peer| peer.wake_writer(Some(Sleep::OnFutex)), 0),
    ("armed, not asleep", |peer| peer.consumer.arm(Sleep::AtLifeline, &peer.view()), 0),
];

fn write(peer: &mut Peer, bytes: &[u8]) -> Option<Sleep> {
    peer.copy_in(bytes);
    peer.publish(bytes.len() as u64)
}

fn read(peer: &mut Peer, most: usize) -> Option<Sleep> {
    let bytes = peer.copy_out(most).len();
    peer.release(bytes as u64)
}

fn write_untold(peer: &mut Peer, bytes: &[u8]) {
    let _ = write(peer, bytes);
}

fn read_untold(peer: &mut Peer, most: usize) {
    let _ = read(peer, most);
}

fn send_fds(peer: &mut Peer, count: usize) {
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    peer.send_fds(&vec![file.as_fd(); count]);
}

/// When the survivor sleeps while the peer takes its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survivor {
    /// It calls when all is over.
    IsLate,
    /// It says that it sleeps there; or it cannot be seen to wait, and has been given time.
    Sleeps(Sleep),
    NeverSleeps,
}

/// All that there are with this way to wait.
fn survivors(wait: Wait, places: &[Sleep]) -> Vec<Survivor> {
    let mut all = vec![Survivor::IsLate];
    match wait {
        Wait::Spin => all.push(Survivor::NeverSleeps),
        _ => all.extend(places.iter().map(|&place| Survivor::Sleeps(place))),
    }
    all
}

/// Waits until the survivor is where it should be, by its own word.
fn until(survivor: Survivor, arm: &AtomicU64) {
    match survivor {
        Survivor::IsLate => {}
        Survivor::Sleeps(place) => {
            // Who sleeps on the futex goes on to the lifeline, on a busy machine before anybody has looked.
            let places = [place, Sleep::AtLifeline];
            while Arm::from_word(arm.load(Acquire)).is_none_or(|it| !places.contains(&it.sleep)) {
                std::thread::yield_now();
            }
        }
        Survivor::NeverSleeps => (0..100).for_each(|_| std::thread::yield_now()),
    }
}

/// A ring of which nobody has said yet where they sleep.
fn quiet_ring(wait: Wait) -> (Stream, Peer) {
    let (ours, peer) = ring(CAPACITY);
    ours.set_wait(wait);
    peer.victims().data_arm.0.store(0, Relaxed);
    (ours, peer)
}

fn writers() {
    let places = [Sleep::OnFutex, Sleep::AtLifeline];
    for wait in WAITS {
        for survivor in survivors(wait, &places) {
            for &(what, steps, bytes, fds) in WRITING {
                let (ours, _memory, mut child) = with_peer(quiet_ring(wait), |mut peer| {
                    until(survivor, &peer.victims().data_arm.0);
                    steps(&mut peer);
                    die();
                });
                if survivor == Survivor::IsLate {
                    assert_eq!(child.wait().expect("a status").signal(), Some(9), "{what}");
                }
                let start = Instant::now();
                let (heard, came) = hear_all(&ours);
                let took = start.elapsed();
                let what = format!("{what}, {wait:?}, {survivor:?}");
                assert_eq!(heard, bytes, "{what}");
                assert_eq!(came.len(), fds, "{what}");
                // A half that was ended is told of before the death.
                assert_eq!(child.wait().expect("a status").signal(), Some(9), "{what}");
                assert_gone(&ours, &what);
                assert!(took < SOON + MARGIN, "{what}: {took:?}");
            }
        }
    }
}

/// All bytes and descriptors up to the end, which comes without a reset.
fn hear_all(ours: &Stream) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut bytes, mut fds, mut buffer) = (Vec::new(), Vec::new(), [0; 1000]);
    loop {
        let (len, more) = ours.recv_fds(&mut buffer).expect("bytes, or the end");
        if len == 0 {
            return (bytes, fds);
        }
        bytes.extend_from_slice(&buffer[..len]);
        fds.extend(more);
    }
}

fn assert_gone(ours: &Stream, what: &str) {
    for _ in 0..2 {
        assert_eq!({ ours }.read(&mut [0; 8]).expect("the end"), 0, "{what}");
        let error = { ours }.write(b"anybody?").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}");
        let file = std::fs::File::open("/dev/null").expect("a descriptor");
        let error = ours.send_fds(b"anybody?", &[file.as_fd()]).expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}");
    }
}

fn readers() {
    for wait in WAITS {
        for survivor in survivors(wait, &[Sleep::OnFutex]) {
            for &(what, steps, freed) in READING {
                let pair = quiet_ring(wait);
                { &pair.0 }.write_all(&[7; CAPACITY]).expect("room");
                let (ours, memory, mut child) = with_peer(pair, |mut peer| {
                    until(survivor, &peer.victims().space_arm.0);
                    steps(&mut peer);
                    die();
                });
                let what = format!("{what}, {wait:?}, {survivor:?}");
                if survivor == Survivor::IsLate {
                    assert_eq!(child.wait().expect("a status").signal(), Some(9), "{what}");
                }
                let start = Instant::now();
                // One that does not fit, so that it must wait whatever was freed.
                let wrote = { &ours }.write(&[7; CAPACITY + 1]);
                let took = start.elapsed();
                match wrote {
                    Ok(len) => assert!((1..=freed).contains(&len), "{what}: {len}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}"),
                }
                assert!(took < SOON + MARGIN, "{what}: {took:?}");
                assert_eq!(child.wait().expect("a status").signal(), Some(9), "{what}");
                let error = { &ours }.write(b"x").expect_err("nobody reads");
                assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}");
                let [first, second] = [Owner::First, Owner::Second].map(|it| memory.control(it));
                let is_read = first.written.tail.load(Acquire) == second.read.head.load(Acquire);
                if !is_read {
                    let error = { &ours }.read(&mut [0; 8]).expect_err("it had not read all");
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
                }
                assert_gone(&ours, &what);
            }
        }
    }
}

/// The peer really sleeps, in either place and for either reason, and is killed by somebody else.
fn asleep() {
    for wait in WAITS {
        for place in [Sleep::OnFutex, Sleep::AtLifeline] {
            for for_room in [false, true] {
                let pair = quiet_ring(wait);
                let (ours, memory, mut child) = with_peer(pair, |mut peer| {
                    if for_room {
                        write(&mut peer, &[7; CAPACITY]);
                        peer.producer.arm(1, place, &peer.view());
                    } else {
                        peer.consumer.arm(place, &peer.view());
                    }
                    loop {
                        let long = Duration::from_secs(1000);
                        match place {
                            Sleep::OnFutex => {
                                let victims = peer.victims();
                                let word = if for_room {
                                    &victims.read.head
                                } else {
                                    &victims.written.tail
                                };
                                futex::wait(word, 0, long);
                            }
                            Sleep::AtLifeline => {
                                let lifeline = peer.lifeline.as_fd();
                                let _ = crate::support::readable_within(lifeline, long);
                            }
                        }
                    }
                });
                let own = memory.control(Owner::Second);
                let arm = if for_room { &own.space_arm.0 } else { &own.data_arm.0 };
                until(Survivor::Sleeps(place), arm);
                let number = i32::try_from(child.id()).expect("small");
                while !matches!(procfs::activity(number), Activity::Asleep(_)) {
                    std::thread::yield_now();
                }
                child.kill().expect("it sleeps");
                let start = Instant::now();
                let (heard, _) = hear_all(&ours);
                assert_eq!(heard.len(), if for_room { CAPACITY } else { 0 });
                assert_gone(&ours, &format!("{wait:?} {place:?} {for_room}"));
                assert!(start.elapsed() < SOON + MARGIN);
                assert!(!child.wait().expect("a status").success());
            }
        }
    }
}

/// Who polls the descriptor and never waits is told in the same way.
fn polled() {
    for &(what, steps, bytes, fds) in WRITING {
        let pair = quiet_ring(Wait::Adaptive);
        pair.0.set_nonblocking(true).expect("a flag");
        let (ours, _memory, mut child) = with_peer(pair, |mut peer| {
            until(Survivor::Sleeps(Sleep::AtLifeline), &peer.victims().data_arm.0);
            steps(&mut peer);
            die();
        });
        let (mut heard, mut came, mut buffer) = (Vec::new(), Vec::new(), [0; 1000]);
        loop {
            match ours.recv_fds(&mut buffer) {
                Ok((0, _)) => break,
                Ok((len, more)) => {
                    heard.extend_from_slice(&buffer[..len]);
                    came.extend(more);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{what}: {error:?}");
                    let told = crate::support::readable_within(ours.as_fd(), SOON + MARGIN);
                    assert!(told, "{what}: nobody told");
                }
            }
        }
        assert_eq!(heard, bytes, "{what}");
        assert_eq!(came.len(), fds, "{what}");
        assert_eq!(child.wait().expect("a status").signal(), Some(9), "{what}");
        assert_gone(&ours, what);
    }
}
