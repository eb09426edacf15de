//! Taking over a descriptor that the parent of this process prepared.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;

use crate::fd::{LOWEST, lift};
use crate::sockopt;

/// What a socket must be to be the one that was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `SO_DOMAIN`.
    pub domain: i32,
    /// `SO_TYPE`.
    pub kind: i32,
    /// Which one it is.
    pub identity: SocketIdentity,
}

/// Which socket of the system it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketIdentity {
    /// `SO_COOKIE`, unique for the life of the system.
    Cookie(u64),
    /// The inode, where the system has no cookies: another socket can get it once this one is closed.
    Inode(u64),
}

impl SocketIdentity {
    /// What this system says of the socket.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        match sockopt::cookie(socket) {
            Ok(cookie) => Ok(Self::Cookie(cookie)),
            Err(_) => Ok(Self::Inode(rustix::fs::fstat(socket)?.st_ino)),
        }
    }
}

/// Why a number is not the socket that was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// No descriptor has the number.
    NotOpen,
    /// One has, but it is another socket, or none.
    Another,
}

/// Takes over the descriptor of this number, if it is the socket expected.
///
/// It is close-on-exec afterwards. A number below 3 is taken over as a higher one, and refers to
/// `/dev/null` afterwards, so that no later descriptor becomes standard input or output.
///
/// A descriptor that is close-on-exec is another one: this process made it, or took it over before.
///
/// # Errors
///
/// `Ok(Err(_))` says why it is not that socket; the outer error is one of `fcntl(2)` or `open(2)`.
pub fn take(number: i32, expected: Expected) -> io::Result<Result<OwnedFd, Mismatch>> {
    if number < 0 {
        return Ok(Err(Mismatch::NotOpen));
    }
    // SAFETY: borrowed for three questions, which fail with `EBADF` if it is not open.
    let candidate = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = match rustix::io::fcntl_getfd(candidate) {
        Ok(flags) => flags,
        Err(_) => return Ok(Err(Mismatch::NotOpen)),
    };
    // One that is closed on `exec` did not come through it: this process made it, or adopted it before.
    if flags.contains(FdFlags::CLOEXEC) || !is_expected(candidate, expected)? {
        return Ok(Err(Mismatch::Another));
    }
    if number < LOWEST {
        return replace_by_null(candidate).map(Ok);
    }
    rustix::io::fcntl_setfd(candidate, flags | FdFlags::CLOEXEC)?;
    // SAFETY: it is the very socket that the parent left open across `exec` for this process to own,
    // which its cookie and the missing flag say; with the flag set now, it is taken once.
    Ok(Ok(unsafe { OwnedFd::from_raw_fd(number) }))
}

fn is_expected(candidate: BorrowedFd<'_>, expected: Expected) -> io::Result<bool> {
    let same_kind = sockopt::socket_kind(candidate).is_ok_and(|kind| {
        kind.domain == expected.domain && kind.kind == expected.kind && !kind.listens
    });
    if !same_kind {
        return Ok(false);
    }
    match expected.identity {
        // A socket has one; where it cannot be asked for, that is what is told.
        SocketIdentity::Cookie(cookie) => Ok(sockopt::cookie(candidate)? == cookie),
        // The parent's system has no cookies. This one may: a program under qemu-user starts one that is not.
        SocketIdentity::Inode(inode) => Ok(rustix::fs::fstat(candidate)?.st_ino == inode),
    }
}

fn replace_by_null(standard: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;

    let own = rustix::io::fcntl_dupfd_cloexec(standard, LOWEST)?;
    let null = lift(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)?;
    // SAFETY: both are open; the number goes on being a standard one, so nobody's idea of it breaks.
    if unsafe { libc::dup2(null.as_fd().as_raw_fd(), standard.as_raw_fd()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(own)
}

/// Whether the kernel runs this program with more rights than its caller has (`AT_SECURE`).
#[must_use]
pub fn has_more_rights_than_its_caller() -> bool {
    // SAFETY: the call reads the process's own auxiliary vector, and knows any number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
