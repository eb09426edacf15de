//! What the kernel says about a descriptor that somebody else sent.
//!
//! The sender may be hostile, so the questions keep to these rules:
//!
//! 1. They are about the open descriptor alone: nothing is opened, read, or looked up by a name that
//!    the sender chose.
//! 2. None waits for whoever serves the file: what a FUSE process would have to be asked (`fstat`,
//!    `fstatfs`, any `ioctl`) is not asked of a descriptor that could be its own.
//! 3. An answer that could be imitated is not believed, and a question that a filter refuses has
//!    no for an answer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, MemfdFlags, OFlags, SealFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{WaitId, WaitIdOptions};

/// What an open descriptor lets its holder do with the bytes behind it (`F_GETFL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `O_RDONLY`.
    Read,
    /// `O_WRONLY`.
    Write,
    /// `O_RDWR`.
    ReadWrite,
    /// The fourth access mode, 3: neither, for `ioctl` alone.
    Neither,
    /// `O_PATH`: a place in the file system, not an open file.
    Path,
}

/// What the file behind a descriptor is (`S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// `S_IFREG`: also of memory, and of several file systems of the kernel's own.
    Regular,
    /// `S_IFDIR`.
    Directory,
    /// `S_IFIFO`: a pipe, with or without a name.
    Fifo,
    /// `S_IFSOCK`.
    Socket,
    /// `S_IFCHR`.
    CharDevice,
    /// `S_IFBLK`.
    BlockDevice,
    /// No type at all, which no file of a file system can have: an object of the kernel's.
    Anonymous,
    /// Something else.
    Other,
}

/// The part of `stat` that asks nobody but the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub node: Node,
    /// How many bytes long it was last known to be.
    pub size: u64,
    /// Whether it has a name in a file system.
    pub has_name: bool,
    /// Which device it is on.
    pub device: (u32, u32),
}

/// What keeps the bytes of a file that can have seals (`f_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Memory as any other.
    Ordinary,
    /// Huge pages, which can run out when they are first touched: `SIGBUS`.
    HugePages,
}

/// An object without a file, by the name that the kernel gives its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// `eventfd(2)`.
    EventFd,
    /// `epoll_create(2)`.
    Epoll,
    /// `timerfd_create(2)`.
    Timer,
    /// `signalfd(2)`, `inotify_init(2)`, and all others.
    Other,
}

/// How the descriptor was opened.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn mode(fd: BorrowedFd<'_>) -> io::Result<Mode> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    if flags.contains(OFlags::PATH) {
        return Ok(Mode::Path);
    }
    let access = flags & OFlags::RWMODE;
    Ok(match access {
        _ if access == OFlags::RDONLY => Mode::Read,
        _ if access == OFlags::WRONLY => Mode::Write,
        _ if access == OFlags::RDWR => Mode::ReadWrite,
        _ => Mode::Neither,
    })
}

/// What the file is, its length and whether it has a name, as far as the kernel knows by itself.
///
/// `AT_STATX_DONT_SYNC` keeps a network or FUSE file system from being asked, which `fstat(2)`
/// would wait for. Where there is no `statx(2)`, or a filter forbids it, this is `fstat(2)`.
///
/// # Errors
///
/// Those of `statx(2)`: `EIO` of a file whose file system is gone, `EACCES` of a security module.
pub fn facts(fd: BorrowedFd<'_>) -> io::Result<Facts> {
    let how = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let what = StatxFlags::TYPE | StatxFlags::SIZE | StatxFlags::NLINK;
    match rustix::fs::statx(fd, c"", how, what) {
        Ok(told) => Ok(Facts {
            node: Node::of(told.stx_mode.into()),
            size: told.stx_size,
            has_name: told.stx_nlink > 0,
            device: (told.stx_dev_major, told.stx_dev_minor),
        }),
        // There is no such call, a filter refuses it, or the C library answers for it.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => facts_by_fstat(fd),
        Err(error) => Err(error.into()),
    }
}

fn facts_by_fstat(fd: BorrowedFd<'_>) -> io::Result<Facts> {
    let told = rustix::fs::fstat(fd)?;
    Ok(Facts {
        node: Node::of(told.st_mode),
        size: u64::try_from(told.st_size).unwrap_or(0),
        has_name: told.st_nlink > 0,
        device: (rustix::fs::major(told.st_dev), rustix::fs::minor(told.st_dev)),
    })
}

impl Node {
    fn of(mode: u32) -> Self {
        if mode & libc::S_IFMT == 0 {
            return Self::Anonymous;
        }
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Self::Regular,
            FileType::Directory => Self::Directory,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            _ => Self::Other,
        }
    }
}

/// The seals, as the bits of `F_GET_SEALS`; `None` of what cannot have any.
///
/// Those that can are memory files and files of a mounted tmpfs or hugetlbfs. The kernel looks at
/// what serves the file, not at what the file says.
///
/// # Errors
///
/// Those of `fcntl(2)`, `EINVAL` excepted.
pub fn seals(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) => Ok(Some(seals.bits())),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The numbers of `fcntl.h` for seals.
pub mod seal_bits {
    /// `F_SEAL_SEAL`.
    pub const SEAL: u32 = libc::F_SEAL_SEAL as u32;
    /// `F_SEAL_SHRINK`.
    pub const SHRINK: u32 = libc::F_SEAL_SHRINK as u32;
    /// `F_SEAL_GROW`.
    pub const GROW: u32 = libc::F_SEAL_GROW as u32;
    /// `F_SEAL_WRITE`.
    pub const WRITE: u32 = libc::F_SEAL_WRITE as u32;
    /// `F_SEAL_FUTURE_WRITE`, Linux 5.1.
    pub const FUTURE_WRITE: u32 = libc::F_SEAL_FUTURE_WRITE as u32;
    /// `F_SEAL_EXEC`, Linux 6.3.
    pub const EXEC: u32 = libc::F_SEAL_EXEC as u32;
}

/// What keeps the bytes of a file that answered [`seals`], and of no other: a file system that
/// somebody serves would be asked, and may keep us waiting.
///
/// # Errors
///
/// Those of `fstatfs(2)`.
pub fn memory(fd: BorrowedFd<'_>) -> io::Result<Memory> {
    let kind = rustix::fs::fstatfs(fd)?.f_type;
    // The field is signed or not, and as wide as the architecture likes; the number has 32 bits.
    let is_huge = kind as u32 == libc::HUGETLBFS_MAGIC as u32;
    Ok(if is_huge { Memory::HugePages } else { Memory::Ordinary })
}

/// Whether a file with these seals and facts was made by `memfd_create(2)`.
///
/// A file of a mounted tmpfs has `F_SEAL_SEAL` and can get no other seal, so any other set tells; so
/// does a name, which a memory file never has. A file without a name that has this very set is one
/// if it is on the device on which the kernel makes one for us.
#[must_use]
pub fn is_memfd(seals: u32, facts: &Facts) -> bool {
    let on_their_device = || device_of_memfds().is_none_or(|device| device == facts.device);
    !facts.has_name && (seals != SealFlags::SEAL.bits() || on_their_device())
}

/// The device on which all memory files are, `None` if this process cannot make one.
fn device_of_memfds() -> Option<(u32, u32)> {
    let plain = MemfdFlags::CLOEXEC;
    // The first spelling is refused before Linux 6.3, the second where programs must say the first.
    let ours = rustix::fs::memfd_create(c"streampipe", plain | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create(c"streampipe", plain));
    Some(facts(crate::fd::lift(ours.ok()?).ok()?.as_fd()).ok()?.device)
}

/// Whether it is a pidfd, of whichever process, running or gone.
///
/// Asked with a wait that waits for nothing and takes nothing: of a pidfd the kernel says that it is
/// no child of ours, or how it is; of everything else `EBADF`. `pidfd_send_signal(2)` would take
/// a directory of `/proc` for one, too.
#[must_use]
pub fn is_pidfd(fd: BorrowedFd<'_>) -> bool {
    let nothing = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let asked = retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(fd), nothing));
    matches!(asked, Ok(_) | Err(Errno::CHILD))
}

/// What kind of object a descriptor with [`Node::Anonymous`] is, by the link in `/proc/self/fd`.
///
/// The link of such an object is text of the kernel's; that of a file is its path, which starts with
/// a slash, whatever its name. So nobody can imitate it. [`Anonymous::Other`] without `/proc`.
#[must_use]
pub fn anonymous(fd: BorrowedFd<'_>) -> Anonymous {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    match link.ok().as_deref().and_then(|it| it.to_str()) {
        Some("anon_inode:[eventfd]") => Anonymous::EventFd,
        Some("anon_inode:[eventpoll]") => Anonymous::Epoll,
        Some("anon_inode:[timerfd]") => Anonymous::Timer,
        _ => Anonymous::Other,
    }
}
