//! Memory that a peer sent and that is not what it should be: nothing of it is mapped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, memfd_create};
use streampipe_sys::region::{Owner, Region, Unfit};

use crate::support::{file_with, skip, tests_alone};

const CAPACITY: usize = 8192;
const CONTROL: usize = 4096;
const LEN: u64 = 2 * (CONTROL + CAPACITY) as u64;

/// What `create` seals with.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A copy of what a region is made of, with this length and these seals.
fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create(c"peer", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let file = file.expect("a memory file");
    let (_original, model) = Region::create(CAPACITY).expect("a region");
    for at in [0, (CONTROL + CAPACITY) as u64] {
        let mut superblock = [0; 16];
        rustix::io::pread(&model, &mut superblock, at).expect("a file");
        rustix::io::pwrite(&file, &superblock, at).expect("a file");
    }
    rustix::fs::ftruncate(&file, len).expect("a file");
    rustix::fs::fcntl_add_seals(&file, seals).expect("nothing is sealed yet");
    file
}

/// The mappings of this process that are of a file with this identity.
fn mappings_of(fd: BorrowedFd<'_>) -> usize {
    let inode = rustix::fs::fstat(fd).expect("open").st_ino.to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&inode)).count()
}

/// What is wrong with it; fails if it is mapped, or stays so.
fn unfit(file: &OwnedFd, capacity: usize) -> Unfit {
    let adopted = Region::adopt(file.as_fd(), capacity).expect("no error of the system");
    let unfit = adopted.map(drop).expect_err("it is not fit");
    assert_eq!(mappings_of(file.as_fd()), 0, "{unfit:?}: a part of it stays mapped");
    unfit
}

tests_alone! {
    /// The control: what differs below in one thing is taken when nothing differs.
    fn what_another_process_made_rightly_is_adopted() {
        let file = memory(LEN, SEALS);
        let region = Region::adopt(file.as_fd(), CAPACITY).expect("no error").expect("it is fit");
        assert_eq!(mappings_of(file.as_fd()), 1);
        region.write(Owner::Second, 3, b"bytes");
        let mut bytes = [0; 5];
        region.read(Owner::Second, 3, &mut bytes);
        assert_eq!(&bytes, b"bytes");
        drop(region);
        assert_eq!(mappings_of(file.as_fd()), 0);
    }

    fn memory_that_can_shrink_or_grow_is_refused() {
        let (shrink, grow, seal) = (SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL);
        for seals in [SealFlags::empty(), shrink, grow, seal, shrink | seal, grow | seal] {
            let found = unfit(&memory(LEN, seals), CAPACITY);
            assert_eq!(found, Unfit::Seals { seals: seals.bits() });
        }
        // One that was made to be sealed by nobody has one seal from the start.
        let file = memfd_create(c"peer", MemfdFlags::CLOEXEC).expect("a memory file");
        rustix::fs::ftruncate(&file, LEN).expect("a file");
        let found = unfit(&file, CAPACITY);
        assert_eq!(found, Unfit::Seals { seals: seal.bits() });
        // It can add no more of them, and needs no more than these.
        let file = memory(LEN, shrink | grow);
        Region::adopt(file.as_fd(), CAPACITY).expect("no error").expect("it is fit");
    }

    fn memory_of_another_size_is_refused() {
        let page = 4096;
        for len in [0, 1, page, LEN - page, LEN - 1, LEN + 1, LEN + page, 2 * LEN, 1 << 40] {
            let found = unfit(&memory(len, SEALS), CAPACITY);
            assert_eq!(found, Unfit::Size { found: len, needed: LEN });
        }
        // And one that is right for another capacity.
        let file = memory(LEN, SEALS);
        for capacity in [CAPACITY / 2, CAPACITY * 2, 1 << 30] {
            let needed = 2 * (CONTROL + capacity) as u64;
            assert_eq!(unfit(&file, capacity), Unfit::Size { found: LEN, needed });
        }
    }

    fn a_capacity_that_cannot_be_is_refused() {
        const TOP: usize = usize::MAX / 2 + 1;
        let file = memory(LEN, SEALS);
        for capacity in [0, 1, 2048, 4095, 4097, CAPACITY + 1, usize::MAX, TOP, TOP / 2] {
            let found = unfit(&file, capacity);
            let is_power = capacity.is_power_of_two() && capacity >= 4096;
            match found {
                Unfit::Layout => {}
                Unfit::Size { .. } if is_power => {}
                other => panic!("{capacity}: {other:?}"),
            }
        }
    }

    fn memory_of_huge_pages_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        // Its pages need not exist: nothing is reserved before it is mapped.
        let file = match memfd_create(c"peer", flags) {
            Ok(file) => file,
            Err(error) => return skip("memory of huge pages", &error.to_string()),
        };
        // The size of its pages, which is not everywhere 2 MiB.
        let huge = u64::try_from(rustix::fs::fstat(&file).expect("a file").st_blksize).expect("a size");
        rustix::fs::ftruncate(&file, huge).expect("a file");
        rustix::fs::fcntl_add_seals(&file, SEALS).expect("it takes seals");
        assert_eq!(rustix::fs::fcntl_get_seals(&file).expect("it has seals"), SEALS);
        assert_eq!(unfit(&file, CAPACITY), Unfit::Kind);
        assert_eq!(unfit(&file, (huge as usize / 2).next_power_of_two()), Unfit::Kind);
    }

    fn what_is_no_memory_file_is_refused() {
        let on_disk = file_with(&vec![0; LEN as usize]).into();
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let open = |path: &str| -> OwnedFd {
            std::fs::File::open(path).expect("it is there").into()
        };
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let (zero, directory) = (open("/dev/zero"), open("/"));
        for file in [&reader, &writer, &zero, &directory, &socket.into()] {
            assert_eq!(unfit(file, CAPACITY), Unfit::Kind, "{file:?}");
        }
        // Where temporary files are in memory, too, it is the seals that are missing.
        let found = unfit(&on_disk, CAPACITY);
        assert!(matches!(found, Unfit::Kind | Unfit::Seals { .. }), "{found:?}");
        // Memory that the kernel itself cannot see, where there is such a thing.
        let no_flags = 0;
        // SAFETY: the call takes one number, and makes a descriptor or an error.
        let secret = unsafe { libc::syscall(libc::SYS_memfd_secret, no_flags) };
        if secret < 0 {
            return skip("secret memory", "the kernel has none, or does not allow it");
        }
        // SAFETY: the call has just made the descriptor, and nobody else knows it.
        let secret = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(secret as i32) };
        assert_eq!(unfit(&secret, CAPACITY), Unfit::Kind);
    }

    fn memory_that_cannot_be_written_is_refused() {
        for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
            assert_eq!(unfit(&memory(LEN, SEALS | seal), CAPACITY), Unfit::Kind, "{seal:?}");
        }
        let file = memory(LEN, SEALS);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let read_only = rustix::fs::open(path.as_str(), flags, Mode::empty()).expect("/proc");
        assert_eq!(unfit(&read_only, CAPACITY), Unfit::Kind);
        let path_alone = rustix::fs::open(path.as_str(), OFlags::PATH, Mode::empty());
        assert_eq!(unfit(&path_alone.expect("/proc"), CAPACITY), Unfit::Kind);
    }

    fn memory_that_says_something_else_is_refused() {
        // The magic and the capacity, of each part; a bit of each byte.
        for part in [0, (CONTROL + CAPACITY) as u64] {
            for at in 0..16 {
                let file = memory(LEN, SEALS);
                let mut byte = [0];
                rustix::io::pread(&file, &mut byte, part + at).expect("a file");
                rustix::io::pwrite(&file, &[byte[0] ^ 1], part + at).expect("its size is the same");
                assert_eq!(unfit(&file, CAPACITY), Unfit::Layout, "byte {at} of {part}");
            }
        }
    }

    fn memory_that_was_adopted_stays_as_large_as_it_is() {
        let (_original, made) = Region::create(CAPACITY).expect("a region");
        for file in [memory(LEN, SealFlags::SHRINK | SealFlags::GROW), made] {
            let adopted = Region::adopt(file.as_fd(), CAPACITY).expect("no error");
            let region = adopted.expect("it is fit");
            for len in [0, 4096, LEN - 1, LEN + 1] {
                rustix::fs::ftruncate(&file, len).expect_err("the size is sealed");
            }
            // What can be taken away are bytes: they are zeros then, and nobody is killed.
            region.write(Owner::First, 0, &[0xAA; CAPACITY]);
            region.control(Owner::First).written.tail.store(7, Relaxed);
            let holes = rustix::fs::FallocateFlags::PUNCH_HOLE
                | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, holes, 0, LEN).expect("no seal forbids it");
            let mut bytes = [0xBB; CAPACITY];
            region.read(Owner::First, 0, &mut bytes);
            assert!(bytes.iter().all(|&byte| byte == 0));
            assert_eq!(region.control(Owner::First).written.tail.load(Relaxed), 0);
            region.write(Owner::First, 5, b"and it goes on");
            let mut bytes = [0; 14];
            region.read(Owner::First, 5, &mut bytes);
            assert_eq!(&bytes, b"and it goes on");
        }
    }
}
