//! What comes over the lifeline, and what becomes of it.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::fs::OFlags;
use rustix::process::getpid;
use streampipe::{FdError, Poisoned, Stream, Wait};
use streampipe_sys::region::Owner;
use streampipe_sys::wait::is_readable;
use streampipe_sys::{queue, sockopt};
use streampipe_wire::Note;

use super::{
    CAPACITY, Peer, SHORT, WAITS, die, die_with, in_time, patient, poisoned, ring, with_peer,
};
use crate::child::forked;
use crate::support::{Descriptors, skip};

pub(crate) const TESTS: &[crate::Test] = &[
    ("what_is_no_note_is_told_as_such", no_notes),
    ("descriptors_that_are_not_as_announced_are_closed", wrong_descriptors),
    ("a_flood_of_descriptors_does_not_come_in", flood_of_descriptors),
    ("a_flood_of_doorbells_keeps_nobody_beyond_their_deadline", flood_of_bells),
    ("a_flood_of_doorbells_hides_no_missing_descriptors", flood_over_a_gap),
    ("more_notes_than_a_socket_should_hold_keep_nobody_long", a_long_queue),
    ("one_call_hears_no_more_notes_than_an_honest_peer_sends", notes_of_one_call),
    ("an_end_is_not_hidden_behind_the_victims_own_words", hidden_behind_own_words),
    ("an_end_is_not_hidden_behind_notes_that_were_never_announced", hidden_behind_notes),
    ("a_lifeline_that_is_ended_by_half_is_the_end", ended_by_half),
    ("a_lifeline_that_is_closed_by_a_peer_that_lives_is_the_end", closed_alone),
    ("a_lifeline_that_somebody_made_nonblocking_still_waits", nonblocking),
];

/// Has the victim look at what came, in a call that waits and in one that does not.
fn errors_of(ours: &mut Stream) -> Vec<std::io::Error> {
    let mut errors = Vec::new();
    // Where other things are going on, a deadline passes before the lifeline is looked at.
    for _ in 0..50 {
        let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
        if read.expect_err("nothing came").kind() != ErrorKind::TimedOut {
            break;
        }
    }
    for _ in 0..2 {
        errors.push(in_time(SHORT, "a read", || ours.read(&mut [0; 8])).expect_err("nothing came"));
        errors.push(in_time(SHORT, "a write", || ours.write(&[0; 8])).expect_err("it is over"));
    }
    errors
}

fn expect_poisoned(ours: &mut Stream, expected: impl Fn(&Poisoned) -> bool, what: &str) {
    for error in errors_of(ours) {
        let poisoned = poisoned(&error);
        assert!(poisoned.as_ref().is_some_and(&expected), "{what}: {error:?}");
    }
}

fn no_notes() {
    let good = Note::Bell.to_bytes();
    let bad_note = |it: &Poisoned| matches!(it, Poisoned::Note(_));
    for wait in WAITS {
        if wait == Wait::Spin {
            // Who never sleeps hears nothing but descriptors that it was told of, and the end.
            continue;
        }
        // Each byte of a doorbell, changed.
        for at in 0..good.len() {
            let (mut ours, peer) = ring(CAPACITY);
            patient(&ours, wait);
            let mut bytes = good;
            bytes[at] ^= 0x80;
            assert!(peer.send(&bytes, &[]));
            expect_poisoned(&mut ours, bad_note, &format!("byte {at}"));
        }
        for kind in 4..=255 {
            let (mut ours, peer) = ring(CAPACITY);
            patient(&ours, wait);
            // Who does not wait hears at once.
            ours.set_nonblocking(kind > 7).expect("a flag");
            let mut bytes = good;
            bytes[2] = kind;
            assert!(peer.send(&bytes, &[]));
            expect_poisoned(&mut ours, bad_note, &format!("kind {kind}"));
        }
        // Pieces, and more than one.
        for len in (1..16).chain(17..32) {
            let (mut ours, peer) = ring(CAPACITY);
            patient(&ours, wait);
            assert!(peer.send(&[good, good].concat()[..len], &[]));
            expect_poisoned(&mut ours, |it| *it == Poisoned::LifelineCut, &format!("{len} bytes"));
        }
        let (mut ours, peer) = ring(CAPACITY);
        patient(&ours, wait);
        let second = Note::Memory { capacity: CAPACITY as u64 };
        assert!(peer.send(&second.to_bytes(), &[]));
        expect_poisoned(&mut ours, |it| *it == Poisoned::UnexpectedNote, "a second memory");
        // The control: what may come does no harm.
        let (mut ours, peer) = ring(CAPACITY);
        patient(&ours, wait);
        assert!(peer.send(&[good, good, Note::Hello.to_bytes(), good].concat(), &[]));
        let error = in_time(SHORT, "a read", || ours.read(&mut [0; 8])).expect_err("no bytes");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        ours.write_all(b"still there").expect("room");
    }
}

/// Says that a batch was sent, with one byte.
fn announce(peer: &mut Peer) {
    peer.note_batch();
    peer.publish(1);
}

fn wrong_descriptors() {
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    let some = |count: usize| vec![file.as_fd(); count];
    let fds = |count: u8, at: u64| Note::Fds { count, at }.numbered(1).to_bytes();
    let cases: [(&str, [u8; 16], usize, Poisoned); 8] = [
        ("none", fds(1, 0), 0, Poisoned::Fds { due: 1, came: 0 }),
        ("fewer", fds(3, 0), 2, Poisoned::Fds { due: 3, came: 2 }),
        ("more", fds(2, 0), 253, Poisoned::Fds { due: 2, came: 253 }),
        ("with a doorbell", Note::Bell.to_bytes(), 1, Poisoned::Fds { due: 0, came: 1 }),
        ("with a hello", Note::Hello.to_bytes(), 3, Poisoned::Fds { due: 0, came: 3 }),
        ("not there", Note::Bell.to_bytes(), 0, Poisoned::FdsMissing { batches: 1 }),
        ("behind", fds(1, u64::MAX), 1, Poisoned::FdsMisplaced { at: u64::MAX, head: 0 }),
        ("beyond", fds(1, 4097), 1, Poisoned::FdsMisplaced { at: 4097, head: 0 }),
    ];
    for (what, note, sent, expected) in cases {
        for bytes_alone in [false, true] {
            let (mut ours, mut peer) = ring(CAPACITY);
            patient(&ours, Wait::Adaptive);
            let open = Descriptors::now().count();
            assert!(peer.send(&note, &some(sent)));
            announce(&mut peer);
            let error = if bytes_alone {
                ours.read(&mut [0; 8]).expect_err("wrong")
            } else {
                ours.recv_fds(&mut [0; 8]).map(drop).expect_err("wrong")
            };
            assert_eq!(poisoned(&error), Some(expected), "{what}: {error:?}");
            expect_poisoned(&mut ours, |it| *it == expected, what);
            let held = Descriptors::now().count() - open;
            assert!(held <= sent, "{what}: {held}");
            drop(ours);
            assert_eq!(Descriptors::now().count(), open - 1, "{what}: they stay open");
        }
    }
    // The control.
    let (ours, mut peer) = ring(CAPACITY);
    assert!(peer.send(&fds(3, 0), &some(3)));
    announce(&mut peer);
    let (len, fds) = ours.recv_fds(&mut [0; 8]).expect("all is right");
    assert_eq!((len, fds.len()), (1, 3));
}

fn flood_of_descriptors() {
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    for wait in WAITS {
        for announced in [false, true] {
            let pair = ring(CAPACITY);
            patient(&pair.0, wait);
            let many: Vec<BorrowedFd<'_>> = vec![file.as_fd(); 253];
            let (mut ours, _memory, mut child) = with_peer(pair, |peer| {
                if announced {
                    // Positions that were written, of bytes that are never said to have descriptors.
                    peer.own().written.tail.store(8, Release);
                }
                loop {
                    peer.send(&Note::Fds { count: 253, at: 4 }.to_bytes(), &many);
                }
            });
            let open = Descriptors::now().count();
            let mut most = 0;
            for _ in 0..4 {
                let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
                assert!(read.is_ok() || is_expected(read.as_ref().expect_err("just seen")));
                let got = in_time(SHORT, "a receive", || ours.recv_fds(&mut [0; 8]));
                match got {
                    Ok((_, fds)) => assert!(fds.len() <= 253),
                    Err(error) => assert!(is_expected(&error), "{error:?}"),
                }
                most = most.max(Descriptors::now().count() - open);
            }
            assert!(most <= 2 * 253, "{most} descriptors came in");
            child.kill().expect("it runs");
            assert!(!child.wait().expect("a status").success());
        }
    }
}

fn is_expected(error: &std::io::Error) -> bool {
    let is_fds = error.get_ref().is_some_and(|it| it.is::<FdError>());
    is_fds || poisoned(error).is_some() || error.kind() == ErrorKind::TimedOut
}

fn ring_for_ever(peer: &Peer) -> ! {
    // As many at once as the lifeline takes: ringing is cheaper than hearing.
    let many = Note::Bell.to_bytes().repeat(64);
    loop {
        peer.send(&many, &[]);
    }
}

fn flood_of_bells() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        (&pair.0).write_all(&[7; CAPACITY]).expect("room");
        let (mut ours, _memory, mut child) = with_peer(pair, |peer| ring_for_ever(&peer));
        for _ in 0..3 {
            let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
            assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
            let written = in_time(SHORT, "a write", || ours.write(b"x"));
            assert_eq!(written.expect_err("nobody reads").kind(), ErrorKind::TimedOut);
            ours.set_nonblocking(true).expect("a flag");
            let read = in_time(SHORT, "a look", || ours.read(&mut [0; 8]));
            assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
            let written = in_time(SHORT, "a look", || ours.write(b"x"));
            assert_eq!(written.expect_err("nobody reads").kind(), ErrorKind::WouldBlock);
            ours.set_nonblocking(false).expect("a flag");
        }
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
    }
}

/// Whoever looks for the descriptors of a batch finds doorbells, for as long as they look.
fn flood_over_a_gap() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        patient(&pair.0, wait);
        let (mut ours, memory, mut child) = with_peer(pair, |mut peer| {
            // Several, so that the lifeline is never empty, however fast it is heard.
            let parent = getpid();
            for _ in 0..3 {
                let (_stream, child) = forked(|_| {
                    die_with(parent);
                    ring_for_ever(&peer)
                });
                // Left as it is: it ends with this process.
                std::mem::forget(child);
            }
            while peer.send(&Note::Bell.to_bytes(), &[]) {}
            announce(&mut peer);
            ring_for_ever(&peer)
        });
        let tail = &memory.control(Owner::Second).written.tail;
        while tail.load(Acquire) == 0 {
            std::hint::spin_loop();
        }
        let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
        let error = read.expect_err("they never come");
        assert_eq!(poisoned(&error), Some(Poisoned::FdsMissing { batches: 1 }), "{error:?}");
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
    }
}

fn a_long_queue() {
    let (mut ours, peer) = ring(CAPACITY);
    patient(&ours, Wait::Block);
    let room = 1 << 29;
    if sockopt::make_send_room(peer.lifeline.as_fd(), room).is_err() {
        return skip("more notes than a socket should hold", "it takes the superuser");
    }
    let many = Note::Bell.to_bytes().repeat(1 << 20);
    let mut notes = 0;
    while peer.send(&many, &[]) && notes < 1 << 24 {
        notes += 1 << 20;
    }
    if notes == 0 {
        return skip("more notes than a socket should hold", "it holds no more");
    }
    let read = in_time(SHORT, "a read", || ours.read(&mut [0; 8]));
    assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
    ours.set_nonblocking(true).expect("a flag");
    let read = in_time(SHORT, "a look", || ours.read(&mut [0; 8]));
    assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
}

/// More than an honest peer's socket holds.
const MOST: u64 = 512;

fn notes_of_one_call() {
    let null = std::fs::File::open("/dev/null").expect("a descriptor");
    type Call<'fd> = &'fd dyn Fn(&mut Stream);
    let calls: [(&str, u64, Call<'_>); 7] = [
        ("read", MOST, &|it| drop(it.read(&mut [0; 8]).expect_err("nothing comes"))),
        ("readable", MOST, &|it| drop(it.readable().map(drop).expect_err("nothing comes"))),
        ("recv_fds", MOST, &|it| drop(it.recv_fds(&mut [0; 8]).expect_err("nothing comes"))),
        ("write", MOST, &|it| drop(it.write(b"x").expect_err("nobody reads"))),
        ("reserve", MOST, &|it| drop(it.reserve(1).map(drop).expect_err("nobody reads"))),
        ("send_fds", MOST, &|it| {
            drop(it.send_fds(b"x", &[null.as_fd()]).expect_err("nobody reads"))
        }),
        // It looks for one before it says that none is there, and once more behind that.
        ("recv_hello", 3 * MOST, &|it| drop(it.recv_hello().map(drop).expect_err("none comes"))),
    ];
    for (what, most, call) in calls {
        for announced in [false, true] {
            let (mut ours, mut peer) = ring(CAPACITY);
            ours.set_nonblocking(true).expect("a flag");
            ours.write_all(&[7; CAPACITY]).expect("room");
            // Many at once take less room.
            while peer.send(&Note::Bell.to_bytes().repeat(64), &[]) {}
            if announced {
                announce(&mut peer);
            }
            let lifeline = ours.as_fd().try_clone_to_owned().expect("a duplicate");
            let queued = || queue::bytes_queued(&lifeline).expect("a socket") / 16;
            let before = queued();
            assert!(before > 4 * MOST, "{before} notes are too few for this test");
            call(&mut ours);
            let heard = before - queued();
            assert!((1..=most).contains(&heard), "{what} heard {heard} of {before}");
        }
    }
}

/// Calls that do not wait, until it is over; how, unless it never is.
fn over_within(ours: &mut Stream, polls: usize) -> Option<Result<(), std::io::Error>> {
    let waits = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    (0..polls).find_map(|_| match ours.read(&mut [0; 1]) {
        Ok(0) => Some(Ok(())),
        Ok(_) => None,
        Err(error) => (!waits(&error)).then_some(Err(error)),
    })
}

/// Reads so many bytes, which come in time.
fn read_when_there(ours: &mut Stream, mut bytes: usize) {
    while bytes > 0 {
        match ours.read(&mut vec![0; bytes]) {
            Ok(len) => bytes -= len,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error:?}"),
        }
    }
}

/// As far as the victim knows it has read 10 bytes of 10; the peer says, of the victim, something else.
fn hidden_behind_own_words() {
    let positions = [0, 9, 11, 14, 15, 16, 10 + CAPACITY as u64, 1 << 63, (1 << 63) + 10, u64::MAX];
    for (more, claimed) in [0, 5].into_iter().flat_map(|more| positions.map(|it| (more, it))) {
        let pair = ring(CAPACITY);
        pair.0.set_nonblocking(true).expect("a flag");
        let (mut ours, _memory, mut child) = with_peer(pair, |mut peer| {
            peer.copy_in(&[1; 10]);
            peer.publish(10);
            while peer.victims().read.head.load(Acquire) != 10 {
                std::hint::spin_loop();
            }
            peer.publish(more);
            peer.victims().read.head.store(claimed, Release);
        });
        read_when_there(&mut ours, 10);
        assert!(child.wait().expect("a status").success());
        let what = format!("{more} bytes more, and {claimed} of them read");
        assert!(is_readable(ours.as_fd()).expect("a socket"), "{what}: it tells of the end");
        match over_within(&mut ours, 100) {
            Some(Ok(())) => {}
            Some(Err(error)) => assert!(poisoned(&error).is_some(), "{what}: {error:?}"),
            None => panic!("{what}: it would wait for ever"),
        }
    }
}

fn hidden_behind_notes() {
    let file = std::fs::File::open("/dev/null").expect("a descriptor");
    let pair = ring(CAPACITY);
    pair.0.set_nonblocking(true).expect("a flag");
    let (mut ours, _memory, mut child) = with_peer(pair, |mut peer| {
        peer.copy_in(b"x");
        peer.publish(1);
        while peer.victims().read.head.load(Acquire) != 1 {
            std::hint::spin_loop();
        }
        for number in 1..=3 {
            let note = Note::Fds { count: 1, at: 0 }.numbered(number);
            assert!(peer.send(&note.to_bytes(), &[file.as_fd()]));
        }
    });
    let open = Descriptors::now().count();
    read_when_there(&mut ours, 1);
    assert!(child.wait().expect("a status").success());
    let mut orphans = 0;
    loop {
        match over_within(&mut ours, 100).expect("it would wait for ever") {
            Ok(()) => break,
            Err(error) => orphans += orphaned(&error).unwrap_or_else(|| panic!("{error:?}")),
        }
    }
    assert!((1..=3).contains(&orphans), "{orphans} of 3: those that were heard are told of");
    assert_eq!(Descriptors::now().count(), open);
}

/// How many descriptors came without bytes, if the error says that.
fn orphaned(error: &std::io::Error) -> Option<usize> {
    match error.get_ref()?.downcast_ref()? {
        FdError::Orphaned { count } => Some(*count),
        _ => None,
    }
}

fn ended_by_half() {
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        for wait in WAITS {
            let (mut ours, mut peer) = ring(CAPACITY);
            patient(&ours, wait);
            peer.copy_in(b"last words");
            peer.publish(10);
            sockopt::shutdown(peer.lifeline.as_fd(), how).expect("a socket");
            let mut heard = [0; 64];
            let len = in_time(SHORT, "a read", || ours.read(&mut heard)).expect("they are there");
            assert_eq!(&heard[..len], b"last words");
            // The end, or its own deadline where half of the lifeline is left; and never a loop.
            match in_time(SHORT, "a read", || ours.read(&mut heard)) {
                Ok(len) => assert_eq!(len, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error:?}"),
            }
            let written = in_time(SHORT, "a write", || ours.write(&[7; 2 * CAPACITY]));
            let ends = [ErrorKind::BrokenPipe, ErrorKind::TimedOut];
            assert!(written.is_ok() || ends.contains(&written.expect_err("just seen").kind()));
            let null = std::fs::File::open("/dev/null").expect("a descriptor");
            let sent = in_time(SHORT, "a send", || ours.send_fds(b"x", &[null.as_fd()]));
            assert!(ends.contains(&sent.expect_err("no room, or no way").kind()));
        }
    }
}

/// The peer lives, and goes on writing into the memory.
fn closed_alone() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        pair.0.set_wait(wait);
        let (mut ours, memory, mut child) = with_peer(pair, |mut peer| {
            peer.copy_in(b"last words");
            peer.publish(10);
            let Peer { lifeline, memory, .. } = peer;
            drop(lifeline);
            let own = memory.control(Owner::Second);
            own.superblock.magic.store(1, Release);
            loop {
                own.read.head.store(0, Release);
            }
        });
        let own = memory.control(Owner::Second);
        while own.superblock.magic.load(Acquire) != 1 {
            std::hint::spin_loop();
        }
        let mut all = Vec::new();
        in_time(SHORT, "a read", || ours.read_to_end(&mut all)).expect("the end");
        assert_eq!(all, b"last words");
        let written = in_time(SHORT, "a write", || ours.write_all(&[7; 2 * CAPACITY]));
        assert_eq!(written.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
        child.kill().expect("it runs");
        assert!(!child.wait().expect("a status").success());
    }
}

/// Whoever has a copy of an end can change the flags of it for all of them.
fn nonblocking() {
    for wait in WAITS {
        let pair = ring(CAPACITY);
        pair.0.set_wait(wait);
        let flags = OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&pair.0, flags).expect("a flag");
        rustix::fs::fcntl_setfl(&pair.1.lifeline, flags).expect("a flag");
        let (mut ours, _memory, mut child) = with_peer(pair, |mut peer| {
            // When the victim says that it sleeps at the lifeline, or has not needed to.
            let mut bytes = Vec::new();
            while bytes.len() < 3 * CAPACITY {
                let more = peer.copy_out(CAPACITY);
                let sleep = peer.release(more.len() as u64);
                peer.wake_writer(sleep);
                bytes.extend(more);
            }
            peer.copy_in(b"done");
            let sleep = peer.publish(4);
            peer.wake_reader(sleep);
            die();
        });
        ours.write_all(&[7; 3 * CAPACITY]).expect("it waits for room");
        let mut heard = [0; 4];
        ours.read_exact(&mut heard).expect("it waits for bytes");
        assert_eq!(&heard, b"done");
        assert_eq!(ours.read(&mut heard).expect("the end"), 0);
        assert!(!child.wait().expect("a status").success());
    }
}
