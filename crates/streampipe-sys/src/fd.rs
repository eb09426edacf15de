//! Descriptor numbers: nothing this library makes is ever 0, 1 or 2.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The lowest number a descriptor of this library may have.
///
/// A program started with its standard input closed would otherwise get an end as number 0, and
/// the next `println!` or child would write into it (kernel trap A19).
pub const LOWEST: i32 = 3;

/// Moves a descriptor to a number of at least [`LOWEST`], close-on-exec.
///
/// The descriptor given is closed if it had to move, and on failure.
///
/// # Errors
///
/// `EMFILE` if the process has no free descriptor at or above [`LOWEST`].
pub fn lift(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= LOWEST {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, LOWEST)?)
}

/// Duplicates a descriptor, close-on-exec, at a number of at least [`LOWEST`].
///
/// # Errors
///
/// `EMFILE` if the process has no free descriptor.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, LOWEST)?)
}

/// Duplicates the descriptor of this number, close-on-exec, at a number of at least [`LOWEST`].
///
/// For one that somebody in this process holds and shows by number only.
///
/// # Errors
///
/// `EBADF` if it is not open, `EMFILE` if the process has no free descriptor.
pub fn duplicate_number(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers alone are passed; one that is not open is `EBADF`.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, LOWEST) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `copy` is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether `O_NONBLOCK` is set on the open file description.
///
/// # Errors
///
/// Those of `fcntl(2)`.
pub fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_getfl(fd)?.contains(rustix::fs::OFlags::NONBLOCK))
}

/// Duplicates the descriptor of this number, and lets no later program inherit it if it is at least
/// [`LOWEST`].
///
/// # Errors
///
/// `EBADF` if it is not open for writing, `EMFILE` if the process has no free descriptor.
pub fn take_for_writing(number: i32) -> io::Result<OwnedFd> {
    let copy = duplicate_number(number)?;
    let mode = rustix::fs::fcntl_getfl(&copy)? & rustix::fs::OFlags::ACCMODE;
    if !matches!(mode, rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::RDWR) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    if number >= LOWEST {
        // SAFETY: a number and a flag; nothing in memory is touched.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(copy)
}
