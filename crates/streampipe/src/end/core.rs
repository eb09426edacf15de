//! One handle of one end: where waiting, descriptors and refusals are decided, for all types.
//!
//! Rules of this file:
//!
//! 1. An operation that returns an error has consumed nothing and sent nothing, except where its
//!    error says otherwise ([`PacketError::TooLong`]). (Linux itself breaks this for datagrams: a
//!    refused send discards what was not received.)
//! 2. Descriptors go with the first byte of a send, exactly once: after the kernel has taken a
//!    byte, no later step of the same call carries control data.
//! 3. What cannot be handed over is held for the next receive, never dropped.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use streampipe_ring::Half;
use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::message::{self, Blocking, Carries, Received};
use streampipe_sys::open::{self, numbers};
use streampipe_sys::wait::Interest;
use streampipe_sys::{fd, pipe, queue, sockopt, table, wait};

use super::held::Held;
use super::modes::{Modes, Waiting};
use super::pipes::{Outlet, ReadPipe};
use super::shared::{Link, Refusal, Side};
#[cfg(feature = "tokio")]
use super::watch::Life;
use super::watch::Watch;
use super::{ConvertError, FdError};
use crate::call::{Family, Type};
use crate::policy::FdPolicy;
use crate::ring::{Cut, Line, Ring, Taking, Wait};

/// The most buffers one call takes (`UIO_MAXIOV`); the rest waits for the next call, as in std.
const MOST_BUFFERS: usize = 1024;

/// Held from a look for room in the descriptor table until what comes has taken it.
pub(crate) static ROOM: Mutex<()> = Mutex::new(());

const NO_FDS_IN_PIPES: &str = "this end is two pipes, and descriptors travel over sockets only";

/// A handle of an end.
#[derive(Debug)]
pub(crate) struct End {
    /// Before `fd`, so that the number leaves the list before it can mean something else.
    link: Link,
    pub(super) fd: OwnedFd,
    pub(super) modes: Modes,
    /// Where writes go if not to `fd`, which is the reading pipe then.
    pub(super) outlet: Option<Arc<Outlet>>,
    /// The direction of that pipe.
    pub(super) read_pipe: Option<Arc<ReadPipe>>,
    /// The process whose death ends every wait.
    pub(super) watch: Option<Watch>,
    /// What carries the bytes if not the socket. Behind `fd`: who is woken by its drop finds that closed.
    ring: Option<Arc<Ring>>,
}

impl End {
    pub(super) fn pair(kind: Type) -> io::Result<(Self, Self)> {
        let (first, second) = open::socketpair(Family::LOCAL.as_raw(), kind.as_raw(), 0)?;
        let (one, other) = Link::for_pair(first.as_raw_fd(), second.as_raw_fd());
        Ok((Self::new(one, first), Self::new(other, second)))
    }

    fn new(link: Link, fd: OwnedFd) -> Self {
        Self {
            link,
            fd,
            modes: Modes::default(),
            outlet: None,
            read_pipe: None,
            watch: None,
            ring: None,
        }
    }

    /// An end that is two pipes, one to read from and one to write to.
    ///
    /// Before it is used, it must be told the process to [`watch`](Self::watch).
    pub(crate) fn from_pipes(reader: OwnedFd, writer: OwnedFd) -> Self {
        let outlet = Some(Arc::new(Outlet::new(writer)));
        let link = Link::for_one(reader.as_raw_fd());
        Self { outlet, read_pipe: Some(Arc::default()), ..Self::new(link, reader) }
    }

    /// From now on, bytes go through the ring, and the socket is its lifeline.
    pub(crate) fn run_over(&mut self, ring: Ring) {
        self.ring = Some(Arc::new(ring));
    }

    /// The ring, and what it needs of this handle.
    #[inline]
    pub(crate) fn ring(&self) -> Option<(&Ring, Line<'_>)> {
        let ring = self.ring.as_deref()?;
        let line = Line {
            fd: self.fd.as_fd(),
            watch: self.watch.as_ref(),
            wait: self.modes.wait(),
            refuses_fds: self.refuses_fds(),
        };
        Some((ring, line))
    }

    #[inline]
    pub(crate) fn is_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// From now on, no wait of this handle, or of one made from it, outlasts the process.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Takes over a descriptor, if it is a socket of this type that is not listening.
    pub(super) fn adopt(
        fd: OwnedFd,
        kind: Type,
        wanted: &'static str,
    ) -> Result<Self, ConvertError> {
        let found = match sockopt::socket_kind(&fd) {
            Ok(found) => found,
            Err(error) => return Err(ConvertError::new(fd, wanted, error.to_string())),
        };
        let (domain, found_kind) = (Family::from_raw(found.domain), Type::from_raw(found.kind));
        if domain != Family::LOCAL || found_kind != kind {
            let text = format!("it is of family {domain} and type {found_kind}");
            return Err(ConvertError::new(fd, wanted, text));
        }
        if found.listens {
            return Err(ConvertError::new(fd, wanted, "it is listening".to_owned()));
        }
        let modes = Modes::default();
        modes.set_nonblocking(fd::is_nonblocking(&fd).unwrap_or(false));
        Ok(Self { modes, ..Self::new(Link::for_one(fd.as_raw_fd()), fd) })
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Bounds the calls of this handle, in both directions.
    pub(crate) fn set_timeouts(&self, timeout: Option<Duration>) {
        // Refused for zero only, which leaves them unbounded.
        let _ = self.modes.read_timeout().set(timeout);
        let _ = self.modes.write_timeout().set(timeout);
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let fd = fd::duplicate(&self.fd)?;
        let copy = Self {
            link: self.link.for_clone(fd.as_raw_fd()),
            fd,
            modes: self.modes.clone(),
            outlet: self.outlet.clone(),
            read_pipe: self.read_pipe.clone(),
            watch: self.watch.clone(),
            ring: self.ring.clone(),
        };
        if copy.has_ended_reading_pipe() {
            // Perhaps after the descriptor was duplicated, and before anybody knew of the copy.
            copy.close_read_pipe()?;
        }
        Ok(copy)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    #[inline]
    pub(super) fn side(&self) -> &Side {
        self.link.side()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Some(ring) = &self.ring {
            if how != Shutdown::Read {
                ring.end(Half::Writing, self.fd.as_fd())?;
            }
            if how != Shutdown::Write {
                ring.end(Half::Reading, self.fd.as_fd())?;
            }
            return Ok(());
        }
        let Some(outlet) = &self.outlet else {
            return sockopt::shutdown(self.fd.as_fd(), how);
        };
        if how != Shutdown::Read {
            outlet.close();
        }
        if let (Some(pipe), true) = (&self.read_pipe, how != Shutdown::Write) {
            pipe.end(self.fd.as_fd(), |queued| self.side().hold(Held::new(queued, Vec::new())));
            let closed = self.close_read_pipe();
            pipe.wake();
            closed?;
        }
        Ok(())
    }

    /// Closes the reading pipe of an end that is two, for all its handles.
    fn close_read_pipe(&self) -> io::Result<()> {
        self.link.with_all(|numbers| pipe::end_reading(numbers))
    }

    pub(crate) fn refuse_fds(&self) -> io::Result<()> {
        if self.outlet.is_some() {
            // None can come through a pipe.
            return Ok(());
        }
        // First, so that nothing is handed over between the two steps.
        self.side().refuse(Refusal::OnReceipt);
        self.side().close_held_fds();
        if let Some((ring, line)) = self.ring() {
            ring.close_held_fds(&line)?;
        }
        match sockopt::refuse_rights(self.fd.as_fd()) {
            Ok(()) => {}
            // Linux before 6.16, or a filter: closing what arrives is all there is.
            Err(error) if sockopt::is_unknown_option(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        // Of a ring, notes go on coming through the lifeline, and are asked for what came with them.
        if self.ring.is_none() && queue::fds_queued(&self.fd) == Some(0) {
            self.side().refuse(Refusal::ByKernel);
        }
        Ok(())
    }

    /// From now on, takes such descriptors alone.
    pub(crate) fn accept_fds(&self, policy: FdPolicy) {
        self.side().accept(policy);
    }

    /// Which descriptors are taken, if not all.
    pub(crate) fn accepted_fds(&self) -> Option<&FdPolicy> {
        self.side().accepted()
    }

    pub(super) fn allow_self(&self) {
        self.side().allow_self();
    }

    // --- streams ---

    #[inline]
    pub(crate) fn read(&self, buffer: &mut [u8], waiting: Waiting) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some((ring, line)) = self.ring() {
            if self.side().held().is_none() {
                let buffers = &mut [IoSliceMut::new(buffer)];
                return ring.read(&line, buffers, Taking::Bytes, waiting).map(|it| it.len);
            }
        }
        if self.side().refusal() == Refusal::ByKernel && self.side().held().is_none() {
            return self.patiently(Interest::Readable, waiting, |blocking| {
                message::recv_bytes(self.fd.as_fd(), buffer, blocking)
            });
        }
        self.read_vectored(&mut [IoSliceMut::new(buffer)], waiting)
    }

    #[inline]
    pub(super) fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        let most = buffers.len().min(MOST_BUFFERS);
        let buffers = &mut buffers[..most];
        if let Some(mut held) = self.side().held() {
            let Some(front) = held.front_mut() else { return Ok(0) };
            if !front.fds.is_empty() {
                let (count, bytes) = (front.fds.len(), front.len());
                return Err(FdError::Waiting { count, bytes }.into());
            }
            let moved = front.scatter(buffers);
            self.side().settle(&mut held);
            return Ok(moved);
        }
        if let Some((ring, line)) = self.ring() {
            return ring.read(&line, buffers, Taking::Bytes, waiting).map(|it| it.len);
        }
        let received = self.receive(buffers, waiting)?;
        if received.len == 0 && self.side().held().is_some() {
            // While this call slept, another thread met descriptors: that comes before the end.
            return self.read_vectored(buffers, waiting);
        }
        if received.fds.is_empty() && !received.fds_lost {
            return Ok(received.len);
        }
        Err(self.keep_for_later(buffers, received))
    }

    /// Receives bytes and descriptors, if these are such as are accepted. Else all of them close, and the bytes come again.
    pub(crate) fn recv_fds(
        &self,
        buffer: &mut [u8],
        waiting: Waiting,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        let (len, mut fds) = self.recv_any_fds(buffer, waiting)?;
        let checked = self.accepted_fds().map_or(Ok(()), |policy| policy.check_incoming(&mut fds));
        if let Err(wrong) = checked {
            self.put_back(buffer[..len].to_vec());
            return Err(wrong.into());
        }
        Ok((len, fds))
    }

    fn recv_any_fds(
        &self,
        buffer: &mut [u8],
        waiting: Waiting,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        if buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a buffer of 0 bytes: descriptors travel with at least 1",
            ));
        }
        let buffers = &mut [IoSliceMut::new(buffer)];
        if let Some(taken) = self.take_held_fds(buffers) {
            return Ok(taken);
        }
        if let Some((ring, line)) = self.ring() {
            let received = ring.read(&line, buffers, Taking::Fds, waiting)?;
            return Ok((received.len, received.fds));
        }
        let received = self.receive(buffers, waiting)?;
        if received.len == 0 {
            // What another thread met while this call slept comes before the end.
            if let Some(taken) = self.take_held_fds(buffers) {
                return Ok(taken);
            }
        }
        if self.must_not_hand_over(&received) {
            return Err(self.keep_for_later(buffers, received));
        }
        Ok((received.len, received.fds))
    }

    /// Makes bytes that were read come first again.
    pub(super) fn put_back(&self, bytes: Vec<u8>) {
        self.side().hold_in_front(Held::new(bytes, Vec::new()));
    }

    /// Makes what was taken by [`take_held_bytes`](Self::take_held_bytes) come first again.
    pub(super) fn hold_again(&self, held: Held) {
        self.side().hold_in_front(held);
    }

    /// Takes what is held, up to the first descriptors, until it is at least so many bytes.
    ///
    /// Without copying what was held in one piece, as all is that a call has held again.
    #[inline]
    pub(super) fn take_held_bytes(&self, enough: usize) -> Option<Held> {
        self.side().held().map(|held| self.take_bytes_of(held, enough))
    }

    #[cold]
    fn take_bytes_of(&self, mut held: MutexGuard<'_, VecDeque<Held>>, enough: usize) -> Held {
        let mut taken = Held::nothing();
        while taken.len() < enough && held.front().is_some_and(|front| front.fds.is_empty()) {
            let front = held.pop_front();
            front.into_iter().for_each(|front| taken.append(front));
        }
        self.side().settle(&mut held);
        taken
    }

    fn take_held_fds(&self, buffers: &mut [IoSliceMut<'_>]) -> Option<(usize, Vec<OwnedFd>)> {
        let mut held = self.side().held()?;
        let front = held.front_mut()?;
        let moved = front.scatter(buffers);
        let fds = std::mem::take(&mut front.fds);
        self.side().settle(&mut held);
        Some((moved, fds))
    }

    #[inline]
    pub(crate) fn write(&self, bytes: &[u8], waiting: Waiting) -> io::Result<usize> {
        if let Some((ring, line)) = self.ring() {
            return ring.write(&line, &[IoSlice::new(bytes)], Cut::Anywhere, waiting);
        }
        if let Some(outlet) = &self.outlet {
            return self.write_to_pipe(outlet, &[IoSlice::new(bytes)], waiting);
        }
        self.patiently(Interest::Writable, waiting, |blocking| {
            message::send(self.fd.as_fd(), bytes, blocking)
        })
    }

    pub(crate) fn write_vectored(
        &self,
        bytes: &[IoSlice<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(MOST_BUFFERS)];
        if let Some((ring, line)) = self.ring() {
            return ring.write(&line, bytes, Cut::Anywhere, waiting);
        }
        if let Some(outlet) = &self.outlet {
            return self.write_to_pipe(outlet, bytes, waiting);
        }
        self.patiently(Interest::Writable, waiting, |blocking| {
            message::send_with_fds(self.fd.as_fd(), bytes, &[], blocking)
        })
    }

    /// Sends bytes with descriptors on the first of them; goes on until all bytes are sent, or
    /// the first step after which the kernel takes no more.
    pub(crate) fn send_fds(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        if bytes.is_empty() && !fds.is_empty() {
            return Err(FdError::NoBytes { given: fds.len() }.into());
        }
        let mut sent = self.send_with_fds(bytes, fds, waiting)?;
        // From here on the descriptors are the kernel's: an error would say they were not sent.
        while sent < bytes.len() && waiting != Waiting::Never && !waiting.is_over() {
            match self.write(&bytes[sent..], waiting) {
                Ok(more) if more > 0 => sent += more,
                Ok(_) | Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Receives bytes of an end that carries messages, and at most so many descriptors. 0 bytes are the end.
    #[inline]
    pub(crate) fn recv_due(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        due: usize,
        waiting: Waiting,
    ) -> io::Result<Received> {
        if let Some(held) = self.take_anything_held(buffers) {
            return Ok(held);
        }
        if let Some((ring, line)) = self.ring() {
            return ring.read(&line, buffers, Taking::Due(due), waiting);
        }
        if self.outlet.is_some() {
            let received = self.receive(buffers, waiting)?;
            // What was queued when another thread ended the direction comes before the end.
            let held = (received.len == 0).then(|| self.take_anything_held(buffers)).flatten();
            return Ok(held.unwrap_or(received));
        }
        self.patiently(Interest::Readable, waiting, |blocking| {
            self.recv_into_room(buffers, due, Carries::Bytes, blocking)
        })
    }

    /// One receive that takes descriptors only if there is room for all that are due.
    #[inline]
    pub(super) fn recv_into_room(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        due: usize,
        carries: Carries,
        blocking: Blocking,
    ) -> io::Result<Received> {
        if due == 0 {
            return message::recv_due(self.fd.as_fd(), buffers, due, carries, blocking);
        }
        // Whether there is room is asked for what has come, not for what was only announced.
        if !self.is_readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Other receives of this library do not take the room between the two steps.
        let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        table::look_for_room(due, &self.fd)?;
        message::recv_due(self.fd.as_fd(), buffers, due, carries, Blocking::Never)
    }

    /// Asks for room for so many bytes on their way, if there is less; the system may give less.
    pub(crate) fn make_room(&self, bytes: usize) -> io::Result<()> {
        if self.outlet.is_some() || self.is_ring() {
            return Ok(());
        }
        sockopt::make_send_room(self.fd.as_fd(), bytes)
    }

    /// How many bytes may be on their way at most; more than it ever is if that is not known.
    pub(crate) fn send_room(&self) -> usize {
        if let Some(ring) = &self.ring {
            return ring.capacity();
        }
        if self.outlet.is_some() {
            return usize::MAX;
        }
        sockopt::send_room(self.fd.as_fd()).unwrap_or(usize::MAX)
    }

    /// How many bytes of payload in a frame are taken as a whole or not at all, whatever room there is.
    pub(crate) fn taken_whole(&self) -> usize {
        /// A socket with our room puts so much into one buffer.
        const OF_A_SOCKET: usize = 16 << 10;
        /// As much as a pipe takes at once, and as [`Cut::NotIfFew`] says.
        const OF_OTHERS: usize = 1024;
        if self.is_ring() || self.is_two_pipes() || self.send_room() < 8 * OF_A_SOCKET {
            OF_OTHERS
        } else {
            OF_A_SOCKET
        }
    }

    /// Stops asking the kernel who sent what.
    pub(crate) fn stop_attesting(&self) {
        if self.outlet.is_none() {
            // Refused where it cannot be asked for either.
            let _ = sockopt::attest_credentials(self.fd.as_fd(), false);
            let _ = sockopt::attest_pidfd(self.fd.as_fd(), false);
        }
    }

    /// Whether there is something to receive, or the end.
    pub(crate) fn is_readable(&self) -> bool {
        if let Some((ring, line)) = self.ring() {
            return ring.is_readable(&line);
        }
        wait::is_readable(self.fd.as_fd()).unwrap_or(true)
    }

    /// Whether something was received that nobody has taken yet.
    ///
    /// Of a ring, something may always be there of which the socket does not know. A pipe whose reading was ended is at its
    /// end, of which nobody else knows.
    pub(crate) fn holds_something(&self) -> bool {
        self.is_ring() || self.holds_bytes() || self.has_ended_reading_pipe()
    }

    fn has_ended_reading_pipe(&self) -> bool {
        self.read_pipe.as_ref().is_some_and(|pipe| pipe.is_ended())
    }

    /// What rings when the reading of an end that is two pipes is ended.
    #[cfg(feature = "tokio")]
    pub(crate) fn end_of_reading(&self) -> Option<BorrowedFd<'_>> {
        self.read_pipe.as_ref().and_then(|pipe| pipe.bell()).map(AsFd::as_fd)
    }

    /// Whether bytes were put back, or met descriptors, and come first.
    pub(super) fn holds_bytes(&self) -> bool {
        self.side().held().is_some()
    }

    /// How many notes were heard over the lifeline of a ring.
    pub(crate) fn notes_heard(&self) -> u64 {
        self.ring.as_ref().map_or(0, |ring| ring.heard())
    }

    /// How many bytes there are to receive.
    pub(crate) fn bytes_queued(&self) -> io::Result<u64> {
        match self.ring() {
            Some((ring, line)) => ring.bytes_queued(&line),
            None => queue::bytes_queued(self.fd.as_fd()),
        }
    }

    /// Sets the send buffer's size in bytes, and returns it; of a ring, it stays what it is.
    pub(super) fn set_send_buffer_size(&self, bytes: usize) -> io::Result<usize> {
        if !self.is_ring() {
            sockopt::set_send_buffer_size(self.as_fd(), bytes)?;
        }
        self.send_buffer_size()
    }

    pub(super) fn send_buffer_size(&self) -> io::Result<usize> {
        match &self.ring {
            Some(ring) => Ok(ring.capacity()),
            None => sockopt::send_buffer_size(self.as_fd()),
        }
    }

    pub(super) fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<usize> {
        if !self.is_ring() {
            sockopt::set_recv_buffer_size(self.as_fd(), bytes)?;
        }
        self.recv_buffer_size()
    }

    pub(super) fn recv_buffer_size(&self) -> io::Result<usize> {
        match &self.ring {
            Some(ring) => Ok(ring.capacity()),
            None => sockopt::recv_buffer_size(self.as_fd()),
        }
    }

    pub(crate) fn is_two_pipes(&self) -> bool {
        self.outlet.is_some()
    }

    /// The writing pipe, if this end is two; while somebody holds it, it does not close.
    #[cfg(feature = "tokio")]
    pub(crate) fn outlet_pipe(&self) -> Option<Arc<OwnedFd>> {
        self.outlet.as_ref().and_then(|outlet| outlet.pipe())
    }

    /// The process at the other end, if it is known.
    #[cfg(feature = "tokio")]
    pub(crate) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(|watch| watch.pidfd())
    }

    /// Whether that process was seen to have ended.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_known_to_be_gone(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.known_life() != Life::Lives)
    }

    pub(super) fn set_wait(&self, wait: Wait) {
        self.modes.set_wait(wait);
    }

    pub(super) fn wait(&self) -> Wait {
        self.modes.wait()
    }

    /// Says that the peer is not trusted.
    pub(crate) fn set_wary(&self) {
        self.modes.set_wary();
    }

    pub(crate) fn is_wary(&self) -> bool {
        self.modes.is_wary()
    }

    /// Makes this handle wait, whatever flag whoever sent it has set on the socket.
    pub(crate) fn wait_from_now_on(&self) {
        self.modes.set_nonblocking(false);
    }

    /// How a read that starts now may wait.
    pub(crate) fn read_waiting(&self) -> Waiting {
        self.modes.reading()
    }

    /// How a write that starts now may wait.
    pub(crate) fn write_waiting(&self) -> Waiting {
        self.modes.writing()
    }

    /// Whether descriptors that come are not to be taken.
    pub(crate) fn refuses_fds(&self) -> bool {
        self.side().refusal() != Refusal::None
    }

    // --- shared by streams and packets ---

    /// What an earlier call left for the next one. If it does not fit, it is cut, and says so.
    #[inline]
    pub(super) fn take_anything_held(&self, buffers: &mut [IoSliceMut<'_>]) -> Option<Received> {
        let mut held = self.side().held()?;
        let front = held.front_mut()?;
        let full_len = front.len();
        let len = front.scatter(buffers);
        let fds = std::mem::take(&mut front.fds);
        self.side().settle(&mut held);
        Some(Received { len, full_len, fds, ..Received::nothing() })
    }

    /// One send with descriptors, after the checks that need no call.
    pub(super) fn send_with_fds(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        self.send_parts(&[IoSlice::new(bytes)], fds, Cut::Anywhere, waiting)
    }

    /// The same from several places. A socket takes few bytes whole, or none of them, whatever `cut` says.
    pub(crate) fn send_parts(
        &self,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        cut: Cut,
        waiting: Waiting,
    ) -> io::Result<usize> {
        if fds.len() > MAX_FDS {
            return Err(FdError::TooMany { given: fds.len(), limit: MAX_FDS }.into());
        }
        if let Some(outlet) = &self.outlet {
            if !fds.is_empty() {
                return Err(io::Error::new(io::ErrorKind::Unsupported, NO_FDS_IN_PIPES));
            }
            return self.write_to_pipe(outlet, parts, waiting);
        }
        if !fds.is_empty() && !self.side().allows_self() {
            let given = fds.iter().map(AsRawFd::as_raw_fd);
            if let Some(index) = self.link.find_own(given) {
                return Err(FdError::OverItself { index }.into());
            }
        }
        if let Some((ring, line)) = self.ring() {
            return if fds.is_empty() {
                ring.write(&line, parts, cut, waiting)
            } else {
                ring.send_fds(&line, parts, fds, cut, waiting)
            };
        }
        self.patiently(Interest::Writable, waiting, |blocking| {
            message::send_with_fds(self.fd.as_fd(), parts, fds, blocking)
        })
    }

    pub(super) fn must_not_hand_over(&self, received: &Received) -> bool {
        let refused = !received.fds.is_empty() && self.side().refusal() != Refusal::None;
        received.fds_lost || refused
    }

    /// Holds what was received, closing the descriptors if they are not complete or not wanted.
    pub(super) fn keep_for_later(
        &self,
        buffers: &[IoSliceMut<'_>],
        received: Received,
    ) -> io::Error {
        let (bytes, count) = (received.len, received.fds.len());
        let error = if self.side().refusal() != Refusal::None {
            FdError::Refused { arrived: count, bytes }
        } else if received.fds_lost {
            FdError::Lost { arrived: count, bytes }
        } else {
            FdError::Waiting { count, bytes }
        };
        let kept = if matches!(error, FdError::Waiting { .. }) { received.fds } else { Vec::new() };
        self.side().hold(Held::gather(buffers, bytes, kept));
        error.into()
    }

    #[inline]
    pub(super) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        waiting: Waiting,
    ) -> io::Result<Received> {
        if let Some(pipe) = &self.read_pipe {
            let len = self
                .patiently(Interest::Readable, waiting, |_| pipe.read(self.fd.as_fd(), buffers))?;
            return Ok(Received { len, full_len: len, ..Received::nothing() });
        }
        self.patiently(Interest::Readable, waiting, |blocking| {
            message::recv(self.fd.as_fd(), buffers, blocking)
        })
    }

    fn write_to_pipe(
        &self,
        outlet: &Outlet,
        bytes: &[IoSlice<'_>],
        waiting: Waiting,
    ) -> io::Result<usize> {
        self.patiently(Interest::Writable, waiting, |_| match outlet.pipe() {
            Some(pipe) => pipe::write(pipe.as_fd(), bytes),
            None => Err(io::Error::from_raw_os_error(numbers::EPIPE)),
        })
    }
}
