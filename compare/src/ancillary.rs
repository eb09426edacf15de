//! Bytes with descriptors beside them, by hand: `sendmsg` and `recvmsg`.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// As many as one message may have here; the kernel's own limit is 253.
pub const MAX_DESCRIPTORS: usize = 32;

/// Room for a header and the descriptors, aligned as a header must be.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// Sends bytes, and the descriptors with the first of them; returns how many bytes were taken.
///
/// # Errors
///
/// The kernel's; too many descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::ETOOMANYREFS));
    }
    let mut control = Control([0; 256]);
    let mut vector =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = header(&mut vector);
    if !descriptors.is_empty() {
        let length = size_of_val(descriptors) as u32;
        header.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as usize;
        // SAFETY: the header has room for one control message, in `control`.
        let message = unsafe { libc::CMSG_FIRSTHDR(&header) };
        // SAFETY: arithmetic.
        let whole = unsafe { libc::CMSG_LEN(length) } as usize;
        let first = libc::cmsghdr {
            cmsg_len: whole,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        // SAFETY: `message` points to the start of `control`, which is aligned for it.
        unsafe { message.write(first) };
        // SAFETY: as above; the result stays within `control`.
        let data = unsafe { libc::CMSG_DATA(message) };
        // SAFETY: `control` has room for `MAX_DESCRIPTORS`, and nobody else has it.
        unsafe { ptr::copy_nonoverlapping(descriptors.as_ptr().cast(), data, length as usize) };
    }
    // SAFETY: the header points to memory that lives until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives bytes and puts the descriptors beside them to those that `arrived`.
///
/// # Errors
///
/// The kernel's; descriptors that had no room.
pub fn recv(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    arrived: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = Control([0; 256]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = header(&mut vector);
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>();
    // SAFETY: the header points to memory that lives until the call returns.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled the header in.
    let message = unsafe { libc::CMSG_FIRSTHDR(&header) };
    if !message.is_null() {
        // SAFETY: not null, so it points to a control message in `control`.
        let first = unsafe { message.read() };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(message) }.cast::<RawFd>();
        // SAFETY: arithmetic.
        let bytes = first.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
        for index in 0..bytes / size_of::<RawFd>() {
            // SAFETY: the index is below the number that the kernel wrote.
            let number = unsafe { data.add(index).read_unaligned() };
            // SAFETY: the kernel has just given it to us and to nobody else.
            arrived.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok(got)
}

fn header(vector: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeros is a header with no name, no bytes and no control message.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header
}

/// What the sender passes again and again: one open file.
///
/// # Errors
///
/// The kernel's.
pub fn passed_file() -> io::Result<File> {
    File::open("/dev/null")
}

/// What the receiver does with descriptors: asks what each is, closes all; returns how many.
///
/// # Errors
///
/// The kernel's; one is not what was passed.
pub fn look(arrived: &mut Vec<OwnedFd>) -> io::Result<usize> {
    for descriptor in arrived.iter() {
        let mut about = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the pointer has room for what the call writes.
        if unsafe { libc::fstat(descriptor.as_raw_fd(), about.as_mut_ptr()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has written all.
        let about = unsafe { about.assume_init() };
        if about.st_mode & libc::S_IFMT != libc::S_IFCHR {
            return Err(crate::message::wrong_bytes("another file arrived"));
        }
    }
    let count = arrived.len();
    arrived.clear();
    Ok(count)
}
