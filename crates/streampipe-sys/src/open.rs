//! Making pairs and pipes: both ends close-on-exec from their first instant.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use libc::c_int;
use rustix::fs::{Mode, OFlags};

use crate::fd::lift;

/// The numbers of `sys/socket.h` and `errno.h` that the call speaks.
pub mod numbers {
    pub use libc::{AF_INET, AF_INET6, AF_UNIX};
    pub use libc::{
        E2BIG, EACCES, EAGAIN, EBADF, ECHILD, ECONNRESET, ENOENT, ENOEXEC, ENOPROTOOPT,
    };
    pub use libc::{
        EAFNOSUPPORT, EINVAL, EOPNOTSUPP, EPROTONOSUPPORT, EPROTOTYPE, ESOCKTNOSUPPORT,
    };
    pub use libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTDIR, EPERM, EPIPE, ESRCH};
    pub use libc::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM};
    pub use libc::{
        SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
    };
}

/// Calls `socketpair(2)` with the numbers given, adding `SOCK_CLOEXEC`.
///
/// Both descriptors are at least 3. On failure none stays open.
///
/// # Errors
///
/// The kernel's: `EAFNOSUPPORT`, `EOPNOTSUPP`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EINVAL`,
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn socketpair(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends: [c_int; 2] = [-1; 2];
    // SAFETY: `ends` is valid for writing two ints, which is all the call writes.
    let made =
        unsafe { libc::socketpair(domain, kind | libc::SOCK_CLOEXEC, protocol, ends.as_mut_ptr()) };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `ends[0]` is an open descriptor that nobody else owns.
    let first = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: the call succeeded, so `ends[1]` is an open descriptor that nobody else owns.
    let second = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    Ok((lift(first)?, lift(second)?))
}

/// Opens `/dev/null` for reading and writing, close-on-exec.
///
/// # Errors
///
/// Those of `open(2)`.
pub fn null() -> io::Result<OwnedFd> {
    lift(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Creates or empties a file for writing, close-on-exec. Never waits for a reader of a named pipe.
///
/// # Errors
///
/// Those of `open(2)`; `ENXIO` for a named pipe that nobody reads.
pub fn for_report(path: &Path) -> io::Result<OwnedFd> {
    let (write, create) = (OFlags::WRONLY | OFlags::CLOEXEC, OFlags::CREATE | OFlags::TRUNC);
    let flags = write | create | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = lift(rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?)?;
    // Writes may wait. The description is this process's own.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Makes a one-way pipe: the reading end, then the writing end.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((lift(reader)?, lift(writer)?))
}
