use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use streampipe::os::linux::EndExt;
use streampipe::{Engine, NotInherited, Stream, pair};
use streampipe_wire::{NOTE_LEN, Note};

use super::{VARIABLE, answer_of, worker};
use crate::support::tests_alone;

const CAPACITY: u64 = 8192;

/// A page of words, and a ring.
const PART: u64 = 4096 + CAPACITY;

const NO_SEALS: SealFlags = SealFlags::empty();
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The memory of a ring, as a parent makes it that does so by hand.
fn memory(seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create(c"by hand", flags).expect("a memory file");
    rustix::fs::ftruncate(&file, 2 * PART).expect("a file");
    for part in [0, PART] {
        rustix::io::pwrite(&file, b"SPring\x02\0", part).expect("a file");
        rustix::io::pwrite(&file, &CAPACITY.to_le_bytes(), part + 8).expect("a file");
    }
    rustix::fs::fcntl_add_seals(&file, seals).expect("nothing is sealed yet");
    file
}

fn note(capacity: u64) -> [u8; NOTE_LEN] {
    Note::Memory { capacity }.to_bytes()
}

/// What a child answers that is led to this end as one of a ring.
fn told(end: &Stream) -> String {
    let value = format!("1:3:ring:{}", end.cookie().expect("a socket"));
    let mut child = worker("adopt a ring");
    answer_of(child.on_stdio().inherit(end.as_fd(), 3).env(VARIABLE, value))
}

/// What a child answers to whom this came first.
fn told_after(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> String {
    let (ours, theirs) = pair().expect("a pair");
    if fds.is_empty() {
        std::io::Write::write_all(&mut &ours, bytes).expect("room");
    } else {
        ours.send_fds(bytes, fds).expect("room");
    }
    told(&theirs)
}

fn adopted() -> String {
    format!("{:?}", Ok::<_, NotInherited>(Engine::Ring))
}

fn refused(reason: &NotInherited) -> String {
    format!("{:?}", Err::<Engine, _>(reason))
}

#[track_caller]
fn is_bad_memory(told: &str, because: &str) {
    assert!(told.starts_with("Err(BadMemory {") && told.contains(because), "{told}");
}

tests_alone! {
    /// The control: what differs below in one thing is taken when nothing differs.
    fn a_ring_of_a_parent_that_does_it_by_hand_is_adopted() {
        let memory = memory(SEALS);
        assert_eq!(told_after(&note(CAPACITY), &[memory.as_fd()]), adopted());
        assert_eq!(answer_of(worker("adopt a ring").engine(Engine::Ring)), adopted());
    }

    fn a_ring_without_memory_is_refused() {
        is_bad_memory(&told_after(&[], &[]), "no memory came");
        let (ours, theirs) = pair().expect("a pair");
        drop(ours);
        is_bad_memory(&told(&theirs), "no memory came");
        is_bad_memory(&told_after(&note(CAPACITY), &[]), "1 descriptors were due, and 0 came");
    }

    fn a_ring_that_begins_with_something_else_is_refused() {
        let memory = memory(SEALS);
        is_bad_memory(&told_after(&Note::Bell.to_bytes(), &[]), "a note out of place");
        is_bad_memory(&told_after(&Note::Hello.to_bytes(), &[]), "a note out of place");
        let fds = Note::Fds { count: 1, at: 0 };
        is_bad_memory(&told_after(&fds.to_bytes(), &[memory.as_fd()]), "a note out of place");
        is_bad_memory(&told_after(b"hello 1\n", &[]), "a note came in pieces");
        is_bad_memory(&told_after(&[0xff; NOTE_LEN], &[memory.as_fd()]), "is no note");
        let two = [memory.as_fd(), memory.as_fd()];
        is_bad_memory(&told_after(&note(CAPACITY), &two), "1 descriptors were due, and 2 came");
    }

    fn a_ring_of_another_capacity_is_refused() {
        let memory = memory(SEALS);
        for (capacity, because) in [
            (CAPACITY * 2, "not 40960"),
            (CAPACITY / 2, "not 16384"),
            (CAPACITY + 1, "laid out in another way"),
            (0, "laid out in another way"),
            (1 << 31, "laid out in another way"),
            (u64::MAX, "laid out in another way"),
        ] {
            is_bad_memory(&told_after(&note(capacity), &[memory.as_fd()]), because);
        }
    }

    fn a_ring_in_memory_that_can_shrink_is_refused() {
        for seals in [NO_SEALS, SealFlags::SHRINK, SealFlags::GROW | SealFlags::SEAL] {
            let memory = memory(seals);
            let told = told_after(&note(CAPACITY), &[memory.as_fd()]);
            is_bad_memory(&told, "its size is not sealed");
        }
        // Not a temporary file, which is in memory, too, on many systems.
        let device = File::open("/dev/zero").expect("it is there");
        is_bad_memory(&told_after(&note(CAPACITY), &[device.as_fd()]), "is no memory file");
    }

    fn a_child_without_a_free_descriptor_is_not_told_that_its_parent_lied() {
        let told = answer_of(worker("adopt a ring without room").engine(Engine::Ring));
        assert_eq!(told, refused(&NotInherited::System { errno: libc::EMFILE }));
    }

    fn a_child_without_memory_is_not_told_that_its_parent_lied() {
        let mut child = worker("adopt a ring without memory");
        let told = answer_of(child.engine(Engine::Ring).capacity(1 << 30));
        assert_eq!(told, refused(&NotInherited::System { errno: libc::ENOMEM }));
    }
}
