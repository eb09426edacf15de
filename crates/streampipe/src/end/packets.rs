//! Packets: what `SeqPacket` and `Datagram` do with an [`End`].

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use streampipe_sys::message::{self, Blocking, Carries, Received};
use streampipe_sys::open::numbers;
use streampipe_sys::queue;
use streampipe_sys::wait::{Interest, peer_has_finished};

use super::core::End;
use super::modes::Waiting;
use super::{FdError, PacketError};
use crate::ring::Cut;

/// Whether 0 bytes can mean the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// `SOCK_SEQPACKET`: a reader is told of the end by 0 bytes.
    Reported,
    /// `SOCK_DGRAM`: a reader is never told.
    Never,
}

/// What the kernel answered to a receive.
enum Answer {
    Packet(Received),
    End,
}

impl End {
    pub(super) fn send_packet(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        ending: Ending,
        waiting: Waiting,
    ) -> io::Result<usize> {
        if bytes.is_empty() && fds.is_empty() && ending == Ending::Reported {
            let refused = PacketError::Empty;
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refused));
        }
        let sent = if fds.is_empty() {
            self.write(bytes, waiting)
        } else {
            self.send_with_fds(bytes, fds, waiting)
        };
        if ending == Ending::Never {
            sent
        } else {
            sent.inspect_err(|error| self.note_reset(error))
        }
    }

    /// A reset told to a sender is not told again; a receiver has a right to it, too.
    fn note_reset(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::ConnectionReset {
            self.side().remember_reset();
        }
    }

    pub(super) fn recv_packet(
        &self,
        buffer: &mut [u8],
        ending: Ending,
        waiting: Waiting,
    ) -> io::Result<usize> {
        if let Some(taken) = self.take_held(buffer, Taking::Bytes) {
            return taken.map(|(len, _)| len);
        }
        let Answer::Packet(received) = self.ask_for_packet(ending, waiting, &mut |blocking| {
            message::recv_packet(self.as_fd(), &mut [IoSliceMut::new(buffer)], blocking)
        })?
        else {
            // What another thread met while this call slept comes before the end.
            return self
                .take_held(buffer, Taking::Bytes)
                .map_or(Ok(0), |it| it.map(|(len, _)| len));
        };
        check_length(&received, buffer.len())?;
        if received.fds.is_empty() && !received.fds_lost {
            return Ok(received.len);
        }
        Err(self.keep_for_later(&[IoSliceMut::new(buffer)], received))
    }

    pub(super) fn recv_packet_fds(
        &self,
        buffer: &mut [u8],
        ending: Ending,
        waiting: Waiting,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        if let Some(taken) = self.take_held(buffer, Taking::BytesAndFds) {
            return taken;
        }
        let Answer::Packet(received) = self.ask_for_packet(ending, waiting, &mut |blocking| {
            message::recv_packet(self.as_fd(), &mut [IoSliceMut::new(buffer)], blocking)
        })?
        else {
            return self.take_held(buffer, Taking::BytesAndFds).unwrap_or(Ok((0, Vec::new())));
        };
        check_length(&received, buffer.len())?;
        if self.must_not_hand_over(&received) {
            return Err(self.keep_for_later(&[IoSliceMut::new(buffer)], received));
        }
        Ok((received.len, received.fds))
    }

    /// Receives one packet of an end that carries messages, with at most so many descriptors; `None` is the end.
    ///
    /// A packet longer than the buffers says so in [`Received::full_len`]. A packet of 0 bytes is an error.
    pub(crate) fn recv_packet_due(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        due: usize,
        waiting: Waiting,
    ) -> io::Result<Option<Received>> {
        if let Some(held) = self.take_anything_held(buffers) {
            return Ok(Some(held));
        }
        let answer = self.ask_for_packet(Ending::Reported, waiting, &mut |blocking| {
            self.recv_into_room(buffers, due, Carries::Packets, blocking)
        })?;
        match answer {
            Answer::Packet(received) => Ok(Some(received)),
            Answer::End => Ok(None),
        }
    }

    /// Sends a frame of at least 1 byte: as a packet, or into a stream, which may take a part of it.
    #[inline]
    pub(crate) fn send_frame(&self, frame: &[u8], waiting: Waiting) -> io::Result<usize> {
        if let Some((ring, line)) = self.ring() {
            return ring.write(&line, &[IoSlice::new(frame)], Cut::NotIfFew, waiting);
        }
        self.write(frame, waiting).inspect_err(|error| self.note_reset(error))
    }

    /// The same from several places.
    pub(crate) fn send_frame_parts(
        &self,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        self.send_parts(parts, fds, Cut::NotIfFew, waiting)
            .inspect_err(|error| self.note_reset(error))
    }

    /// Whether a sender was told of a reset that no receiver has been told of; one is now.
    pub(crate) fn take_reset(&self) -> bool {
        self.side().take_reset()
    }

    /// Hands over the packet that waits in front, if one does. One that does not fit stays.
    fn take_held(
        &self,
        buffer: &mut [u8],
        taking: Taking,
    ) -> Option<io::Result<(usize, Vec<OwnedFd>)>> {
        let mut held = self.side().held()?;
        let front = held.front_mut()?;
        let (count, bytes) = (front.fds.len(), front.len());
        if taking == Taking::Bytes && count > 0 {
            return Some(Err(FdError::Waiting { count, bytes }.into()));
        }
        if bytes > buffer.len() {
            let (packet, buffer) = (bytes, buffer.len());
            return Some(Err(PacketError::Waiting { packet, buffer }.into()));
        }
        let len = front.scatter(&mut [IoSliceMut::new(buffer)]);
        let fds = std::mem::take(&mut front.fds);
        self.side().settle(&mut held);
        Some(Ok((len, fds)))
    }

    /// Receives, and tells a packet of 0 bytes, the end, and a reset before data apart.
    fn ask_for_packet(
        &self,
        ending: Ending,
        waiting: Waiting,
        receive: &mut impl FnMut(Blocking) -> io::Result<Received>,
    ) -> io::Result<Answer> {
        loop {
            match self.receive_packet(waiting, receive) {
                // The kernel reports the reset before the packets that were queued when it
                // happened (C4). It comes once, so the next turn gets the first of them.
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionReset
                        && ending == Ending::Reported =>
                {
                    self.side().remember_reset();
                }
                Ok(received) if ending == Ending::Reported && says_nothing(&received) => {
                    if let Some(answer) = self.end_or_empty(receive)? {
                        return Ok(answer);
                    }
                }
                other => return other.map(Answer::Packet),
            }
        }
    }

    /// Decides what 0 bytes without descriptors meant; `None` if it was nothing, and more follows.
    ///
    /// While the peer's direction is open they were a packet of 0 bytes. Once it is over, they may
    /// also be a mistake of the kernel's, which looks into the queue first and at the shutdown
    /// after that, and answers 0 although a packet came in between (seen with Linux 6.18, once in
    /// some 20,000 packets that were sent just before a close). So what is queued decides: as long
    /// as there is something, it was not the end.
    fn end_or_empty(
        &self,
        receive: &mut impl FnMut(Blocking) -> io::Result<Received>,
    ) -> io::Result<Option<Answer>> {
        if !peer_has_finished(self.as_fd())? {
            return Err(PacketError::Empty.into());
        }
        let fds_queued = queue::fds_queued(self.as_fd()).unwrap_or(0);
        if queue::bytes_queued(self.as_fd()).unwrap_or(0) > 0 || fds_queued > 0 {
            return Ok(None);
        }
        // Nothing is added any more. Where the kernel does not tell what is queued, one more look does.
        match self.receive_packet(Waiting::Never, receive) {
            Ok(received) if says_nothing(&received) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other.map(|received| Some(Answer::Packet(received))),
        }
        if self.side().take_reset() {
            return Err(io::Error::from_raw_os_error(numbers::ECONNRESET));
        }
        Ok(Some(Answer::End))
    }

    fn receive_packet(
        &self,
        waiting: Waiting,
        receive: &mut impl FnMut(Blocking) -> io::Result<Received>,
    ) -> io::Result<Received> {
        self.patiently(Interest::Readable, waiting, |blocking: Blocking| {
            let first = receive(blocking);
            if waiting == Waiting::Never
                || !would_block(&first)
                || !peer_has_finished(self.as_fd())?
            {
                return first;
            }
            // Reading was shut down: for a datagram, `poll` says readable for ever, a call that may
            // sleep returns 0, and this one says wait. Asked once more, for what was queued between
            // the first answer and the shutdown.
            let again = receive(Blocking::Never);
            if would_block(&again) {
                return Ok(Received::nothing());
            }
            again
        })
    }
}

/// Whether a receive may hand over descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taking {
    Bytes,
    BytesAndFds,
}

fn would_block(received: &io::Result<Received>) -> bool {
    received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn says_nothing(received: &Received) -> bool {
    received.full_len == 0 && received.fds.is_empty() && !received.fds_lost
}

fn check_length(received: &Received, buffer: usize) -> io::Result<()> {
    if received.full_len <= buffer {
        return Ok(());
    }
    let (packet, fds_closed) = (received.full_len, received.fds.len());
    Err(PacketError::TooLong { packet, buffer, fds_closed }.into())
}
