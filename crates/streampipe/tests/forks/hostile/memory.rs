//! What is done to the memory as a whole, and to who sleeps on a word of it.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};
use streampipe::{
    Command, CopyError, Engine, PeerGone, Poisoned, Stdio, Stream, Wait, copy_both_timeout,
};
use streampipe_ring::{Corrupt, Half, Mark, Sleep};
use streampipe_sys::region::{Control, Owner};
use streampipe_sys::wait::glance;
use streampipe_wire::Note;

use super::{CAPACITY, Peer, SHORT, WAITS, die, in_time, patient, poisoned, ring, with_peer};
use crate::child::forked;
use crate::mapping::{Mapping, move_sleepers};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_position_that_cannot_be_is_told_as_such", positions),
    ("pages_taken_away_under_a_victim_are_zeros_or_an_error", pages_taken_away),
    ("who_is_moved_to_another_word_keeps_its_deadline", moved_to_another_word),
    ("who_is_moved_to_another_word_hears_of_the_end", moved_and_left),
    ("a_stopped_peer_keeps_nobody_beyond_their_deadline", stopped_peer),
    ("a_peer_that_always_makes_room_keeps_nobody_beyond_their_deadline", always_room),
    ("a_relay_of_a_peer_that_writes_for_ever_gives_up_when_its_time_is_over", relayed),
    ("a_copy_that_always_has_news_does_not_hide_a_death", news_after_a_death),
    ("a_peer_that_lies_in_every_hint_costs_no_byte", hints),
    ("what_an_end_published_may_be_a_lie_when_its_fork_reads_it", forks_of_the_victim),
];

fn positions() {
    let capacity = CAPACITY as u64;
    for bad in [capacity + 11, 9, 0, u64::MAX, 1 << 63, (1 << 63) + 10, 10 + (1 << 32)] {
        for wait in WAITS {
            // 10 bytes have gone in each direction; it claims another number.
            let (mut ours, mut peer) = ring(CAPACITY);
            patient(&ours, wait);
            ours.write_all(&[7; 10]).expect("room");
            peer.copy_in(&[1; 10]);
            peer.publish(10);
            ours.read_exact(&mut [0; 10]).expect("it is there");
            assert_eq!(peer.copy_out(10), [7; 10]);
            peer.release(10);
            let _ = ours.write_all(&[7; CAPACITY]);
            let possible = (10, capacity + 10);
            let (reads, claimed) = (wait != Wait::Spin, bad);
            let (word, corrupt) = if reads {
                (&peer.own().written.tail, Corrupt::Tail { claimed, possible })
            } else {
                (&peer.own().read.head, Corrupt::Head { claimed, possible })
            };
            word.store(bad, Release);
            let error = if reads { ours.read(&mut [0; 8]) } else { ours.write(&[0; 8]) };
            let error = error.expect_err("it cannot be");
            assert_eq!(poisoned(&error), Some(Poisoned::Position(corrupt)), "{error:?}");
            // For good, whatever it says then; and the peer's lifeline is cut.
            word.store(10, Release);
            for _ in 0..2 {
                let again = ours.read(&mut [0; 8]).expect_err("nothing is believed");
                assert_eq!(poisoned(&again), poisoned(&error));
                let again = ours.write(&[0; 8]).expect_err("nothing is believed");
                assert_eq!(poisoned(&again), poisoned(&error));
            }
            assert!(!peer.send(&Note::Bell.to_bytes(), &[]));
        }
    }
}

fn pages_taken_away() {
    let page = size_of::<Control>();
    for (wait, at) in WAITS.into_iter().flat_map(|it| [0, 1, 2, 3].map(|at| (it, at * page))) {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        (&pair.0).write_all(&[7; 3000]).expect("room");
        let (mut ours, memory, mut child) = with_peer(pair, |mut peer| {
            peer.copy_in(&[1; 2000]);
            peer.publish(2000);
            peer.memory.remove(at, page).expect("no seal forbids it");
            peer.memory.words()[at / 8].store(7, Release);
            // And while somebody uses it, for as long as they do.
            loop {
                let _ = peer.memory.remove(at, page);
            }
        });
        while !matches!(memory.words()[at / 8].load(Acquire), 0 | 7) {
            std::hint::spin_loop();
        }
        let mut buffer = [9; 5000];
        for _ in 0..4 {
            match in_time(SHORT, "a read", || ours.read(&mut buffer)) {
                // Nothing but what was written there, or zeros, or what was put there above.
                Ok(len) => assert!(buffer[..len].iter().all(|it| matches!(it, 0 | 1 | 7))),
                Err(error) => assert!(is_documented(&error), "{error:?}"),
            }
            let written = in_time(SHORT, "a write", || ours.write(&[7; 3000]));
            assert!(written.as_ref().map_or_else(is_documented, |_| true), "{written:?}");
        }
        child.kill().expect("it runs");
        assert_eq!(child.wait().expect("a status").signal(), Some(9), "nothing else ended it");
    }
}

fn is_documented(error: &std::io::Error) -> bool {
    let known = [ErrorKind::TimedOut, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    poisoned(error).is_some() || known.contains(&error.kind())
}

/// Moves whoever of the victim's sleeps on a word of the peer's to another one.
fn move_everybody(peer: &Peer) -> usize {
    let elsewhere = &peer.victims().over.closings;
    let readers = move_sleepers(&peer.own().written.tail, elsewhere);
    readers + move_sleepers(&peer.own().read.head, elsewhere)
}

fn moved_to_another_word() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        (&pair.0).write_all(&[7; CAPACITY]).expect("room");
        let (mut ours, memory, mut child) = with_peer(pair, |peer| {
            loop {
                let moved = move_everybody(&peer) as u64;
                peer.own().superblock.magic.fetch_add(moved, Relaxed);
            }
        });
        let before = memory.control(Owner::Second).superblock.magic.load(Relaxed);
        for _ in 0..5 {
            let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
            assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
            let written = in_time(SHORT, "a write", || ours.write(b"x"));
            assert_eq!(written.expect_err("nobody reads").kind(), ErrorKind::TimedOut);
        }
        let after = memory.control(Owner::Second).superblock.magic.load(Relaxed);
        assert_eq!(after > before, wait != Wait::Spin, "whether somebody was moved");
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
    }
}

/// The writer, which has no deadline, sleeps on a word that nobody wakes.
fn moved_and_left() {
    for wait in [Wait::Adaptive, Wait::Block] {
        let pair = ring(CAPACITY);
        pair.0.set_wait(wait);
        (&pair.0).write_all(&[7; CAPACITY]).expect("room");
        let (ours, _memory, mut child) = with_peer(pair, |peer| {
            while move_everybody(&peer) == 0 {
                std::hint::spin_loop();
            }
            die();
        });
        let written = in_time(SHORT, "a write", || (&ours).write(b"x"));
        assert_eq!(written.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe, "{wait:?}");
        let read = in_time(SHORT, "a read", || (&ours).read(&mut [0; 8]));
        assert_eq!(read.expect_err("it had not read all").kind(), ErrorKind::ConnectionReset);
        assert_eq!((&ours).read(&mut [0; 8]).expect("and then the end"), 0);
        assert_eq!(child.wait().expect("a status").signal(), Some(9));
    }
}

fn stopped_peer() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        let (mut ours, _memory, mut child) = with_peer(pair, |peer| {
            // As if it slept, where only the victim could wake it.
            peer.producer.arm(1, Sleep::OnFutex, &peer.view());
            peer.consumer.arm(Sleep::AtLifeline, &peer.view());
            let _ = kill_process(getpid(), Signal::STOP);
        });
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("an id");
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(id), options).expect("it stops");
        let file = std::fs::File::open("/dev/null").expect("a descriptor");
        let mut sent = 0;
        loop {
            match in_time(SHORT, "a send", || ours.send_fds(&[7; 4], &[file.as_fd()])) {
                Ok(len) => sent += len,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}"),
            }
        }
        assert!(sent > 16, "the lifeline takes some notes");
        let rest = in_time(SHORT, "a write", || ours.write(&[7; 2 * CAPACITY]));
        assert_eq!(rest.expect("as much as there is room for"), CAPACITY - sent);
        for _ in 0..2 {
            let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
            assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
            let written = in_time(SHORT, "a write", || ours.write(b"x"));
            assert_eq!(written.expect_err("no room").kind(), ErrorKind::TimedOut);
            let room = in_time(SHORT, "a reservation", || ours.reserve(8).map(drop));
            assert_eq!(room.expect_err("no room").kind(), ErrorKind::TimedOut);
            let there = in_time(SHORT, "a look", || ours.readable().map(drop));
            assert_eq!(there.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
        }
        in_time(SHORT, "a shutdown", || ours.shutdown(Shutdown::Both)).expect("once");
        child.kill().expect("it is there");
        assert!(!child.wait().expect("a status").success());
    }
}

/// As fast as it can, it says that it has read: there is always room, for one byte or for some.
fn always_room() {
    for (wait, most) in WAITS.into_iter().flat_map(|it| [1, u64::MAX].map(|most| (it, most))) {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        // Long enough for the peer to get going beside whatever else this machine does.
        pair.0.set_write_timeout(Some(8 * SHORT)).expect("not zero");
        let (mut ours, _memory, mut child) = with_peer(pair, |peer| {
            let mut head = 0;
            loop {
                let tail = peer.victims().written.tail.load(Acquire);
                // One byte at a time, but from a ring that is never full.
                head += if most == 1 { u64::from(tail - head > 64) } else { tail - head };
                peer.own().read.head.store(head, Release);
            }
        });
        // More than can be copied while this test waits.
        let much = vec![7; 8 << 20];
        let parts = vec![IoSlice::new(&much); 1024];
        let written = in_time(8 * SHORT, "a write", || ours.write_vectored(&parts));
        assert!(written.as_ref().is_ok_and(|&it| it > CAPACITY), "{written:?}");
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
    }
}

/// As fast as it can, it says that it has written all that there is room for, whoever wants to read it.
fn relayed() {
    const MUCH: usize = 1 << 20;
    const BUFFER: usize = 64 << 10;
    for is_read in [true, false].repeat(10) {
        let (ours, memory, mut child) = with_peer(ring(MUCH), |peer| {
            loop {
                let head = peer.victims().read.head.load(Acquire);
                peer.own().written.tail.store(head + MUCH as u64, Release);
            }
        });
        while memory.control(Owner::Second).written.tail.load(Acquire) == 0 {
            std::hint::spin_loop();
        }
        let (right, far) = streampipe::pair().expect("a pair");
        let far = is_read.then_some(far);
        let relay = || copy_both_timeout(&ours, &right, SHORT);
        let error = in_time(SHORT, "a relay", relay).expect_err("it never ends");
        let inside: &CopyError =
            error.get_ref().and_then(|it| it.downcast_ref()).expect("what became of it");
        let expected = if is_read { ErrorKind::TimedOut } else { ErrorKind::BrokenPipe };
        assert_eq!(inside.cause.kind(), expected, "{inside:?}");
        // What it held, what the ring did, and what it read last.
        assert!(inside.dropped <= (BUFFER + MUCH + BUFFER) as u64, "{inside:?}");
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
        drop(far);
    }
}

/// Says that this process is the child that its parent watches.
const PART: &str = "STREAMPIPE_TEST_NEWS";

/// What the grandchild does without pause to the child's words.
const NEWS: [fn(&Control); 3] = [closing, ending, |own| {
    closing(own);
    ending(own);
}];

fn closing(own: &Control) {
    own.over.closings.fetch_add(1, Relaxed);
}

/// No half has this bit.
fn ending(own: &Control) {
    own.over.ended.fetch_xor(1 << 40, Relaxed);
}

/// The child leaves a grandchild that has its memory, and a copy of its end until the other one is closed.
fn play_the_watched(news: fn(&Control)) {
    let (end, memory) = Mapping::of(|| streampipe::inherited().expect("an end was prepared"));
    let (_stream, mut child) = forked(|_| {
        let own = memory.control(Owner::Second);
        while !glance(end.as_fd()).expect("a socket").hung_up {
            for _ in 0..10_000 {
                news(own);
            }
        }
        0
    });
    child.wait().expect("the grandchild outlives this process");
}

fn news_after_a_death() {
    if let Ok(news) = std::env::var(PART) {
        return play_the_watched(NEWS[news.parse::<usize>().expect("a number")]);
    }
    type Call = fn(&mut Stream) -> std::io::Error;
    let calls: [(&str, Call); 4] = [
        ("read", |it| it.read(&mut [0; 8]).expect_err("nothing comes")),
        ("readable", |it| it.readable().map(drop).expect_err("nothing comes")),
        ("write", |it| it.write(b"x").expect_err("nobody reads")),
        ("reserve", |it| it.reserve(8).map(drop).expect_err("nobody reads")),
    ];
    for (news, wait) in (0..NEWS.len()).flat_map(|it| WAITS.map(|wait| (it, wait))) {
        let program = std::env::current_exe().expect("the test binary");
        let mut command = Command::new(program);
        command.args(["a_copy_that_always_has_news"]).env(PART, news.to_string());
        command.engine(Engine::Ring).capacity(CAPACITY).stdout(Stdio::null());
        let (mut child, memory) = Mapping::of(|| command.spawn().expect("it starts"));
        let mut ours = child.take_stream().expect("it was not taken");
        ours.set_wait(wait);
        ours.write_all(&[7; CAPACITY]).expect("room");
        let over = &memory.control(Owner::Second).over;
        while over.closings.load(Relaxed) < 1000 && over.ended.load(Relaxed) == 0 {
            std::hint::spin_loop();
        }
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
        for (what, call) in calls {
            let error = call(&mut ours);
            let gone = error.get_ref().and_then(|it| it.downcast_ref::<PeerGone>());
            let gone = gone.map(|it| it.id);
            assert_eq!(gone, Some(child.id()), "{what}, {wait:?}: {error:?}");
        }
    }
}

/// An echo that says anything about where it sleeps, what it closed and took, and on which processor it is.
fn hints() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        pair.0.set_wait(wait);
        let (ours, _memory, mut child) = with_peer(pair, |mut peer| {
            let mut random = fastrand::Rng::with_seed(7);
            loop {
                let own = peer.own();
                let arms = [&own.data_arm.0, &own.space_arm.0];
                let others = [&own.processor.0, &own.over.closings, &own.read.taken];
                for word in arms.into_iter().chain(others) {
                    word.store(random.u64(..), Relaxed);
                }
                let is_over = Half::Writing.is_ended(&peer.view().peer);
                let room = peer.room(1);
                let bytes = peer.copy_out(random.usize(1..100).min(room as usize));
                if bytes.is_empty() && room > 0 && is_over {
                    return;
                }
                peer.copy_in(&bytes);
                let sleep = peer.publish(bytes.len() as u64);
                peer.wake_reader(sleep);
                let sleep = peer.release(bytes.len() as u64);
                peer.wake_writer(sleep);
            }
        });
        let said: Vec<u8> = (0..100_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&ours).write_all(&said).expect("the peer reads");
                ours.shutdown(Shutdown::Write).expect("once");
            });
            (&ours).take(said.len() as u64).read_to_end(&mut heard).expect("the peer writes");
        });
        assert!(heard == said, "{wait:?}: {} bytes, not {}", heard.len(), said.len());
        assert!(child.wait().expect("a status").success());
    }
}

/// A fork goes on from what its parent published, which the peer can have written over.
fn forks_of_the_victim() {
    let (mut ours, peer) = ring(CAPACITY);
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    // Positions move ahead by less than half of all there are: there, in two steps.
    let put = |position: u64| {
        for (victims, theirs) in [
            (&peer.victims().read.head, &peer.own().written.tail),
            (&peer.victims().written.tail, &peer.own().read.head),
        ] {
            victims.store(position, Relaxed);
            theirs.store(position, Release);
        }
    };
    let (_stream, mut child) = forked(|_| {
        put((1 << 63) - 1);
        ours.set_nonblocking(true).expect("a flag");
        ours.read(&mut [0; 8]).expect_err("nothing is there");
        ours.write_all(b"to go on from there").expect("room");
        let near = u64::MAX - 3;
        put(near);
        let (_stream, mut child) = forked(|_| {
            ours.read(&mut [0; 8]).expect_err("nothing is there");
            let note = Note::Fds { count: 1, at: near.wrapping_add(10) }.numbered(1);
            assert!(peer.send(&note.to_bytes(), &[file.as_fd()]));
            let mark = Mark::new(near.wrapping_add(10), 1);
            peer.own().marks.0[0].store(mark.to_word(), Release);
            peer.own().written.batches.store(1, Release);
            peer.own().written.tail.store(near.wrapping_add(20), Release);
            let mut there = ours.readable().expect("bytes before the descriptor");
            assert_eq!(there.len(), 10);
            there.read_exact(&mut [0; 6]).expect("they are there");
            there.read_exact(&mut [0; 4]).expect("they are there");
            there.release();
            let (len, fds) = ours.recv_fds(&mut [0; 64]).expect("a descriptor");
            assert_eq!((len, fds.len()), (10, 1));
            let mut room = ours.reserve(64).expect("room");
            room.write_at(60, b"end");
            room.commit(64).expect("somebody reads");
            ours.write_all(&[7; 100]).expect("room");
            0
        });
        i32::from(!child.wait().expect("a status").success())
    });
    assert!(child.wait().expect("a status").success());
}
