//! A process that goes on with an end of a ring where another one, which had a copy of it, was killed.
//!
//! The other one is killed behind instructions of each call, so between any two steps of a publication. Whoever goes on is
//! heard whole: its own descriptors come with its own bytes, those of the other one with the bytes they were sent with or
//! not at all, and a reader that was left asleep is woken.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use rustix::process::getpid;
use streampipe::{Builder, Engine, FdError, Stream};
use streampipe_sys::message::{self, Blocking};
use streampipe_sys::region::Owner;
use streampipe_wire::Note;

use crate::child::forked;
use crate::hostile::{CAPACITY, MARGIN, die, die_with};
use crate::mapping::Mapping;
use crate::stepping::{Step, Stepped, be_stepped, stop};
use crate::support::{Descriptors, file_with, identity, readable_within, skip};

pub(crate) const TESTS: &[crate::Test] = &[
    ("descriptors_of_a_killed_sender_come_with_nobodys_bytes", orphaned_note),
    ("whoever_goes_on_for_a_killed_writer_is_heard_whole", some_writers),
    ("whoever_goes_on_for_a_killed_reader_misses_nothing_silently", some_readers),
    ("a_reader_that_a_killed_writer_left_asleep_is_woken", left_asleep),
    ("a_writer_that_a_killed_reader_left_asleep_is_woken", left_without_room),
    ("an_end_of_a_half_that_was_not_told_of_is_told", untold_end),
];

pub(crate) const LONG: &[crate::Test] = &[
    ("whoever_goes_on_for_a_writer_killed_behind_every_instruction_is_heard_whole", all_writers),
    ("whoever_goes_on_for_a_reader_killed_behind_every_instruction_misses_nothing", all_readers),
];

/// How many kills for each call and each way to go on, of a change.
const KILLS: usize = 12;

/// What a killed writer was writing.
const SENT: [u8; 300] = [0xAA; 300];

/// What is written by whoever goes on.
const PLAIN: &[u8] = b"plain";
const WITH: &[u8] = b"with a descriptor";

/// A call of the one that is killed, by name.
type Call = (&'static str, fn(&Stream, &File));

const WRITES: &[Call] = &[
    ("write", |stream, _| drop({ stream }.write(&SENT))),
    ("write of more than there is room for", |stream, _| {
        stream.set_nonblocking(true).expect("a flag");
        drop({ stream }.write(&[0xAA; 2 * CAPACITY]));
    }),
    ("send_fds", |stream, file| drop(stream.send_fds(&SENT, &[file.as_fd(), file.as_fd()]))),
    ("send_fds twice", |stream, file| {
        drop(stream.send_fds(&SENT, &[file.as_fd(), file.as_fd()]));
        drop(stream.send_fds(&SENT, &[file.as_fd(), file.as_fd()]));
    }),
    ("reserve and commit", |stream, _| {
        let mut room = stream.reserve(300).expect("room");
        room.write_at(0, &SENT);
        room.commit(300).expect("somebody reads");
    }),
];

const READS: &[Call] = &[
    ("recv_fds", |stream, _| drop(stream.recv_fds(&mut [0; 60]))),
    ("recv_fds twice", |stream, _| {
        drop(stream.recv_fds(&mut [0; 40]));
        drop(stream.recv_fds(&mut [0; 60]));
    }),
    ("read that is refused", |stream, _| drop({ stream }.read(&mut [0; 60]))),
    ("recv_fds and read in place", |stream, _| {
        drop(stream.recv_fds(&mut [0; 1]));
        let mut there = stream.readable().expect("bytes");
        there.skip(7);
        drop(there.read(&mut [0; 20]));
        there.release();
    }),
];

/// Whether a process goes on with bytes alone, or with descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoesOn {
    WithBytes,
    WithDescriptors,
}

// --- the case that was found ---

/// The child is killed when it has sent the note and before it has said so anywhere; with the number that it took, or with
/// none.
fn orphaned_note() {
    for number in [0, 1] {
        for goes_on in [GoesOn::WithBytes, GoesOn::WithDescriptors] {
            let make = || Builder::new().engine(Engine::Ring).pair().expect("a pair");
            let ((ours, theirs), memory) = Mapping::of(make);
            let (own, others) = (file_with(b"own"), file_with(b"of the dead"));
            let before = Descriptors::now();
            let (stream, mut child) = forked(|_| {
                memory.control(Owner::Second).written.notes.store(number.into(), Release);
                let note = Note::Fds { count: 1, at: 0 }.numbered(number).to_bytes();
                let (bytes, fds) = (&[IoSlice::new(&note)], &[others.as_fd()]);
                message::send_with_fds(theirs.as_fd(), bytes, fds, Blocking::Never).expect("room");
                die()
            });
            drop(stream);
            assert_eq!(child.wait().expect("a status").signal(), Some(9));
            drop(child);
            let what = format!("number {number}, {goes_on:?}");
            match goes_on {
                GoesOn::WithBytes => assert_eq!({ &theirs }.write(b"x").expect("room"), 1),
                GoesOn::WithDescriptors => {
                    assert_eq!(theirs.send_fds(b"x", &[own.as_fd()]).expect("room"), 1);
                }
            }
            ours.set_nonblocking(true).expect("a flag");
            let (mut bytes, mut fds, mut orphans) = (0, Vec::new(), 0);
            loop {
                match ours.recv_fds(&mut [0; 8]) {
                    Ok((len, more)) => {
                        bytes += len;
                        fds.extend(more);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => match orphaned(&error) {
                        Some(count) => orphans += count,
                        None => panic!("{what}: {error:?}"),
                    },
                }
            }
            assert_eq!(bytes, 1, "{what}");
            assert!(fds.iter().all(|fd| identity(fd) == identity(&own)), "{what}: another file");
            assert_eq!(fds.len(), usize::from(goes_on == GoesOn::WithDescriptors), "{what}");
            assert_eq!(orphans, 1, "{what}: it is told of, once");
            drop(fds);
            assert_eq!(Descriptors::now(), before, "{what}: it is closed");
        }
    }
}

/// How many descriptors came without bytes, if the error says that.
fn orphaned(error: &std::io::Error) -> Option<usize> {
    match error.get_ref()?.downcast_ref()? {
        FdError::Orphaned { count } => Some(*count),
        _ => None,
    }
}

// --- killed behind an instruction ---

/// A pair, of which another process kills itself, as it were, in a call on the second end; this one has both.
struct Left {
    ours: Stream,
    theirs: Stream,
    memory: Mapping,
    /// How many instructions were made.
    steps: usize,
}

/// Kills a child behind so many instructions of a call on its copy of the second end, or behind the last. `None` if that
/// cannot be done here.
fn kill_behind(call: &Call, file: &File, steps: usize, early: &[u8]) -> Option<Left> {
    let make = || Builder::new().engine(Engine::Ring).capacity(CAPACITY).pair().expect("a pair");
    let ((ours, theirs), memory) = Mapping::of(make);
    if !early.is_empty() {
        ours.send_fds(early, &[file.as_fd(), file.as_fd()]).expect("room");
    }
    let parent = getpid();
    let (stream, mut child) = forked(|stream| {
        drop(stream);
        die_with(parent);
        if be_stepped().is_err() {
            return 1;
        }
        (call.1)(&theirs, file);
        stop();
        0
    });
    drop(stream);
    let Some(stepped) = Stepped::wait_for(child.id()) else {
        skip("a process killed behind an instruction", "a child cannot be traced here");
        child.wait().expect("a status");
        return None;
    };
    let mut done = 0;
    while done < steps && stepped.step() == Step::Done {
        done += 1;
    }
    child.kill().expect("it is there");
    assert_eq!(child.wait().expect("a status").signal(), Some(9));
    Some(Left { ours, theirs, memory, steps: done })
}

/// Each call with each way to go on, killed at some places or at all.
fn each_place(calls: &[Call], early: &[u8], is_long: bool, check: fn(&Call, GoesOn, &File, Left)) {
    on_one_processor();
    let file = file_with(b"of the dead");
    for call in calls {
        for goes_on in [GoesOn::WithBytes, GoesOn::WithDescriptors] {
            let Some(left) = kill_behind(call, &file, usize::MAX, early) else { return };
            let all = left.steps;
            check(call, goes_on, &file, left);
            let mut random = fastrand::Rng::with_seed(all as u64);
            let some = (0..KILLS).map(|_| random.usize(0..all));
            let places: Vec<usize> = if is_long { (0..all).collect() } else { some.collect() };
            for steps in places {
                let Some(left) = kill_behind(call, &file, steps, early) else { return };
                check(call, goes_on, &file, left);
            }
        }
    }
}

/// On one processor, where a step is a change of process and no more.
fn on_one_processor() {
    let mut one = rustix::thread::CpuSet::new();
    one.set(rustix::thread::sched_getcpu());
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

fn some_writers() {
    each_place(WRITES, b"", false, check_writer);
}

fn all_writers() {
    each_place(WRITES, b"", true, check_writer);
}

fn some_readers() {
    each_place(READS, EARLY, false, check_reader);
}

fn all_readers() {
    each_place(READS, EARLY, true, check_reader);
}

fn check_writer((name, _): &Call, goes_on: GoesOn, others: &File, left: Left) {
    let Left { ours, theirs, memory, steps } = left;
    let what = format!("{name}, killed behind {steps}, {goes_on:?}");
    let published = memory.control(Owner::Second).written.tail.load(Acquire) as usize;
    let own = file_with(b"own");
    ours.set_nonblocking(true).expect("a flag");
    theirs.set_nonblocking(true).expect("a flag");
    let mut got = Vec::new();
    let mut came: Vec<(usize, OwnedFd)> = Vec::new();
    if published == CAPACITY {
        // There is room again, and somebody who reads meanwhile.
        receive(&ours, &mut got, &mut came, &what);
    }
    let mut wrote = Vec::new();
    if goes_on == GoesOn::WithBytes {
        assert_eq!({ &theirs }.write(PLAIN).expect("room"), PLAIN.len(), "{what}");
        wrote.extend_from_slice(PLAIN);
    }
    receive(&ours, &mut got, &mut came, &what);
    let at = published + wrote.len();
    let sent = theirs.send_fds(WITH, &[own.as_fd()]);
    assert_eq!(sent.expect("room"), WITH.len(), "{what}");
    wrote.extend_from_slice(WITH);
    receive(&ours, &mut got, &mut came, &what);
    drop(theirs);
    assert_eq!(got.len(), published + wrote.len(), "{what}");
    assert!(got[..published].iter().all(|&byte| byte == 0xAA), "{what}");
    assert_eq!(got[published..], wrote, "{what}");
    // The own one comes at its own byte, and those of the dead at theirs if these were published.
    let (others_came, own_came): (Vec<_>, Vec<_>) =
        came.iter().partition(|(place, _)| *place < published);
    assert!(others_came.iter().all(|(_, fd)| identity(fd) == identity(others)), "{what}");
    let batches = if name.starts_with("send_fds") { published / SENT.len() } else { 0 };
    assert_eq!(others_came.len(), 2 * batches, "{what}: descriptors of the dead");
    assert_eq!(own_came.len(), 1, "{what}: own descriptors");
    assert_eq!(own_came[0].0, at, "{what}: with another byte");
    assert_eq!(identity(&own_came[0].1), identity(&own), "{what}: another file");
    assert_eq!({ &ours }.read(&mut [0; 8]).expect("the end"), 0, "{what}");
}

/// Receives all there is, and at which byte each descriptor came.
fn receive(ours: &Stream, got: &mut Vec<u8>, came: &mut Vec<(usize, OwnedFd)>, what: &str) {
    let mut buffer = [0; CAPACITY];
    loop {
        match ours.recv_fds(&mut buffer) {
            Ok((len, fds)) => {
                assert!(len > 0, "{what}: the end");
                came.extend(fds.into_iter().map(|fd| (got.len(), fd)));
                got.extend_from_slice(&buffer[..len]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => {
                assert!(orphaned(&error).is_some_and(|count| count <= 2), "{what}: {error:?}")
            }
        }
    }
}

/// What is there for a reader: bytes, with two descriptors on the first of them.
const EARLY: &[u8] = &[0xEE; 100];

fn check_reader((name, _): &Call, goes_on: GoesOn, others: &File, left: Left) {
    let Left { ours, theirs, memory, steps } = left;
    let what = format!("{name}, killed behind {steps}, {goes_on:?}");
    let read = memory.control(Owner::Second).read.head.load(Acquire) as usize;
    theirs.set_nonblocking(true).expect("a flag");
    let (mut bytes, mut fds, mut lost) = (0, Vec::new(), 0);
    let mut buffer = [0; CAPACITY];
    loop {
        match theirs.recv_fds(&mut buffer) {
            Ok((len, more)) => {
                assert!(more.is_empty() || bytes == 0, "{what}: with other bytes");
                bytes += len;
                fds.extend(more);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => {
                let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<FdError>());
                assert!(
                    matches!(inside, Some(FdError::Lost { arrived: 0, .. })),
                    "{what}: {error:?}"
                );
                assert_eq!(bytes, 0, "{what}: told too late");
                lost += 1;
            }
        }
    }
    assert_eq!(bytes, EARLY.len() - read, "{what}: bytes");
    assert!(fds.iter().all(|fd| identity(fd) == identity(others)), "{what}");
    // They come to whoever reads the first byte, or are said to be lost.
    let due = usize::from(read == 0);
    assert_eq!(fds.len() / 2 + lost, due, "{what}: {} came, {lost} told of", fds.len());
    // All goes on as if nothing had been.
    let own = file_with(b"own");
    match goes_on {
        GoesOn::WithBytes => drop({ &ours }.write(PLAIN).expect("room")),
        GoesOn::WithDescriptors => drop(ours.send_fds(WITH, &[own.as_fd()]).expect("room")),
    }
    let (len, fds) = theirs.recv_fds(&mut buffer).expect("it was sent");
    assert!([PLAIN, WITH].contains(&&buffer[..len]), "{what}");
    assert_eq!(fds.len(), usize::from(goes_on == GoesOn::WithDescriptors), "{what}");
    assert!(fds.iter().all(|fd| identity(fd) == identity(&own)), "{what}: another file");
}

// --- killed in front of the doorbell ---

/// Within which somebody is woken.
const SOON: Duration = Duration::from_secs(1);

/// How an end goes on that does not wait, unless it says so.
type Going = (&'static str, fn(&Stream));

const WRITES_ON: Going = ("it writes", |stream| drop({ stream }.write(b"more")));

const READS_ON: Going = ("it reads", |stream| drop({ stream }.read(&mut [0; 8])));

const SLEEPS: Going = ("it sleeps", |stream| {
    stream.set_nonblocking(false).expect("a flag");
    stream.set_read_timeout(Some(Duration::from_millis(40))).expect("not zero");
    drop({ stream }.read(&mut [0; 8]));
});

/// A pair that does not wait. What was published by a copy of the second end, which was killed in front of the doorbell, a
/// test puts into the memory.
fn pair() -> (Stream, Stream, Mapping) {
    let make = || Builder::new().engine(Engine::Ring).capacity(CAPACITY).pair().expect("a pair");
    let ((ours, theirs), memory) = Mapping::of(make);
    ours.set_nonblocking(true).expect("a flag");
    theirs.set_nonblocking(true).expect("a flag");
    (ours, theirs, memory)
}

fn would_block<T: std::fmt::Debug>(done: std::io::Result<T>) {
    assert_eq!(done.expect_err("it has to wait").kind(), ErrorKind::WouldBlock);
}

/// Goes on with the second end, and sees that the first one is told, which was not before.
fn is_told_when(ours: &Stream, theirs: &Stream, (name, go_on): Going) {
    assert!(!readable_within(ours.as_fd(), Duration::ZERO), "somebody told");
    go_on(theirs);
    assert!(readable_within(ours.as_fd(), SOON + MARGIN), "{name}: nobody told");
}

fn left_asleep() {
    for going in [WRITES_ON, READS_ON, SLEEPS] {
        let (ours, theirs, memory) = pair();
        would_block({ &ours }.read(&mut [0; 8]));
        memory.ring(Owner::Second)[0].store(u64::from_ne_bytes(*b"untold!!"), Release);
        memory.control(Owner::Second).written.tail.store(8, Release);
        is_told_when(&ours, &theirs, going);
        let mut heard = [0; 8];
        { &ours }.read_exact(&mut heard).expect("there");
        assert_eq!(&heard, b"untold!!", "{}", going.0);
    }
}

fn left_without_room() {
    for going in [READS_ON, SLEEPS] {
        let (ours, theirs, memory) = pair();
        assert_eq!({ &ours }.write(&[7; CAPACITY]).expect("room"), CAPACITY);
        would_block({ &ours }.write(b"x"));
        memory.control(Owner::Second).read.head.store(CAPACITY as u64, Release);
        is_told_when(&ours, &theirs, going);
        assert_eq!({ &ours }.write(b"x").expect("room"), 1, "{}", going.0);
    }
}

fn untold_end() {
    for going in [WRITES_ON, READS_ON, SLEEPS] {
        let (ours, theirs, memory) = pair();
        would_block({ &ours }.read(&mut [0; 8]));
        memory.control(Owner::Second).over.ended.store(2, Release);
        is_told_when(&ours, &theirs, going);
        assert_eq!({ &ours }.read(&mut [0; 8]).expect("the end"), 0, "{}", going.0);
    }
    for going in [READS_ON, SLEEPS] {
        let (ours, theirs, memory) = pair();
        assert_eq!({ &ours }.write(&[7; CAPACITY]).expect("room"), CAPACITY);
        would_block({ &ours }.write(b"x"));
        // It has read all, and will read no more.
        memory.control(Owner::Second).read.head.store(CAPACITY as u64, Release);
        memory.control(Owner::Second).over.ended.store(1, Release);
        is_told_when(&ours, &theirs, going);
        let error = { &ours }.write(b"x").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{}", going.0);
    }
    // Whoever ends a half tells of it once, and it is not told of again.
    let (ours, theirs, _memory) = pair();
    would_block({ &ours }.read(&mut [0; 8]));
    theirs.shutdown(Shutdown::Write).expect("once");
    for _ in 0..100 {
        WRITES_ON.1(&theirs);
        READS_ON.1(&theirs);
    }
    let bells = rustix::io::ioctl_fionread(&ours).expect("a socket") / 16;
    assert!(bells <= 2, "{bells} doorbells");
}
