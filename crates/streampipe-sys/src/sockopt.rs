//! The socket options a pair needs, read and set.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};
use rustix::io::Errno;
use rustix::net::sockopt;

/// `SO_PASSRIGHTS`, Linux 6.16 and later (`include/uapi/asm-generic/socket.h`).
#[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
const SO_PASSRIGHTS: c_int = 0x5c;
/// `SO_PASSRIGHTS`, Linux 6.16 and later (`include/uapi/asm-generic/socket.h`).
#[cfg(not(any(target_arch = "sparc", target_arch = "sparc64")))]
const SO_PASSRIGHTS: c_int = 83;

/// `SO_PASSPIDFD`, Linux 6.5 and later (`include/uapi/asm-generic/socket.h`).
#[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
const SO_PASSPIDFD: c_int = 0x55;
/// `SO_PASSPIDFD`, Linux 6.5 and later (`include/uapi/asm-generic/socket.h`).
#[cfg(not(any(target_arch = "sparc", target_arch = "sparc64")))]
const SO_PASSPIDFD: c_int = 76;

/// What kind of socket a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketKind {
    /// `SO_DOMAIN`, for example `AF_UNIX`.
    pub domain: i32,
    /// `SO_TYPE`, for example `SOCK_STREAM`.
    pub kind: i32,
    /// `SO_ACCEPTCONN`: the socket listens, so it is not an end of anything.
    pub listens: bool,
}

/// Asks the kernel what kind of socket this is.
///
/// # Errors
///
/// `ENOTSOCK` if the descriptor is no socket at all.
pub fn socket_kind(fd: impl AsFd) -> io::Result<SocketKind> {
    let fd = fd.as_fd();
    let domain = match sockopt::socket_domain(fd) {
        // Emulated kernels do not know all options. The socket's own address has the same number.
        Err(Errno::NOPROTOOPT) => rustix::net::getsockname(fd)?.address_family(),
        domain => domain?,
    };
    let listens = match sockopt::socket_acceptconn(fd) {
        Err(Errno::NOPROTOOPT) => false,
        listens => listens?,
    };
    Ok(SocketKind {
        domain: i32::from(domain.as_raw()),
        kind: i32::try_from(sockopt::socket_type(fd)?.as_raw()).unwrap_or(-1),
        listens,
    })
}

/// The socket's identity, unique for the life of the system (`SO_COOKIE`).
///
/// # Errors
///
/// `ENOTSOCK` if the descriptor is no socket.
pub fn cookie(fd: impl AsFd) -> io::Result<u64> {
    Ok(sockopt::socket_cookie(fd)?)
}

/// The send buffer's size in bytes of kernel memory, bookkeeping included.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn send_buffer_size(fd: impl AsFd) -> io::Result<usize> {
    Ok(sockopt::socket_send_buffer_size(fd)?)
}

/// Asks for a send buffer of that many bytes; the kernel doubles and clamps the number.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn set_send_buffer_size(fd: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, bytes)?)
}

/// The receive buffer's size, which Linux ignores for `AF_UNIX`.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn recv_buffer_size(fd: impl AsFd) -> io::Result<usize> {
    Ok(sockopt::socket_recv_buffer_size(fd)?)
}

/// Asks for a receive buffer of that many bytes; the kernel doubles and clamps the number.
///
/// # Errors
///
/// Those of `setsockopt(2)`.
pub fn set_recv_buffer_size(fd: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(fd, bytes)?)
}

/// Makes the kernel refuse descriptors sent towards this socket (`SO_PASSRIGHTS` = 0).
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 6.16, and if the kernel takes the option without a word and does not keep it, as an
/// emulated one may; `EOPNOTSUPP` if the socket is not `AF_UNIX`.
pub fn refuse_rights(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, SO_PASSRIGHTS, 0)?;
    if get(fd, SO_PASSRIGHTS)? == 0 { Ok(()) } else { Err(Errno::NOPROTOOPT.into()) }
}

/// Whether the error of an option says that there is no such option: of an older or emulated kernel, or of a filter of
/// system calls.
#[must_use]
pub fn is_unknown_option(error: &io::Error) -> bool {
    let unknown = [libc::ENOPROTOOPT, libc::EINVAL, libc::EPERM, libc::EACCES, libc::ENOSYS];
    error.raw_os_error().is_some_and(|errno| unknown.contains(&errno))
}

/// Whether the kernel says with each message who sent it (`SO_PASSCRED`).
///
/// What is sent before it is switched on says nothing (kernel trap B2).
///
/// # Errors
///
/// `EOPNOTSUPP` if the socket is not `AF_UNIX`.
pub fn attest_credentials(fd: BorrowedFd<'_>, attests: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_passcred(fd, attests)?)
}

/// Whether the kernel hands over a pidfd of the sender with each message (`SO_PASSPIDFD`).
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 6.5.
pub fn attest_pidfd(fd: BorrowedFd<'_>, attests: bool) -> io::Result<()> {
    set(fd, SO_PASSPIDFD, c_int::from(attests))
}

/// Sets an option of the socket level that rustix does not know.
fn set(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of the socket level that rustix does not know.
fn get(fd: BorrowedFd<'_>, option: c_int) -> io::Result<c_int> {
    let mut value: c_int = -1;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: the pointers are to `value` and its length, which outlive the call.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast::<c_void>(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Ends one or both directions of the socket, for all descriptors that refer to it.
///
/// # Errors
///
/// `ENOTCONN` if there is no peer.
pub fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => rustix::net::Shutdown::Read,
        Shutdown::Write => rustix::net::Shutdown::Write,
        Shutdown::Both => rustix::net::Shutdown::Both,
    };
    Ok(rustix::net::shutdown(fd, how)?)
}

/// Asks for a send buffer of so many bytes, which the kernel doubles, if it has not that much already.
///
/// # Errors
///
/// Those of `setsockopt(2)`. More than the system allows (`net.core.wmem_max`) is not an error: it gives what it does.
pub fn make_send_room(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    if rustix::net::sockopt::socket_send_buffer_size(fd)? < 2 * bytes {
        rustix::net::sockopt::set_socket_send_buffer_size(fd, bytes)?;
    }
    Ok(())
}

/// Returns the size of the send buffer in bytes, which what is in it takes more of than it is long.
///
/// # Errors
///
/// Those of `getsockopt(2)`.
pub fn send_room(fd: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(rustix::net::sockopt::socket_send_buffer_size(fd)?)
}
