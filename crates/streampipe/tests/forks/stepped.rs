//! A peer of a ring that is killed behind each instruction of each call.
//!
//! All instructions, not some of them: `cargo test --release -p streampipe --test forks behind_every -- --ignored`, more
//! than ten minutes.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering::Acquire;
use std::time::Instant;

use rustix::process::getpid;
use streampipe::{Builder, Engine, Stream};
use streampipe_sys::region::Owner;

use crate::child::forked;
use crate::hostile::{CAPACITY, MARGIN, die_with};
use crate::mapping::Mapping;
use crate::stepping::{Step, Stepped, be_stepped, stop};
use crate::support::{file_with, identity, skip};

pub(crate) const TESTS: &[crate::Test] =
    &[("a_peer_that_is_killed_behind_some_instruction_leaves_what_it_published", some)];

pub(crate) const LONG: &[crate::Test] =
    &[("a_peer_that_is_killed_behind_every_instruction_leaves_what_it_published", every)];

/// How many kills for each call, of a change.
const KILLS: usize = 4;

/// What was in the ring before, for the peer to read: bytes, with two descriptors on the first of them.
const EARLY: &[u8] = &[0xEE; 100];

/// A call of the peer's, by name.
type Call = (&'static str, fn(&mut Option<Stream>, &File));

const CALLS: &[Call] = &[
    ("write", |stream, _| drop(peer(stream).write(&SENT))),
    ("write more than there is room for", |stream, _| {
        let stream = peer(stream);
        stream.set_nonblocking(true).expect("a flag");
        drop(stream.write(MUCH.as_flattened()));
    }),
    ("send_fds", |stream, file| {
        drop(peer(stream).send_fds(&SENT, &[file.as_fd(), file.as_fd()]));
    }),
    ("reserve and commit", |stream, _| {
        let mut room = peer(stream).reserve(300).expect("room");
        room.write_at(0, &SENT);
        room.commit(300).expect("somebody reads");
    }),
    ("recv_fds", |stream, _| drop(peer(stream).recv_fds(&mut [0; 60]))),
    ("recv_fds and read", |stream, _| {
        drop(peer(stream).recv_fds(&mut [0; 60]));
        drop(peer(stream).read(&mut [0; 60]));
    }),
    ("read in place", |stream, _| {
        drop(peer(stream).recv_fds(&mut [0; 1]));
        let mut there = peer(stream).readable().expect("bytes");
        there.skip(7);
        drop(there.read(&mut [0; 20]));
        there.release();
    }),
    ("a read that finds nothing", |stream, _| {
        drop(peer(stream).recv_fds(&mut [0; 200]));
        peer(stream).set_nonblocking(true).expect("a flag");
        drop(peer(stream).read(&mut [0; 60]));
    }),
    ("write and end", |stream, _| {
        drop(peer(stream).write(&SENT));
        drop(peer(stream).shutdown(Shutdown::Write));
    }),
    ("write and drop", |stream, _| {
        drop(peer(stream).write(&SENT));
        drop(stream.take());
    }),
];

fn peer(stream: &mut Option<Stream>) -> &mut Stream {
    stream.as_mut().expect("it was not dropped")
}

/// What the peer sends; made before, for the sake of the instructions.
static SENT: [u8; 300] = {
    let mut bytes = [0; 300];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};

/// Several times that.
static MUCH: [[u8; 300]; 20] = [SENT; 20];

/// On one processor, where a step is a change of process and no more.
fn on_one_processor() {
    let mut one = rustix::thread::CpuSet::new();
    one.set(rustix::thread::sched_getcpu());
    // Where that is not allowed, it takes longer.
    let _ = rustix::thread::sched_setaffinity(None, &one);
}

fn some() {
    on_one_processor();
    for call in CALLS {
        // The first time to the end, which says how many instructions there are.
        let Some(all) = kill_behind(call, usize::MAX) else { return };
        let mut random = fastrand::Rng::with_seed(all as u64);
        for _ in 0..KILLS {
            kill_behind(call, random.usize(0..all));
        }
    }
}

fn every() {
    on_one_processor();
    for call in CALLS {
        let Some(all) = kill_behind(call, usize::MAX) else { return };
        for steps in 0..all {
            kill_behind(call, steps);
        }
    }
}

/// Kills the peer behind so many instructions of a call, or behind the last; how many there were. `None` if that cannot be
/// done here.
fn kill_behind((name, call): &Call, steps: usize) -> Option<usize> {
    let file = file_with(b"x");
    let make = || Builder::new().engine(Engine::Ring).capacity(CAPACITY).pair().expect("a pair");
    let ((ours, theirs), memory) = Mapping::of(make);
    ours.send_fds(EARLY, &[file.as_fd(), file.as_fd()]).expect("room");
    let (parent, mut both) = (getpid(), Some((ours, theirs)));
    let (stream, mut child) = forked(|stream| {
        drop(stream);
        let (ours, theirs) = both.take().expect("taken once in the child");
        drop(ours);
        die_with(parent);
        // What the process knows from here on is as it will be.
        let mut theirs = Some(theirs);
        if be_stepped().is_err() {
            return 1;
        }
        call(&mut theirs, &file);
        stop();
        0
    });
    drop(stream);
    let (ours, theirs) = both.take().expect("taken once in the parent");
    drop(OwnedFd::from(theirs));
    let Some(stepped) = Stepped::wait_for(child.id()) else {
        skip("a peer killed behind an instruction", "a child cannot be traced here");
        child.wait().expect("a status");
        return None;
    };
    let mut done = 0;
    while done < steps && stepped.step() == Step::Done {
        done += 1;
    }
    child.kill().expect("it is there");
    assert_eq!(child.wait().expect("a status").signal(), Some(9));
    let what = format!("{name}, killed behind instruction {done}");
    survive(&ours, &memory, &file, &what);
    Some(done)
}

/// Reads what was published, and is told of the death.
fn survive(ours: &Stream, memory: &Mapping, file: &File, what: &str) {
    let start = Instant::now();
    let (own, victims) = (memory.control(Owner::Second), memory.control(Owner::First));
    let published = own.written.tail.load(Acquire) as usize;
    let is_all_read = own.read.head.load(Acquire) == victims.written.tail.load(Acquire);
    let has_fds = what.starts_with("send_fds") && published > 0;
    let (mut bytes, mut fds, mut resets) = (Vec::new(), Vec::new(), 0);
    let mut buffer = [0; CAPACITY];
    loop {
        match ours.recv_fds(&mut buffer) {
            Ok((0, more)) => break assert!(more.is_empty(), "{what}"),
            Ok((len, more)) => {
                bytes.extend_from_slice(&buffer[..len]);
                fds.extend(more);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}: {error:?}");
                resets += 1;
            }
        }
    }
    assert_eq!(bytes.len(), published, "{what}: not what was published");
    assert!(bytes.iter().eq(SENT.iter().cycle().take(bytes.len())), "{what}: other bytes");
    assert_eq!(fds.len(), if has_fds { 2 } else { 0 }, "{what}: descriptors");
    assert!(fds.iter().all(|fd| identity(fd) == identity(file)), "{what}: another file");
    assert_eq!(resets, u32::from(!is_all_read), "{what}: resets");
    let error = { ours }.write_all(b"anybody?").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}");
    assert!(start.elapsed() < MARGIN, "{what}: {:?}", start.elapsed());
}
