//! The textbook use of a ring: a pair that is made first, then a plain fork, and each side drops the other's end.

use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

use streampipe::{Builder, Child, Engine, Stream, Wait};

use crate::child::forked;
use crate::support::file_with;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_pair_that_was_made_first_survives_a_plain_fork", a_plain_fork),
    ("what_a_fork_drops_of_a_ring_disturbs_nobody", drops_disturb_nobody),
    ("a_child_that_exits_without_a_drop_ends_its_ring_behind_its_last_words", exits_without_a_drop),
    ("a_second_child_goes_on_where_the_first_one_stopped", one_after_the_other),
    ("both_ends_are_used_by_two_processes_in_turns", in_turns),
    ("a_parent_goes_on_where_its_child_stopped", behind_the_child),
    ("a_parent_goes_on_behind_descriptors_that_its_child_took_or_sent", behind_its_descriptors),
    ("a_look_in_place_gives_nothing_back_that_a_child_has_read", in_place_beside_a_child),
    ("a_guard_is_its_thread_s_in_a_fork_too", a_guard_in_a_fork),
    ("a_parent_goes_on_behind_descriptors_that_its_child_refused", behind_a_refusal),
    ("descriptors_cross_a_fork_with_their_bytes", descriptors),
];

fn ring(capacity: usize) -> (Stream, Stream) {
    Builder::new().engine(Engine::Ring).capacity(capacity).pair().expect("a pair")
}

/// Forks; the child has the second end and nothing of the first, this process the other way round.
fn with_child(
    (ours, theirs): (Stream, Stream),
    body: impl FnOnce(Stream) -> i32,
) -> (Stream, Child) {
    let mut both = Some((ours, theirs));
    let (stream, child) = forked(|stream| {
        drop(stream);
        let (ours, theirs) = both.take().expect("taken once in the child");
        drop(ours);
        body(theirs)
    });
    drop(stream);
    let (ours, theirs) = both.take().expect("taken once in the parent");
    drop(theirs);
    (ours, child)
}

fn a_plain_fork() {
    for wait in [Wait::Adaptive, Wait::Spin, Wait::Block] {
        let mut pair = ring(4096);
        pair.0.set_wait(wait);
        // Used before the fork, too: the child goes on where the parent stopped.
        pair.0.write_all(b"early ").expect("room");
        let mut early = [0; 3];
        pair.1.read_exact(&mut early).expect("written before");
        let (mut ours, mut child) = with_child(pair, |mut theirs| {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).expect("the parent ends its direction");
            theirs.write_all(&all).expect("the parent reads");
            0
        });
        ours.write_all(b"and late").expect("the child reads");
        ours.shutdown(Shutdown::Write).expect("once");
        let mut all = String::new();
        ours.read_to_string(&mut all).expect("the child writes");
        assert_eq!(all, "ly and late");
        assert!(child.wait().expect("it ends").success());
    }
}

fn drops_disturb_nobody() {
    let (mut ours, mut theirs) = ring(4096);
    for _ in 0..100 {
        // The child exits, which drops nothing, or drops its copies of both.
        let (stream, mut child) = forked(|_| 0);
        assert!(child.wait().expect("it ends").success());
        drop(stream);
        let pair = [ours.try_clone().expect("a handle"), theirs.try_clone().expect("a handle")];
        let (stream, mut child) = forked(move |_| {
            drop(pair);
            0
        });
        assert!(child.wait().expect("it ends").success());
        drop(stream);
        ours.write_all(b"still here").expect("nobody ended it");
        let mut heard = [0; 10];
        theirs.read_exact(&mut heard).expect("nobody ended it");
        theirs.write_all(b"yes").expect("nobody ended it");
        let mut answer = [0; 3];
        ours.read_exact(&mut answer).expect("nobody ended it");
        assert_eq!(&answer, b"yes");
    }
}

fn exits_without_a_drop() {
    let (mut ours, mut child) = with_child(ring(4096), |mut theirs| {
        theirs.write_all(b"last words").expect("room");
        std::process::exit(0);
    });
    let mut all = String::new();
    ours.read_to_string(&mut all).expect("the end, and no reset");
    assert_eq!(all, "last words");
    let error = ours.write_all(b"anybody?").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(child.wait().expect("it ends").success());
}

fn one_after_the_other() {
    let (mut ours, theirs) = ring(4096);
    for turn in 0..20_u8 {
        ours.write_all(&[turn; 3]).expect("room");
        let copy = theirs.try_clone().expect("a handle");
        let (stream, mut child) = forked(move |_| {
            let (mut copy, mut heard) = (copy, [0; 3]);
            copy.read_exact(&mut heard).expect("what the parent wrote");
            copy.write_all(&heard).expect("room");
            0
        });
        let mut heard = [0; 3];
        ours.read_exact(&mut heard).expect("what the child wrote");
        assert_eq!(heard, [turn; 3]);
        assert!(child.wait().expect("it ends").success());
        drop(stream);
    }
    drop(theirs);
    assert_eq!(ours.read(&mut [0; 8]).expect("the end"), 0);
}

fn in_turns() {
    let (mut ours, mut theirs) = ring(4096);
    let turn = |ours: &mut Stream, theirs: &mut Stream, round: u8| {
        ours.write_all(&[round; 700]).expect("room");
        let mut heard = [0; 700];
        theirs.read_exact(&mut heard).expect("what was written");
        assert_eq!(heard, [round; 700]);
        theirs.write_all(&heard[..300]).expect("room");
        let mut heard = [0; 300];
        ours.read_exact(&mut heard).expect("what was answered");
        assert_eq!(heard, [round; 300]);
    };
    // Both ends, in both processes, several times around the ring.
    for round in 0..20 {
        let mut copies =
            [ours.try_clone().expect("a handle"), theirs.try_clone().expect("a handle")];
        let (stream, mut child) = forked(|_| {
            let [ours, theirs] = &mut copies;
            turn(ours, theirs, round);
            0
        });
        assert!(child.wait().expect("it ends").success());
        drop(stream);
        turn(&mut ours, &mut theirs, round + 100);
    }
}

/// Forks, and waits for the child, which does this with an end that this process has, too.
fn in_a_child(end: &Stream, body: impl FnOnce(&mut Stream)) {
    let mut copy = end.try_clone().expect("a handle");
    let (stream, mut child) = forked(|_| {
        body(&mut copy);
        0
    });
    assert!(child.wait().expect("it ends").success());
    drop(stream);
}

/// Child and parent use the same end in turn; the other one is in one hand.
fn behind_the_child() {
    for wait in [Wait::Adaptive, Wait::Spin, Wait::Block] {
        let (mut ours, mut theirs) = ring(4096);
        ours.set_wait(wait);
        let mut heard = [0; 16];
        // Long enough to go around the ring.
        for turn in 0..600_u32 {
            let said: Vec<u8> = (0..11).map(|at| (turn * 11 + at) as u8).collect();
            theirs.write_all(&said).expect("room");
            if turn % 2 == 0 {
                // This process knows of the others, then.
                ours.read_exact(&mut heard[..1]).expect("there");
                assert_eq!(heard[0], said[0]);
            }
            let read = 1 - turn as usize % 2;
            in_a_child(&ours, |copy| {
                copy.read_exact(&mut heard[..3]).expect("there");
                assert_eq!(heard[..3], said[read..read + 3]);
                copy.write_all(&said[..3]).expect("room");
            });
            let len = ours.read(&mut heard).expect("there");
            assert_eq!(heard[..len], said[read + 3..], "{wait:?}, turn {turn}");
            ours.write_all(&said[3..]).expect("room");
            let len = theirs.read(&mut heard).expect("there");
            assert_eq!(heard[..len], said, "{wait:?}, turn {turn}");
        }
        drop(theirs);
        assert_eq!(ours.read(&mut heard).expect("the end, and no reset"), 0);
    }
}

/// What was sent with these bytes, which come next: a file.
fn takes(end: &Stream, bytes: &[u8], text: &str) {
    let mut buffer = [0; 16];
    let (len, mut fds) = end.recv_fds(&mut buffer).expect("a file");
    assert_eq!((&buffer[..len], fds.len()), (bytes, 1));
    let mut file = std::fs::File::from(fds.remove(0));
    // All copies of it have one position.
    file.rewind().expect("a file");
    let mut all = String::new();
    file.read_to_string(&mut all).expect("a file");
    assert_eq!(all, text);
}

fn behind_its_descriptors() {
    let [one, two, three] = ["one", "two", "three"].map(|it| file_with(it.as_bytes()));
    for is_met in [false, true] {
        for _ in 0..3 {
            let (mut ours, mut theirs) = ring(4096);
            for (bytes, file) in [(b"1st", &one), (b"2nd", &two), (b"3rd", &three)] {
                theirs.send_fds(bytes, &[file.as_fd()]).expect("room");
            }
            if is_met {
                // It is held here, and in the child.
                ours.read(&mut [0; 8]).expect_err("a descriptor comes first");
            }
            in_a_child(&ours, |copy| {
                takes(copy, b"1st", "one");
                copy.send_fds(b"4th", &[two.as_fd()]).expect("room");
            });
            takes(&ours, b"2nd", "two");
            ours.send_fds(b"5th", &[three.as_fd()]).expect("room");
            in_a_child(&ours, |copy| takes(copy, b"3rd", "three"));
            takes(&theirs, b"4th", "two");
            takes(&theirs, b"5th", "three");
            theirs.write_all(b"and bytes").expect("room");
            let mut heard = [0; 16];
            let len = ours.read(&mut heard).expect("bytes");
            assert_eq!(&heard[..len], b"and bytes", "{is_met}");
        }
    }
}

fn in_place_beside_a_child() {
    let (ours, mut theirs) = ring(4096);
    theirs.write_all(b"onetwo").expect("room");
    let mut copy = ours.try_clone().expect("a handle");
    let (mut stream, mut child) = forked(|mut stream| {
        stream.read_exact(&mut [0; 1]).expect("the word to begin");
        let mut heard = [0; 6];
        copy.read_exact(&mut heard).expect("there");
        assert_eq!(&heard, b"onetwo");
        0
    });
    let mut there = ours.readable().expect("there");
    stream.write_all(b"!").expect("it listens");
    assert!(child.wait().expect("it ends").success());
    there.skip(3);
    there.release();
    // The peer has seen all of it given back, and goes on.
    theirs.write_all(&[7; 4096]).expect("room");
    let mut heard = [0; 4096];
    (&ours).read_exact(&mut heard).expect("there");
    assert_eq!(heard, [7; 4096]);
    theirs.write_all(b"x").expect("nothing is wrong");
}

fn a_guard_in_a_fork() {
    let (ours, mut theirs) = ring(4096);
    theirs.write_all(b"onetwo").expect("room");
    let mut there = ours.readable().expect("there");
    in_a_child(&ours, |copy| {
        // This thread has it here, too.
        let kind = copy.read(&mut [0; 8]).expect_err("it is in use").kind();
        assert_eq!(kind, ErrorKind::Deadlock);
    });
    there.skip(3);
    there.release();
    let mut heard = [0; 8];
    let len = (&ours).read(&mut heard).expect("the rest");
    assert_eq!(&heard[..len], b"two");
}

fn behind_a_refusal() {
    let (ours, theirs) = ring(4096);
    let file = file_with(b"x");
    theirs.send_fds(b"1st", &[file.as_fd()]).expect("room");
    in_a_child(&ours, |copy| {
        copy.read(&mut [0; 8]).expect_err("a descriptor comes first");
        copy.refuse_fds().expect("an end");
    });
    let mut heard = [0; 8];
    let (len, fds) = ours.recv_fds(&mut heard).expect("bytes");
    assert_eq!((&heard[..len], fds.len()), (&b"1st"[..], 0));
    (&theirs).write_all(b"2nd").expect("nothing is wrong");
    let len = (&ours).read(&mut heard).expect("bytes");
    assert_eq!(&heard[..len], b"2nd");
}

fn descriptors() {
    let mut pair = ring(4096);
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let mut writer = std::fs::File::from(writer);
    pair.0.write_all(b"before").expect("room");
    let (ours, mut child) = with_child(pair, move |theirs| {
        let mut buffer = [0; 64];
        let (len, fds) = theirs.recv_fds(&mut buffer).expect("bytes");
        assert_eq!((&buffer[..len], fds.len()), (&b"before"[..], 0));
        let (len, mut fds) = theirs.recv_fds(&mut buffer).expect("bytes and a descriptor");
        assert_eq!((&buffer[..len], fds.len()), (&b"with"[..], 1));
        // Not to its end: this process has a copy of the writing end, too.
        let mut heard = [0; 16];
        std::fs::File::from(fds.remove(0)).read_exact(&mut heard).expect("a pipe");
        i32::from(&heard != b"through the pipe")
    });
    ours.send_fds(b"with", &[reader.as_fd()]).expect("the child takes it");
    drop(reader);
    writer.write_all(b"through the pipe").expect("the child reads");
    drop(writer);
    assert!(child.wait().expect("it ends").success());
}
