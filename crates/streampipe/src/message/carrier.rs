use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use streampipe_sys::message::Received;
use streampipe_sys::open::numbers;
use streampipe_sys::wait::pause;

use crate::end::{End, Waiting};

/// How often a system that is short of memory is asked again, and after how long each time.
const SHORTAGES: u32 = 200;
const SHORTAGE: Duration = Duration::from_millis(1);

/// An end, and whether frames are packets on it or follow each other as bytes.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) end: End,
    pub(super) carries: Carries,
}

/// How frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// A packet is a frame (`SOCK_SEQPACKET`).
    Packets,
    /// Frames follow each other (`SOCK_STREAM`).
    Bytes,
}

impl Carrier {
    /// Receives what comes next, with at most so many descriptors; `None` is the end.
    #[inline]
    pub(super) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        due: usize,
        waiting: Waiting,
    ) -> io::Result<Option<Received>> {
        match self.carries {
            Carries::Packets => self.end.recv_packet_due(buffers, due, waiting),
            Carries::Bytes => match self.end.recv_due(buffers, due, waiting)? {
                received if received.len > 0 => Ok(Some(received)),
                // A sender was told; a receiver has a right to it, too.
                _ if self.end.take_reset() => Err(io::ErrorKind::ConnectionReset.into()),
                _ => Ok(None),
            },
        }
    }

    /// Sends a frame, or a part of one if frames are bytes; returns how many bytes were taken.
    ///
    /// A system that is short of memory in one piece (`ENOBUFS`) is asked again for a while, unless the call does not wait.
    #[inline]
    pub(super) fn send(
        &self,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        for _ in 0..SHORTAGES {
            match self.send_once(parts, fds, waiting) {
                Err(error) if is_shortage(&error) && waiting != Waiting::Never => {
                    pause(SHORTAGE, waiting.deadline())?;
                }
                sent => return sent,
            }
            if waiting.is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        self.send_once(parts, fds, waiting)
    }

    #[inline]
    fn send_once(
        &self,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        match (parts, fds) {
            ([one], []) => self.end.send_frame(one, waiting),
            _ => self.end.send_frame_parts(parts, fds, waiting),
        }
    }
}

pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(numbers::ENOBUFS | numbers::ENOMEM))
}
