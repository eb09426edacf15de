use std::os::fd::{AsFd, BorrowedFd};
use std::{fmt, io};

use streampipe_sys::describe::{self, Anonymous, Facts, Memory, Mode, Node};
use streampipe_sys::sockopt;

use crate::{Access, Family, Seals, Type};

/// What kind of thing a descriptor is open on, as the kernel says.
///
/// Meant for descriptors of a peer that may be hostile: nothing is opened or read, no path is
/// followed, and no file system that the peer may serve itself is asked, so the answer is never
/// waited for.
///
/// # Examples
///
/// ```
/// use streampipe::{Access, FdKind};
///
/// let file = std::fs::File::open("/etc/passwd")?;
/// let kind = FdKind::of(&file)?;
/// assert_eq!(kind, FdKind::File { access: Access::ReadOnly });
/// assert_eq!(kind.to_string(), "a regular file open for reading");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FdKind {
    /// A regular file: `S_IFREG`.
    ///
    /// Of any file system. One that the sender serves itself (FUSE) can make every read wait for
    /// ever, and tell each reader something else; the kernel's own (`/proc`, namespaces) have
    /// regular files, too. Only a sealed [`FdKind::Memfd`] stays what it is.
    #[doc(alias = "S_IFREG")]
    File {
        /// What it was opened for.
        access: Access,
    },
    /// An open directory, which leads its holder out of any `chroot`.
    #[doc(alias = "S_IFDIR")]
    Directory,
    /// A pipe, or a FIFO: a pipe with a name.
    #[doc(alias = "S_IFIFO")]
    Pipe {
        /// Which end it is; a FIFO can be both at once.
        access: Access,
    },
    /// A socket that does not listen.
    #[doc(alias = "S_IFSOCK")]
    Socket {
        /// Its family (`SO_DOMAIN`).
        family: Family,
        /// Its type (`SO_TYPE`).
        kind: Type,
    },
    /// A socket that listens.
    #[doc(alias = "SO_ACCEPTCONN")]
    Listener {
        /// Its family (`SO_DOMAIN`).
        family: Family,
        /// Its type (`SO_TYPE`).
        kind: Type,
    },
    /// A memory file made by `memfd_create(2)`, of ordinary pages.
    ///
    /// A file of a mounted tmpfs (`/dev/shm`) is a [`FdKind::File`], with or without a name: it can
    /// have no seals, and its file system can be full.
    #[doc(alias = "memfd_create")]
    Memfd {
        /// The seals it has.
        seals: Seals,
        /// What it was opened for.
        access: Access,
    },
    /// A file of huge pages: a memory file (`MFD_HUGETLB`), or one of a mounted hugetlbfs.
    ///
    /// It can have every seal, and yet the first touch of a page is a `SIGBUS` when the system has
    /// no huge page left.
    #[doc(alias = "MFD_HUGETLB")]
    HugePages {
        /// The seals it has.
        seals: Seals,
        /// What it was opened for.
        access: Access,
    },
    /// A pidfd, of whichever process, running or gone.
    Pidfd,
    /// An `eventfd(2)`.
    EventFd,
    /// An `epoll(7)` instance.
    Epoll,
    /// A `timerfd_create(2)` timer.
    Timer,
    /// A character device, terminals included.
    #[doc(alias = "S_IFCHR")]
    CharDevice,
    /// A block device.
    #[doc(alias = "S_IFBLK")]
    BlockDevice,
    /// A place in the file system (`O_PATH`), whatever is there: a directory, a link, a socket's name.
    #[doc(alias = "O_PATH")]
    Path,
    /// Something else: a `signalfd(2)`, an `inotify(7)` instance, a file open for `ioctl` alone, and
    /// whatever kernels to come will have.
    Other,
}

impl FdKind {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// `EIO` of a file whose file system is gone, `EACCES` of a security module. The descriptor is as it
    /// was.
    ///
    /// # Platform
    ///
    /// Without `/proc`, an eventfd, an epoll instance and a timer are [`FdKind::Other`]. Where a
    /// filter forbids `statx(2)`, a file system that the peer serves may be waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::{Family, FdKind, Type};
    ///
    /// let (end, _peer) = streampipe::pair()?;
    /// assert_eq!(FdKind::of(&end)?, FdKind::Socket { family: Family::LOCAL, kind: Type::STREAM });
    ///
    /// let directory = std::fs::File::open("/")?;
    /// assert_eq!(FdKind::of(&directory)?.to_string(), "a directory");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        let fd = fd.as_fd();
        let Some(mode) = open_mode(fd)? else {
            return Ok(Self::Path);
        };
        let facts = describe::facts(fd)?;
        match facts.node {
            Node::Directory => Ok(Self::Directory),
            Node::CharDevice => Ok(Self::CharDevice),
            Node::BlockDevice => Ok(Self::BlockDevice),
            Node::Socket => socket(fd),
            Node::Anonymous => Ok(anonymous(fd)),
            Node::Regular => regular(fd, mode, &facts),
            Node::Fifo => Ok(access(mode).map_or(Self::Other, |access| Self::Pipe { access })),
            Node::Other => Ok(Self::Other),
        }
    }

    /// What it was opened for; `None` of what cannot be opened in several ways, and of devices.
    #[must_use]
    pub const fn access(self) -> Option<Access> {
        match self {
            Self::File { access }
            | Self::Pipe { access }
            | Self::Memfd { access, .. }
            | Self::HugePages { access, .. } => Some(access),
            _ => None,
        }
    }

    /// Asks only so much as to tell a directory, a device and a place from everything else: two
    /// calls, and `None` for everything else.
    pub(super) fn of_perilous(fd: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        if open_mode(fd)?.is_none() {
            return Ok(Some(Self::Path));
        }
        Ok(match describe::facts(fd)?.node {
            Node::Directory => Some(Self::Directory),
            Node::CharDevice => Some(Self::CharDevice),
            Node::BlockDevice => Some(Self::BlockDevice),
            _ => None,
        })
    }
}

/// How the descriptor was opened, `None` if it was not (`O_PATH`).
fn open_mode(fd: BorrowedFd<'_>) -> io::Result<Option<Mode>> {
    let mode = describe::mode(fd)?;
    Ok((mode != Mode::Path).then_some(mode))
}

fn access(mode: Mode) -> Option<Access> {
    match mode {
        Mode::Read => Some(Access::ReadOnly),
        Mode::Write => Some(Access::WriteOnly),
        Mode::ReadWrite => Some(Access::ReadWrite),
        Mode::Neither | Mode::Path => None,
    }
}

fn socket(fd: BorrowedFd<'_>) -> io::Result<FdKind> {
    let told = sockopt::socket_kind(fd)?;
    let (family, kind) = (Family::from_raw(told.domain), Type::from_raw(told.kind));
    Ok(if told.listens {
        FdKind::Listener { family, kind }
    } else {
        FdKind::Socket { family, kind }
    })
}

fn regular(fd: BorrowedFd<'_>, mode: Mode, facts: &Facts) -> io::Result<FdKind> {
    let Some(access) = access(mode) else {
        return Ok(FdKind::Other);
    };
    let Some(bits) = describe::seals(fd)? else {
        // Linux 6.9 showed pidfds as regular files, of length 0.
        let is_pidfd = facts.size == 0 && describe::is_pidfd(fd);
        return Ok(if is_pidfd { FdKind::Pidfd } else { FdKind::File { access } });
    };
    let seals = Seals::from_raw(bits);
    Ok(match describe::memory(fd)? {
        Memory::HugePages => FdKind::HugePages { seals, access },
        Memory::Ordinary if describe::is_memfd(bits, facts) => FdKind::Memfd { seals, access },
        Memory::Ordinary => FdKind::File { access },
    })
}

fn anonymous(fd: BorrowedFd<'_>) -> FdKind {
    if describe::is_pidfd(fd) {
        return FdKind::Pidfd;
    }
    match describe::anonymous(fd) {
        Anonymous::EventFd => FdKind::EventFd,
        Anonymous::Epoll => FdKind::Epoll,
        Anonymous::Timer => FdKind::Timer,
        Anonymous::Other => FdKind::Other,
    }
}

/// Writes what it is, with an article: "a directory", "a regular file open for reading".
impl fmt::Display for FdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::File { access } => write!(f, "a regular file open for {access}"),
            Self::Pipe { access } => write!(f, "a pipe open for {access}"),
            Self::Socket { family, kind } => write!(f, "a {kind} socket of {family}"),
            Self::Listener { family, kind } => write!(f, "a listening {kind} socket of {family}"),
            Self::Memfd { seals, access } => {
                write!(f, "a memfd open for {access}, with {seals}")
            }
            Self::HugePages { seals, access } => {
                write!(f, "a file of huge pages open for {access}, with {seals}")
            }
            Self::Directory => f.write_str("a directory"),
            Self::Pidfd => f.write_str("a pidfd"),
            Self::EventFd => f.write_str("an eventfd"),
            Self::Epoll => f.write_str("an epoll instance"),
            Self::Timer => f.write_str("a timerfd"),
            Self::CharDevice => f.write_str("a character device"),
            Self::BlockDevice => f.write_str("a block device"),
            Self::Path => f.write_str("an O_PATH descriptor"),
            Self::Other => f.write_str("a descriptor of another kind"),
        }
    }
}
