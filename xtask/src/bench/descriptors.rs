use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use streampipe::Stream;

use super::Done;
use super::measure::compare;

pub(super) fn run() -> Done {
    let null = std::fs::File::open("/dev/null")?;
    for count in [1, 16, 253] {
        let (a, b) = streampipe::pair()?;
        let fds = vec![null.as_fd(); count];
        compare(
            &format!("{count} descriptors there, and closed, against sendmsg/recvmsg"),
            || raw_trip(&a, &b, &fds),
            || {
                a.send_fds(b"x", &fds)?;
                drop(b.recv_fds(&mut [0; 16])?);
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// As little as can be done: one message, its descriptors owned and closed.
fn raw_trip(a: &Stream, b: &Stream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(a, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL)?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0; 16];
    recvmsg(b, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            drop(received.collect::<Vec<OwnedFd>>());
        }
    }
    Ok(())
}
