//! What is done to the memory while the victim works in place, and calls that others of its threads make meanwhile.
//!
//! Whatever the words say by then: nobody panics, a call answers in time with bytes or an error that is documented, and the
//! ring takes and gives no more than it holds.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use fastrand::Rng;
use streampipe::os::linux::EndExt;
use streampipe::{Builder, Engine, FdError, Stream};
use streampipe_sys::region::{Control, Owner};

use super::poisoned;
use crate::mapping::Mapping;
use crate::support::threads;

pub(crate) const TESTS: &[crate::Test] = &[
    ("bytes_that_are_lent_are_given_back_as_they_were_counted", the_case_of_a_reader),
    ("room_that_is_lent_is_committed_as_it_was_counted", the_case_of_a_writer),
    ("no_word_that_changes_while_bytes_are_lent_breaks_the_accounting", readers),
    ("no_word_that_changes_while_room_is_lent_breaks_the_accounting", writers),
];

/// Small, and the one that a pair has unless it is told otherwise.
const CAPACITIES: [usize; 2] = [4096, 256 << 10];

/// How many random changes are tried with each capacity.
const ROUNDS: u64 = 300;

/// A ring, its memory, and the peer, which is honest so far.
struct Scene {
    victim: Stream,
    peer: Stream,
    memory: Mapping,
}

fn scene(capacity: usize) -> Scene {
    let make = || Builder::new().engine(Engine::Ring).capacity(capacity).pair().expect("a pair");
    let ((peer, victim), memory) = Mapping::of(make);
    Scene { victim, peer, memory }
}

/// Every word that counts something.
fn counts(control: &Control) -> [&AtomicU64; 9] {
    [
        &control.written.tail,
        &control.written.batches,
        &control.written.notes,
        &control.read.head,
        &control.read.taken,
        &control.read.handed,
        &control.read.listener,
        &control.over.closings,
        &control.marks.0[0],
    ]
}

/// Changes one to three of these words, of either end.
fn change(memory: &Mapping, capacity: usize, random: &mut Rng) {
    for _ in 0..random.u8(1..4) {
        let owner = if random.bool() { Owner::First } else { Owner::Second };
        let words = counts(memory.control(owner));
        let word = words[random.usize(0..words.len())];
        let now = word.load(SeqCst);
        let (some, capacity) = (random.u64(1..=capacity as u64), capacity as u64);
        let values = [
            0,
            1,
            now.wrapping_sub(1),
            now.wrapping_add(1),
            now.wrapping_sub(some),
            now.wrapping_add(some),
            now.wrapping_sub(capacity),
            now.wrapping_add(capacity),
            now.wrapping_add(1 << 62),
            u64::MAX,
        ];
        word.store(values[random.usize(0..values.len())], SeqCst);
    }
}

/// What other threads call meanwhile, none of which waits, while the memory goes on changing.
fn call_from_threads(victim: &Stream, memory: &Mapping, capacity: usize, random: &mut Rng) {
    let calls: [fn(&Stream) -> std::io::Result<usize>; 6] = [
        |it| { it }.read(&mut [0; 8]),
        |it| { it }.write(&[7; 8]),
        |it| it.recv_fds(&mut [0; 8]).map(|(len, _)| len),
        |it| it.bytes_queued().map(|len| len as usize),
        |it| it.reserve(8).and_then(|room| room.commit(8).map(|()| 8)),
        |it| it.readable().map(|there| there.len()),
    ];
    let handle = victim.try_clone().expect("a handle");
    handle.set_nonblocking(true).expect("a flag");
    std::thread::scope(|scope| {
        for call in calls {
            let handle = &handle;
            scope.spawn(move || {
                for _ in 0..4 {
                    match call(handle) {
                        Ok(len) => assert!(len <= capacity, "{len} bytes of {capacity}"),
                        Err(error) => assert!(is_documented(&error), "{error:?}"),
                    }
                }
            });
        }
        for _ in 0..8 {
            change(memory, capacity, random);
        }
    });
    while threads() > 1 {
        std::thread::yield_now();
    }
}

fn is_documented(error: &std::io::Error) -> bool {
    let kinds = [
        ErrorKind::WouldBlock,
        ErrorKind::ResourceBusy,
        ErrorKind::Deadlock,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
    ];
    let is_fds = error.get_ref().is_some_and(|it| it.is::<FdError>());
    kinds.contains(&error.kind()) || is_fds || poisoned(error).is_some() || was_elsewhere(error)
}

/// Whether it says that another process was there: what the words say.
fn was_elsewhere(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::Other && error.to_string().contains("another process wrote")
}

/// Whatever the words say by now, they say it once: what is left of the ring, and what they may add to that.
const MOST_RINGS: usize = 2;

/// Reads without waiting until there is nothing, and says how much there was.
fn read_all(victim: &Stream, capacity: usize) -> usize {
    victim.set_nonblocking(true).expect("a flag");
    let (mut total, mut buffer) = (0, vec![0; 64 << 10]);
    for _ in 0..1000 {
        match victim.recv_fds(&mut buffer) {
            Ok((0, _)) => return total,
            Ok((len, _)) => total += len,
            // After these the bytes are there.
            Err(error) if error.get_ref().is_some_and(|it| it.is::<FdError>()) => {}
            Err(error) => {
                assert!(is_documented(&error), "{error:?}");
                return total;
            }
        }
        assert!(total <= MOST_RINGS * capacity, "{total} bytes from a ring of {capacity}");
    }
    panic!("there is no end");
}

/// Writes without waiting until there is no room, and says how much there was.
fn write_all(victim: &Stream, capacity: usize) -> usize {
    victim.set_nonblocking(true).expect("a flag");
    let (mut total, bytes) = (0, vec![3; 64 << 10]);
    for _ in 0..1000 {
        match { victim }.write(&bytes) {
            Ok(len) => total += len,
            Err(error) => {
                assert!(is_documented(&error), "{error:?}");
                return total;
            }
        }
        assert!(total <= MOST_RINGS * capacity, "{total} bytes taken by a ring of {capacity}");
    }
    panic!("it takes anything");
}

fn the_case_of_a_reader() {
    for capacity in CAPACITIES {
        for from_threads in [false, true] {
            let Scene { victim, mut peer, memory } = scene(capacity);
            peer.write_all(&[7; 100]).expect("room");
            let mut there = victim.readable().expect("something");
            assert_eq!(there.len(), 100);
            let (first, second) = (memory.control(Owner::First), memory.control(Owner::Second));
            first.written.tail.store(50, SeqCst);
            first.written.batches.store(1, SeqCst);
            second.read.taken.store(1, SeqCst);
            let queued = victim.bytes_queued().expect_err("fewer than there were");
            assert!(poisoned(&queued).is_some(), "{queued:?}");
            if from_threads {
                call_from_threads(&victim, &memory, capacity, &mut Rng::with_seed(1));
            }
            there.read_exact(&mut [0; 100]).expect("they were there");
            drop(there);
            drop(peer);
            assert_eq!(read_all(&victim, capacity), 0, "nothing is believed any more");
        }
    }
}

fn the_case_of_a_writer() {
    for capacity in CAPACITIES {
        let Scene { mut victim, mut peer, memory } = scene(capacity);
        victim.write_all(&vec![1; capacity]).expect("room");
        peer.read_exact(&mut vec![0; capacity]).expect("there");
        let mut room = victim.reserve(capacity).expect("room");
        room.write_at(0, &vec![2; capacity]);
        let (first, second) = (memory.control(Owner::First), memory.control(Owner::Second));
        first.read.head.fetch_sub(capacity as u64, SeqCst);
        second.written.tail.fetch_sub(1, SeqCst);
        let error = room.commit(capacity).expect_err("the words say that somebody was there");
        assert!(was_elsewhere(&error), "{error:?}");
        assert_eq!(write_all(&victim, capacity), 0, "nothing is believed any more");
    }
    // The control: nothing changed, and it is committed.
    let Scene { victim, mut peer, .. } = scene(4096);
    victim.reserve(4096).expect("room").commit(4096).expect("somebody reads");
    assert_eq!(write_all(&victim, 4096), 0, "it is full");
    peer.read_exact(&mut [0; 4096]).expect("there");
    assert_eq!(write_all(&victim, 4096), 4096);
}

fn readers() {
    for capacity in CAPACITIES {
        for round in 0..ROUNDS {
            let mut random = Rng::with_seed(round);
            let Scene { victim, mut peer, memory } = scene(capacity);
            let file = std::fs::File::open("/dev/null").expect("a descriptor");
            let written = random.usize(1..=capacity);
            peer.write_all(&vec![7; written]).expect("room");
            if written < capacity && random.bool() {
                peer.send_fds(b"x", &[file.as_fd()]).expect("room");
            }
            let mut there = victim.readable().expect("something");
            change(&memory, capacity, &mut random);
            if round % 4 == 0 {
                call_from_threads(&victim, &memory, capacity, &mut random);
            }
            let mut buffer = vec![0; random.usize(0..=there.len())];
            there.read_exact(&mut buffer).expect("they were there");
            change(&memory, capacity, &mut random);
            drop(there);
            drop(peer);
            read_all(&victim, capacity);
        }
    }
}

fn writers() {
    for capacity in CAPACITIES {
        for round in 0..ROUNDS {
            let mut random = Rng::with_seed(round);
            let Scene { mut victim, mut peer, memory } = scene(capacity);
            let before = random.usize(0..=capacity);
            victim.write_all(&vec![1; before]).expect("room");
            let read = random.usize(0..=before);
            peer.read_exact(&mut vec![0; read]).expect("there");
            let free = capacity - before + read;
            let mut room = victim.reserve(random.usize(0..=free)).expect("room");
            change(&memory, capacity, &mut random);
            if round % 4 == 0 {
                call_from_threads(&victim, &memory, capacity, &mut random);
            }
            let len = room.len();
            room.write_at(0, &vec![2; len]);
            change(&memory, capacity, &mut random);
            if let Err(error) = room.commit(random.usize(0..=len)) {
                assert!(is_documented(&error), "{error:?}");
            }
            write_all(&victim, capacity);
        }
    }
}
