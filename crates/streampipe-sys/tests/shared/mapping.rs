//! The memory of a ring, all of it, as a peer has it that keeps to no rule: for tests of other crates, too, which have no
//! `unsafe`.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use streampipe_sys::region::{Control, Owner};

const PAGE: usize = size_of::<Control>();

/// A mapping of its own of the same memory: it is there when the ring that it is of is not any more.
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

/// Where rings are mapped in this process: address and length, the lowest address first.
pub(crate) fn places() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let rings = maps.lines().filter(|line| line.contains("memfd:streampipe-ring"));
    let places = rings.map(|line| {
        let (start, rest) = line.split_once('-').expect("a range");
        let (end, _) = rest.split_once(' ').expect("a range");
        let [start, end] = [start, end].map(|it| usize::from_str_radix(it, 16).expect("a number"));
        (start, end - start)
    });
    places.collect()
}

impl Mapping {
    /// Of the one ring that `make` maps in this process, which nothing else does meanwhile.
    pub(crate) fn of<T>(make: impl FnOnce() -> T) -> (T, Self) {
        let before = places();
        let made = make();
        let new: Vec<_> = places().into_iter().filter(|place| !before.contains(place)).collect();
        // Neighbours are shown as one where they are of one file, which two rings never are.
        let [(start, len)] = new[..] else { panic!("{} new mappings", new.len()) };
        let flags = libc::MREMAP_MAYMOVE;
        // SAFETY: with an old length of 0, a second mapping of the same shared memory, where the kernel likes.
        let base = unsafe { libc::mremap(start as *mut c_void, 0, len, flags) };
        assert!(base != libc::MAP_FAILED, "mremap: {}", io::Error::last_os_error());
        let base = NonNull::new(base).expect("the kernel maps nothing at 0");
        (made, Self { base, len })
    }

    /// How many bytes each ring has.
    pub(crate) fn capacity(&self) -> usize {
        self.len / 2 - PAGE
    }

    /// All of it: both control pages and both rings, the first end's first.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let start = self.base.cast::<AtomicU64>().as_ptr();
        // SAFETY: a mapping of this length that lives as long as `self`, and everybody's accesses to it are atomic ones,
        // or copies that are made to race.
        unsafe { std::slice::from_raw_parts(start, self.len / 8) }
    }

    /// The words of one end.
    pub(crate) fn control(&self, owner: Owner) -> &Control {
        let part = &self.part(owner)[..PAGE / 8];
        // SAFETY: a page of the mapping, and of atomics, for which any bits are values.
        unsafe { &*part.as_ptr().cast::<Control>() }
    }

    /// The bytes that one end writes, eight at a time.
    pub(crate) fn ring(&self, owner: Owner) -> &[AtomicU64] {
        &self.part(owner)[PAGE / 8..]
    }

    fn part(&self, owner: Owner) -> &[AtomicU64] {
        let (first, second) = self.words().split_at(self.len / 16);
        if owner == Owner::First { first } else { second }
    }

    /// Takes the pages away, for everybody: who touches them finds new ones, with zeros (`MADV_REMOVE`).
    pub(crate) fn remove(&self, from: usize, len: usize) -> io::Result<()> {
        assert!(from + len <= self.len, "beyond the mapping");
        let start = self.base.as_ptr().wrapping_byte_add(from);
        // SAFETY: pages of the mapping, of whose contents nobody concludes anything.
        match unsafe { libc::madvise(start, len, libc::MADV_REMOVE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and all that was borrowed from it was borrowed from `self`.
        unsafe { libc::munmap(self.base.as_ptr(), self.len) };
    }
}

/// Moves everybody who sleeps on one word to another one; how many there were.
pub(crate) fn move_sleepers(from: &AtomicU64, to: &AtomicU64) -> usize {
    let [from, to] = [from, to].map(|word| std::ptr::from_ref(word).cast::<AtomicU32>());
    // The call's own names: wake nobody, move everybody.
    let (wake, most) = (0, i32::MAX as usize);
    // SAFETY: two words that are borrowed; the kernel only looks who sleeps at their addresses.
    let moved =
        unsafe { libc::syscall(libc::SYS_futex, from, libc::FUTEX_REQUEUE, wake, most, to) };
    usize::try_from(moved).expect("a number of sleepers")
}
