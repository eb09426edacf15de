//! The textbook use of a ring: a pair that is made first, then a plain fork, and each side drops the other's end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

use streampipe::{Builder, Child, Engine, Stream, Wait};

use crate::child::forked;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_pair_that_was_made_first_survives_a_plain_fork", a_plain_fork),
    ("what_a_fork_drops_of_a_ring_disturbs_nobody", drops_disturb_nobody),
    ("a_child_that_exits_without_a_drop_ends_its_ring_behind_its_last_words", exits_without_a_drop),
    ("a_second_child_goes_on_where_the_first_one_stopped", one_after_the_other),
    ("a_parent_goes_on_where_its_child_stopped", in_turns),
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
