//! Sending and receiving: bytes, and the descriptors that travel with them.
//!
//! The rules of this file, each against a trap that others fell into (GOTCHAS.md):
//!
//! 1. Every receive has a control buffer with room for everything the kernel can put there, and
//!    `MSG_CMSG_CLOEXEC`. There is no `read(2)` on an end and no peeking.
//! 2. Every descriptor in every control message is owned before anything else can fail, those of
//!    `SCM_PIDFD` included; what the caller does not take is closed.
//! 3. Every send has `MSG_NOSIGNAL`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void};
use rustix::net::SendFlags;

use crate::cmsg::{self, ControlMessages, MAX_FDS};
use crate::fd::lift;

/// `SCM_PIDFD`, Linux 6.5 and later (`include/linux/socket.h`).
const SCM_PIDFD: c_int = 4;

/// Room for all that Linux can attach to one message: 253 descriptors, credentials (12 bytes), a
/// pidfd, and a security label of up to 256 bytes.
const CONTROL_ROOM: usize =
    cmsg::space(4 * MAX_FDS) + cmsg::space(12) + cmsg::space(4) + cmsg::space(256);

/// A control buffer, aligned as `struct cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_ROOM]);

/// Whether a call may put the thread to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// As the open file description says: blocking, unless somebody set `O_NONBLOCK` on it.
    AsIs,
    /// Never (`MSG_DONTWAIT`): `EAGAIN` instead.
    Never,
}

/// What one receive brought.
#[derive(Debug)]
pub struct Received {
    /// The bytes in the caller's buffer.
    pub len: usize,
    /// The packet's own length; larger than `len` if its rest was cut off. For a stream, `len`.
    pub full_len: usize,
    /// The descriptors, in the order they were sent.
    pub fds: Vec<OwnedFd>,
    /// Whether the kernel had descriptors that it could not hand over (`MSG_CTRUNC`).
    pub fds_lost: bool,
    /// Who sent it, if the socket asks for that ([`sockopt`](mod@crate::sockopt)).
    pub sender: Option<Box<Sender>>,
}

impl Received {
    /// A receive that brought nothing: the end.
    #[must_use]
    pub fn nothing() -> Self {
        Self { len: 0, full_len: 0, fds: Vec::new(), fds_lost: false, sender: None }
    }
}

/// Who sent a message, as the kernel attests.
#[derive(Debug, Default)]
pub struct Sender {
    /// Process, user and group (`SCM_CREDENTIALS`); process 0 if the kernel did not note one.
    pub credentials: Option<Credentials>,
    /// The process itself (`SCM_PIDFD`, Linux 6.5 and later).
    pub pidfd: Option<OwnedFd>,
}

/// What `SCM_CREDENTIALS` carries, as seen from this process's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The process id.
    pub pid: i32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Sends bytes; returns how many the kernel took.
///
/// # Errors
///
/// Those of `send(2)`, `EINTR` excepted; no `SIGPIPE` comes with `EPIPE`.
#[inline]
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], blocking: Blocking) -> io::Result<usize> {
    let flags = match blocking {
        Blocking::AsIs => SendFlags::NOSIGNAL,
        Blocking::Never => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    };
    Ok(rustix::io::retry_on_intr(|| rustix::net::send(fd, bytes, flags))?)
}

/// Whether nothing can be sent over a stream socket any more: the last copy of the other end was closed, or one of both
/// has ended this direction. Sends nothing, and never blocks; of any other trouble it says no.
///
/// For often: 98 ns, where a poll takes 178 (Linux 6.18).
#[must_use]
pub fn is_cut(stream: BorrowedFd<'_>) -> bool {
    let sent = send(stream, &[], Blocking::Never);
    sent.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Sends bytes from several places, without descriptors; returns how many the kernel took.
///
/// # Errors
///
/// Those of `sendmsg(2)`, `EINTR` excepted; no `SIGPIPE` comes with `EPIPE`.
#[inline]
pub fn send_parts(
    fd: BorrowedFd<'_>,
    bytes: &[IoSlice<'_>],
    blocking: Blocking,
) -> io::Result<usize> {
    let mut header = empty_header();
    header.msg_iov = bytes.as_ptr().cast_mut().cast();
    header.msg_iovlen = bytes.len() as _;
    let flags = libc::MSG_NOSIGNAL | dontwait(blocking);
    retry(|| {
        // SAFETY: `header` points at `bytes`, whose `IoSlice`s have the layout of `iovec`; they
        // outlive the call, which only reads them.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags) }
    })
}

/// Sends bytes from several places, with descriptors on the first of them.
///
/// If it returns `Ok`, the kernel holds its own copies of all the descriptors; if it returns an
/// error, of none. The caller keeps its own either way.
///
/// # Errors
///
/// `EINVAL` for more than [`MAX_FDS`] descriptors, else those of `sendmsg(2)`, `EINTR` excepted:
/// `EPERM` if the peer refuses descriptors, `ETOOMANYREFS` if too many are in flight.
pub fn send_with_fds(
    fd: BorrowedFd<'_>,
    bytes: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    blocking: Blocking,
) -> io::Result<usize> {
    if fds.is_empty() {
        return send_parts(fd, bytes, blocking);
    }
    let mut control = Control([0; CONTROL_ROOM]);
    let used = write_rights(&mut control.0, fds).ok_or_else(invalid)?;
    let mut header = empty_header();
    header.msg_iov = bytes.as_ptr().cast_mut().cast();
    header.msg_iovlen = bytes.len() as _;
    header.msg_control = control.0.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = used as _;
    let flags = libc::MSG_NOSIGNAL | dontwait(blocking);
    retry(|| {
        // SAFETY: `header` points at `bytes`, whose `IoSlice`s have the layout of `iovec`, and at
        // `control`; all of them outlive the call, which only reads them.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags) }
    })
}

/// Receives bytes and all that comes with them.
///
/// # Errors
///
/// Those of `recvmsg(2)`, `EINTR` excepted. A descriptor table without room is not among them:
/// see [`Received::fds_lost`].
#[inline]
pub fn recv(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    blocking: Blocking,
) -> io::Result<Received> {
    recv_with(fd, buffers, blocking, 0, CONTROL_ROOM)
}

/// Receives one packet; [`Received::full_len`] is its real length (`MSG_TRUNC`).
///
/// Not for streams, where the flag would throw the bytes away on other families.
///
/// # Errors
///
/// As [`recv`].
#[inline]
pub fn recv_packet(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    blocking: Blocking,
) -> io::Result<Received> {
    recv_with(fd, buffers, blocking, libc::MSG_TRUNC, CONTROL_ROOM)
}

/// What kind of socket a receive is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// A stream: no boundaries.
    Bytes,
    /// Packets: [`Received::full_len`] is the real length of one.
    Packets,
}

/// Receives bytes, and at most so many descriptors.
///
/// The kernel closes those beyond them without handing them over, and says so
/// ([`Received::fds_lost`]): whoever sends more than is due gets none into this process. Who sent it is
/// not asked for.
///
/// # Errors
///
/// As [`recv`].
#[inline]
pub fn recv_due(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    due: usize,
    carries: Carries,
    blocking: Blocking,
) -> io::Result<Received> {
    // Not `CMSG_SPACE`: the padding at its end would admit one more (kernel trap A2).
    let room = if due == 0 { 0 } else { cmsg::HEADER + size_of::<c_int>() * due.min(MAX_FDS) };
    let more_flags = if carries == Carries::Packets { libc::MSG_TRUNC } else { 0 };
    recv_with(fd, buffers, blocking, more_flags, room)
}

/// Receives bytes alone, from a socket that the kernel keeps descriptors away from.
///
/// A descriptor that arrives all the same is closed by the kernel without a word: only for a
/// socket with [`refuse_rights`](crate::sockopt::refuse_rights) in force and nothing queued.
///
/// # Errors
///
/// Those of `recv(2)`, `EINTR` excepted.
#[inline]
pub fn recv_bytes(fd: BorrowedFd<'_>, buffer: &mut [u8], blocking: Blocking) -> io::Result<usize> {
    let flags = match blocking {
        Blocking::AsIs => rustix::net::RecvFlags::empty(),
        Blocking::Never => rustix::net::RecvFlags::DONTWAIT,
    };
    let (len, _) = rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, flags))?;
    Ok(len)
}

#[inline]
fn recv_with(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    blocking: Blocking,
    more_flags: c_int,
    control_room: usize,
) -> io::Result<Received> {
    // Left as it is: most receives bring no control data, and clearing it would be 3 % of a small one.
    let mut control = MaybeUninit::<Control>::uninit();
    let mut header = empty_header();
    let flags = libc::MSG_CMSG_CLOEXEC | dontwait(blocking) | more_flags;
    let full_len = retry(|| {
        header.msg_iov = buffers.as_mut_ptr().cast();
        header.msg_iovlen = buffers.len() as _;
        header.msg_control = control.as_mut_ptr().cast::<c_void>();
        header.msg_controllen = control_room as _;
        // SAFETY: `header` points at `buffers`, whose `IoSliceMut`s have the layout of `iovec`,
        // and at `control`, with no more than its length; both outlive the call and nobody else uses them.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) }
    })?;
    let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    let mut received = Received {
        len: full_len.min(room),
        full_len,
        fds: Vec::new(),
        fds_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
        sender: None,
    };
    // `size_t` with glibc, `socklen_t` with musl.
    #[allow(clippy::unnecessary_cast)]
    let written = header.msg_controllen as usize;
    if written > 0 {
        let control = copy_control(&control, written.min(CONTROL_ROOM));
        take_fds(&control.0[..written.min(CONTROL_ROOM)], &mut received);
    }
    Ok(received)
}

/// Copies what the kernel wrote, message by message: the bytes that align one header behind another
/// it skips, and nobody may look at.
#[cold]
fn copy_control(control: &MaybeUninit<Control>, written: usize) -> Control {
    let from = control.as_ptr().cast::<u8>();
    let mut copy = Control([0; CONTROL_ROOM]);
    let to = copy.0.as_mut_ptr();
    let mut at = 0;
    while at + cmsg::HEADER <= written {
        let (source, target) = (from.wrapping_add(at), to.wrapping_add(at));
        // SAFETY: the kernel wrote a header at each place where one may start below `written`,
        // which is inside of both buffers.
        unsafe { source.copy_to_nonoverlapping(target, cmsg::HEADER) };
        let Some(extent) = cmsg::extent(&copy.0[at..written]) else { break };
        let (source, target) = (from.wrapping_add(at), to.wrapping_add(at));
        // SAFETY: the kernel wrote the header and the data it announces; `there` is clamped to
        // `written`, which is inside of both buffers.
        unsafe { source.copy_to_nonoverlapping(target, extent.there) };
        at += extent.next;
    }
    copy
}

/// Writes the descriptors' numbers as one control message; returns the bytes used.
fn write_rights(control: &mut [u8], fds: &[BorrowedFd<'_>]) -> Option<usize> {
    let mut numbers = [0_i32; MAX_FDS];
    let numbers = numbers.get_mut(..fds.len())?;
    if numbers.is_empty() {
        return Some(0);
    }
    for (number, fd) in numbers.iter_mut().zip(fds) {
        *number = fd.as_raw_fd();
    }
    cmsg::write(control, libc::SOL_SOCKET, libc::SCM_RIGHTS, numbers)
}

/// Takes ownership of every descriptor in the control bytes that the kernel wrote, and notes the
/// sender.
fn take_fds(control: &[u8], received: &mut Received) {
    for message in ControlMessages::new(control) {
        if message.level != libc::SOL_SOCKET {
            continue;
        }
        match message.kind {
            libc::SCM_RIGHTS => {
                received.fds.reserve_exact(message.data.len() / size_of::<c_int>());
                for number in message.numbers() {
                    keep(number, received);
                }
            }
            // Owned, so that it is closed if nobody wants it. Of a process that is gone there may be
            // an error number instead, which is negative.
            SCM_PIDFD => message.numbers().for_each(|number| {
                let sender = received.sender.get_or_insert_default();
                sender.pidfd = lift(own(number)).ok();
            }),
            libc::SCM_CREDENTIALS => {
                let sender = received.sender.get_or_insert_default();
                sender.credentials = credentials(message.data);
            }
            _ => {}
        }
    }
}

/// Reads credentials; cut off ones (A4) are none.
fn credentials(data: &[u8]) -> Option<Credentials> {
    let words: &[u8; 12] = data.try_into().ok()?;
    let word = |at: usize| [words[at], words[at + 1], words[at + 2], words[at + 3]];
    Some(Credentials {
        pid: i32::from_ne_bytes(word(0)),
        uid: u32::from_ne_bytes(word(4)),
        gid: u32::from_ne_bytes(word(8)),
    })
}

fn keep(number: i32, received: &mut Received) {
    match lift(own(number)) {
        Ok(fd) => received.fds.push(fd),
        Err(_) => received.fds_lost = true,
    }
}

fn own(number: i32) -> OwnedFd {
    // SAFETY: the kernel has just opened this descriptor for this message, and each number of each
    // message is visited once, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[inline]
fn empty_header() -> libc::msghdr {
    // SAFETY: `msghdr` is plain data for which all zeros (null pointers, zero lengths) is valid.
    unsafe { std::mem::zeroed() }
}

#[inline]
fn dontwait(blocking: Blocking) -> c_int {
    match blocking {
        Blocking::AsIs => 0,
        Blocking::Never => libc::MSG_DONTWAIT,
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

#[inline]
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(done) = usize::try_from(call()) {
            return Ok(done);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
