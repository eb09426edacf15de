//! Packets of 64 bytes, many for each call: `sendmmsg` and `recvmmsg`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{End, Opener};
use crate::ring::block::{Block, RECORD};

const MOST: usize = 64;

pub(super) fn make(_most: usize) -> io::Result<(Opener, Opener)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the pointer is to two numbers.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given them to us and to nobody else.
    let [a, b] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    Ok((opener(a), opener(b)))
}

fn opener(socket: OwnedFd) -> Opener {
    Box::new(move || Ok(Box::new(Packets { socket, bytes: vec![0; MOST * RECORD] })))
}

struct Packets {
    socket: OwnedFd,
    bytes: Vec<u8>,
}

impl Packets {
    /// Calls for all records of the bytes; the kernel may take fewer each time.
    fn all(
        &mut self,
        count: usize,
        call: impl Fn(i32, *mut libc::mmsghdr, u32) -> i32,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < count {
            let records = self.bytes[done * RECORD..count * RECORD].chunks_mut(RECORD);
            let mut parts: Vec<libc::iovec> = records
                .map(|record| libc::iovec { iov_base: record.as_mut_ptr().cast(), iov_len: RECORD })
                .collect();
            // SAFETY: all zeros are a header without anything.
            let empty = || unsafe { std::mem::zeroed::<libc::mmsghdr>() };
            let mut headers: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    let mut header = empty();
                    (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (part, 1);
                    header
                })
                .collect();
            let moved = call(self.socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32);
            match usize::try_from(moved) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => done += moved,
                Err(_) => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

impl End for Packets {
    fn send(&mut self, block: Block) -> io::Result<()> {
        block.fill(&mut self.bytes[..block.size()], 0);
        self.all(block.count, |socket, headers, count| {
            // SAFETY: so many headers, each to 64 bytes, which live until the call returns.
            unsafe { libc::sendmmsg(socket, headers, count, libc::MSG_NOSIGNAL) }
        })
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        self.all(block.count, |socket, headers, count| {
            let flags = libc::MSG_WAITFORONE;
            // SAFETY: so many headers, each to 64 bytes, which live until the call returns.
            unsafe { libc::recvmmsg(socket, headers, count, flags, std::ptr::null_mut()) }
        })?;
        block.check(&self.bytes[..block.size()], 0)
    }
}
