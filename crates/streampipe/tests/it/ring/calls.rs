use std::io::{Read, Write};
use std::os::fd::AsFd;

use streampipe::{Builder, Engine};

use crate::support;

/// How often everything is done between the two marks.
const TURNS: u32 = 10_000;

/// What the marks do: a call that nothing else here makes.
fn mark() {
    let _ = rustix::fs::fcntl_getfl(std::io::stdout().as_fd());
}

/// The mark by `strace`'s account; in front of it, `fcntl` or `fcntl64`.
const MARK: &str = "(1, F_GETFL)";

/// What was called between the marks, by `strace`'s account.
fn between_marks(log: &str) -> Vec<&str> {
    let is_mark = |line: &&str| line.contains(MARK);
    let mut lines = log.lines().skip_while(|line| !is_mark(line)).skip(1);
    lines.by_ref().take_while(|line| !is_mark(line)).collect()
}

/// Traces a body that has two marks; what was called between them.
fn traced(path: &str, body: fn()) -> Option<Vec<String>> {
    if support::is_alone(path) {
        support::checked(body);
        return None;
    }
    if !support::has_program("strace", "which system calls a ring makes") {
        return None;
    }
    let log = tempfile::NamedTempFile::new().expect("a file");
    let to = log.path().to_str().expect("text");
    let ran = support::rerun(path, &["strace", "-qq", "-f", "-o", to]);
    assert!(ran.status.success(), "{}", ran.output);
    let log = std::fs::read_to_string(&log).expect("the account");
    assert_eq!(log.lines().filter(|line| line.contains(MARK)).count(), 2, "marks");
    Some(between_marks(&log).into_iter().map(str::to_owned).collect())
}

#[test]
fn steady_use_of_a_ring_makes_no_system_call() {
    let path = "it::ring::calls::steady_use_of_a_ring_makes_no_system_call";
    let called = traced(path, || {
        let (mut ours, mut theirs) =
            Builder::new().engine(Engine::Ring).capacity(4096).pair().expect("a pair");
        let mut buffer = [0; 512];
        // The first publication rings the doorbell of a reader that may be polled before it reads.
        ours.write_all(b"x").expect("room");
        theirs.read_exact(&mut buffer[..1]).expect("there");
        theirs.write_all(b"x").expect("room");
        ours.read_exact(&mut buffer[..1]).expect("there");
        mark();
        for turn in 0..TURNS {
            let len = 1 + turn as usize % 512;
            ours.write_all(&buffer[..len]).expect("room");
            theirs.read_exact(&mut buffer[..len]).expect("there");
            let mut room = theirs.reserve(len).expect("room");
            room.write_at(0, &buffer[..len]);
            room.commit(len).expect("somebody reads");
            let mut there = ours.readable().expect("there");
            there.skip(len);
            there.release();
        }
        mark();
    });
    assert_eq!(called.unwrap_or_default(), Vec::<String>::new());
}

#[test]
fn the_end_that_came_before_a_read_is_not_slept_for() {
    let path = "it::ring::calls::the_end_that_came_before_a_read_is_not_slept_for";
    let called = traced(path, || {
        let (ours, mut theirs) = Builder::new().engine(Engine::Ring).pair().expect("a pair");
        drop(ours);
        mark();
        assert_eq!(theirs.read(&mut [0; 8]).expect("the end"), 0);
        mark();
    });
    let slept = called.unwrap_or_default().into_iter().filter(|call| call.contains("FUTEX_WAIT"));
    assert_eq!(slept.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_system_call_between_the_marks_is_seen() {
    let path = "it::ring::calls::a_system_call_between_the_marks_is_seen";
    let called = traced(path, || {
        let (mut ours, mut theirs) = streampipe::pair().expect("a pair");
        mark();
        ours.write_all(b"x").expect("room");
        theirs.read_exact(&mut [0]).expect("there");
        mark();
    });
    if let Some(called) = called {
        assert_eq!(called.len(), 2, "{called:?}");
    }
}
