use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use rustix::process::Resource;

use super::copy::{copy_in, copy_out};
use super::{Control, Trusted, Unfit};
use crate::fd::lift;
use crate::table::limits;

/// `SPring`, and version 2.
const MAGIC: u64 = u64::from_le_bytes(*b"SPring\x02\0");

const CONTROL: usize = size_of::<Control>();

/// The seals that keep the memory as large as it is: without them, whoever reads can be killed by `SIGBUS`.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Whose part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The end that made the region, or the first of a pair.
    First,
    /// The other end.
    Second,
}

impl Owner {
    /// The other one.
    #[inline]
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Two rings in memory that is shared with whoever has the memory file, or was forked since.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    /// Of each ring; a power of two, at least a page.
    capacity: usize,
}

// SAFETY: the pointer is that of a mapping, which any thread may use; words are atomics, and bytes are only reached by
// copies that may race.
unsafe impl Send for Region {}

// SAFETY: the pointer never changes, and what is behind it is made for use by several at once.
unsafe impl Sync for Region {}

impl Region {
    /// Makes one with rings of this capacity; also the memory file, sealed: nobody can change its size.
    ///
    /// The file has no name. What nobody touches takes no memory, but for two pages.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, `ftruncate(2)`, `fcntl(2)` and `mmap(2)`; `EFBIG` if this process may not have files of
    /// that size (`RLIMIT_FSIZE`). `InvalidInput` for a capacity that is no power of two of at least 4,096.
    pub fn create(capacity: usize) -> io::Result<(Self, OwnedFd)> {
        let len = Self::len_for(capacity).ok_or(io::ErrorKind::InvalidInput)?;
        check_size_limit(len as u64)?;
        let file = memory_file()?;
        rustix::fs::ftruncate(&file, len as u64)?;
        rustix::fs::fcntl_add_seals(&file, SEALS)?;
        let region = Self::map(file.as_fd(), capacity, len)?;
        for owner in [Owner::First, Owner::Second] {
            let superblock = &region.control(owner).superblock;
            superblock.capacity.store(capacity as u64, Relaxed);
            superblock.magic.store(MAGIC, Relaxed);
        }
        Ok((region, file))
    }

    /// Maps memory that a peer sent, if it is what [`create`](Self::create) makes.
    ///
    /// In this order: that it is a memory file of ordinary pages (of huge ones, a page can be missing: `SIGBUS`), that its
    /// size is sealed, that the size is exactly that of two rings of this capacity. What is mapped is that much.
    ///
    /// # Errors
    ///
    /// `Ok(Err(_))` says what is wrong with it; the outer error is one of `mmap(2)`.
    pub fn adopt(file: BorrowedFd<'_>, capacity: usize) -> io::Result<Result<Self, Unfit>> {
        let Some(needed) = Self::len_for(capacity) else { return Ok(Err(Unfit::Layout)) };
        // A file that is served by somebody has no seals, and is asked nothing else.
        let Ok(seals) = rustix::fs::fcntl_get_seals(file) else { return Ok(Err(Unfit::Kind)) };
        if rustix::fs::fstatfs(file)?.f_type != libc::TMPFS_MAGIC as _ {
            return Ok(Err(Unfit::Kind));
        }
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Ok(Err(Unfit::Seals { seals: seals.bits() }));
        }
        let found = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        if found != needed as u64 {
            return Ok(Err(Unfit::Size { found, needed: needed as u64 }));
        }
        let region = match Self::map(file, capacity, needed) {
            // A seal that forbids writing, or a descriptor that only reads.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Err(Unfit::Kind));
            }
            mapped => mapped?,
        };
        let is_ours = [Owner::First, Owner::Second].into_iter().all(|owner| {
            let superblock = &region.control(owner).superblock;
            superblock.magic.load(Relaxed) == MAGIC
                && superblock.capacity.load(Relaxed) == capacity as u64
        });
        Ok(if is_ours { Ok(region) } else { Err(Unfit::Layout) })
    }

    fn len_for(capacity: usize) -> Option<usize> {
        let is_possible = capacity.is_power_of_two() && capacity >= CONTROL;
        capacity.checked_add(CONTROL).and_then(|part| part.checked_mul(2)).filter(|_| is_possible)
    }

    fn len(&self) -> usize {
        2 * (CONTROL + self.capacity)
    }

    fn map(file: BorrowedFd<'_>, capacity: usize, len: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping where the kernel likes; the file is sealed, so that all of it stays there.
        let base = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, file, 0) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let region = Self { base, capacity };
        for owner in [Owner::First, Owner::Second] {
            let page = region.part(owner).as_ptr().cast();
            // SAFETY: the pages of our own mapping. Linux before 5.14 does not know it: the first use does it then.
            let _ = unsafe { madvise(page, CONTROL, Advice::LinuxPopulateWrite) };
        }
        Ok(region)
    }

    #[inline]
    fn part(&self, owner: Owner) -> NonNull<u8> {
        let at = match owner {
            Owner::First => 0,
            Owner::Second => CONTROL + self.capacity,
        };
        // SAFETY: both parts lie within the mapping.
        unsafe { self.base.add(at) }
    }

    #[inline]
    fn ring(&self, owner: Owner) -> NonNull<u8> {
        // SAFETY: behind the control page, within the mapping.
        unsafe { self.part(owner).add(CONTROL) }
    }

    /// The capacity of each ring, in bytes.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The words that this end writes.
    #[inline]
    #[must_use]
    pub fn control(&self, owner: Owner) -> &Control {
        // SAFETY: a page of the mapping, aligned, and atomics in it, for which any bits are values.
        unsafe { self.part(owner).cast::<Control>().as_ref() }
    }

    /// Copies bytes to a position of this end's outgoing ring.
    ///
    /// # Panics
    ///
    /// If there are more than the capacity.
    #[inline]
    pub fn write(&self, owner: Owner, position: u64, bytes: &[u8]) {
        let (at, first) = self.place(position, bytes.len());
        let (one, two) = bytes.split_at(first);
        // SAFETY: `place` keeps the first piece between `at` and the end of the ring.
        let to = unsafe { self.ring(owner).add(at) };
        // SAFETY: as above; a caller's slice is no part of the mapping.
        unsafe { copy_in(to.as_ptr(), one.as_ptr(), one.len()) };
        if !two.is_empty() {
            // SAFETY: the second piece starts at the beginning of the ring and is shorter than it.
            unsafe { copy_in(self.ring(owner).as_ptr(), two.as_ptr(), two.len()) };
        }
    }

    /// Copies bytes from a position of this end's outgoing ring.
    ///
    /// # Panics
    ///
    /// If there are more than the capacity.
    #[inline]
    pub fn read(&self, owner: Owner, position: u64, buffer: &mut [u8]) {
        let (at, first) = self.place(position, buffer.len());
        let (one, two) = buffer.split_at_mut(first);
        // SAFETY: `place` keeps the first piece between `at` and the end of the ring.
        let from = unsafe { self.ring(owner).add(at) };
        // SAFETY: as above; a caller's slice is no part of the mapping.
        unsafe { copy_out(one.as_mut_ptr(), from.as_ptr(), one.len()) };
        if !two.is_empty() {
            // SAFETY: the second piece starts at the beginning of the ring and is shorter than it.
            unsafe { copy_out(two.as_mut_ptr(), self.ring(owner).as_ptr(), two.len()) };
        }
    }

    /// Has the processor fetch the line of a position, which is about to be read.
    #[inline]
    pub fn fetch(&self, owner: Owner, position: u64) {
        let (at, _) = self.place(position, 0);
        // SAFETY: `at` is within the ring.
        let line = unsafe { self.ring(owner).add(at) };
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which touches nothing.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                line.as_ptr().cast(),
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }

    /// Has the processor fetch the line of a position for itself alone, to be written soon.
    #[inline]
    pub fn fetch_to_write(&self, owner: Owner, position: u64) {
        let (at, _) = self.place(position, 0);
        // SAFETY: `at` is within the ring.
        let line = unsafe { self.ring(owner).add(at) };
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a hint, which touches nothing; processors that do not know it do nothing.
        unsafe {
            std::arch::asm!(
                "prefetchw [{line}]",
                line = in(reg) line.as_ptr(),
                options(nostack, preserves_flags),
            );
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = line;
    }

    /// Borrows published bytes, in two pieces if they go around the end of the ring.
    ///
    /// # Panics
    ///
    /// If there are more than the capacity.
    #[must_use]
    pub fn slices(&self, owner: Owner, position: u64, len: usize, _trusted: Trusted) -> [&[u8]; 2] {
        let (at, first) = self.place(position, len);
        // SAFETY: `place` keeps the first piece between `at` and the end of the ring.
        let one = unsafe { self.ring(owner).add(at) };
        // SAFETY: within the mapping, and whoever made the `Trusted` answers for it that nobody writes to it.
        let one = unsafe { std::slice::from_raw_parts(one.as_ptr(), first) };
        // SAFETY: from the beginning of the ring, shorter than it; and as above.
        let two = unsafe { std::slice::from_raw_parts(self.ring(owner).as_ptr(), len - first) };
        [one, two]
    }

    /// Where a position is in a ring, and how many of the bytes from there come before the end of it.
    #[inline]
    fn place(&self, position: u64, len: usize) -> (usize, usize) {
        assert!(len <= self.capacity, "more bytes than the ring has");
        let at = position as usize & (self.capacity - 1);
        (at, len.min(self.capacity - at))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of this length, and all that was borrowed from it was borrowed from `self`.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len()) };
    }
}

/// Fails as `ftruncate(2)` does for a file that is larger than this process may have, which besides sends `SIGXFSZ`: that
/// kills a program which has no handler.
fn check_size_limit(len: u64) -> io::Result<()> {
    match limits(Resource::Fsize) {
        Some(limits) if len > limits.soft => Err(io::Error::from_raw_os_error(libc::EFBIG)),
        // As far as is known.
        _ => Ok(()),
    }
}

/// A memory file that nobody can execute, where the kernel knows that (Linux 6.3).
fn memory_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = c"streampipe-ring";
    let made = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags),
        made => made,
    };
    lift(made?)
}
