use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use streampipe_wire::Kind;

use super::{Messages, RawRequest};
use crate::end::Waiting;
use crate::message::{
    Arrived, Budget, CallError, Core, Message, Outbound, RecvError, SendError, SendReason, Want,
};
use crate::{ConvertError, FdPolicy, SeqPacket, Stream};

/// A channel for whole messages of bytes and descriptors, for those who bring their own encoding.
///
/// Traps first:
///
/// - Both sides sending more than there is room for before either receives is a deadlock, as with any pipe. Use the forms
///   with a deadline, or two threads: every method takes `&self`.
/// - The kernel counts its own memory as well: there is room for 683 messages of 1 byte, or 32 of 10,000 bytes.
/// - A send that succeeded says "queued", not "received".
/// - Descriptors are passed before the message is handed over. A full descriptor table is the error
///   [`RecvError::NoRoom`], which leaves the message where it is.
/// - The peer speaks the same protocol (`doc/PROTOCOL.md`): bytes that are written past this type are
///   [`RecvError::Malformed`].
///
/// A message arrives whole or not at all, with its own descriptors and no others, in the order of the sends. Its size
/// is bounded by the receiver's [`Budget`]. Threads that send at the same time wait for each other; their
/// messages do not mix. The memory of a received payload is used again when it is dropped.
///
/// [`pair`](Self::pair) makes one of packets (`SOCK_SEQPACKET`); a [`Stream`] turns into one, too.
///
/// # Examples
///
/// ```
/// use std::fs::File;
/// use std::os::fd::AsFd;
/// use streampipe::RawChannel;
///
/// let (ours, theirs) = RawChannel::pair()?;
/// let file = File::open("/etc/passwd")?;
/// ours.send(b"take this", &[file.as_fd()])?;
///
/// let message = theirs.recv()?;
/// assert_eq!(message.bytes, b"take this");
/// let file = File::from(message.fds.into_iter().next().expect("one was sent"));
/// # drop(file);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawChannel {
    core: Arc<Core>,
}

impl RawChannel {
    /// Makes both ends of a channel: connected, unnamed, close-on-exec from birth.
    ///
    /// # Errors
    ///
    /// Those of [`SeqPacket::pair`].
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = SeqPacket::pair()?;
        Ok((Self::from(a), Self::from(b)))
    }

    /// Sends a message: a payload of any length, 0 included, and any number of descriptors.
    ///
    /// After `Ok`, the kernel holds its own copies of all the descriptors, and the caller may close theirs. Waits for
    /// room, and for other threads that send.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing of the message reaches the peer then. If the end has a write timeout, it is
    /// [`TimedOut`](crate::SendReason::TimedOut); if it does not wait, as [`try_send`](Self::try_send).
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        self.send_within(bytes, fds, self.core.end().write_waiting())
    }

    /// Sends a message if that takes no waiting.
    ///
    /// A message of more than there is ever room for at once (512 KiB over a socket; about 320 KB fit in practice) is
    /// always [`Full`](crate::SendReason::Full). It waits a moment, up to 10 ms, for another thread that is sending.
    ///
    /// # Errors
    ///
    /// [`Full`](crate::SendReason::Full), or as [`send`](Self::send).
    pub fn try_send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        self.send_within(bytes, fds, Waiting::Never)
    }

    /// Sends a message, within this time for all of it.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::SendReason::TimedOut), or as [`send`](Self::send).
    pub fn send_timeout(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.send_within(bytes, fds, Waiting::within(timeout))
    }

    /// Sends a message, all of it before this instant.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.send_within(bytes, fds, Waiting::Until(deadline))
    }

    /// Receives the next message.
    ///
    /// # Errors
    ///
    /// [`RecvError`]. If the end has a read timeout, it is [`TimedOut`](RecvError::TimedOut); if it does not wait, as
    /// [`try_recv`](Self::try_recv).
    pub fn recv(&self) -> Result<Message, RecvError> {
        self.recv_within(self.core.end().read_waiting())
    }

    /// Receives a message if all of one has come.
    ///
    /// One call takes at most about 1,000 frames, so that a peer that sends on and on does not keep it; what came of a
    /// message of more is kept for the next call. If another thread is in a receive, this one waits a moment for what that
    /// one has in hand.
    ///
    /// # Errors
    ///
    /// [`Empty`](RecvError::Empty), or as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Message, RecvError> {
        self.recv_within(Waiting::Never)
    }

    /// Receives a message, waiting for at most so long for all of it.
    ///
    /// A peer that sends a byte now and then does not make it longer. When the time is over, also at once, it takes what
    /// [`try_recv`](Self::try_recv) takes. If this process has no room for the message's descriptors, it waits for that,
    /// too.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](RecvError::TimedOut), or as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, RecvError> {
        self.recv_within(Waiting::within(timeout))
    }

    /// Receives a message, waiting at most until this instant for all of it.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Message, RecvError> {
        self.recv_within(Waiting::Until(deadline))
    }

    /// Receives messages until the peer has closed its end; an error that is final is the last item.
    #[must_use]
    pub fn iter(&self) -> Messages<'_> {
        Messages::new(self)
    }

    // --- calls ---

    /// Sends a request, and waits for its answer.
    ///
    /// The other side gives it by [`recv_request`](Self::recv_request). Both sides may call, and many threads at once: one of
    /// those that wait reads for all.
    ///
    /// # Errors
    ///
    /// [`CallError`]: at once if the peer goes, or drops the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use streampipe::RawChannel;
    ///
    /// let (client, server) = RawChannel::pair()?;
    /// let serving = thread::spawn(move || {
    ///     let request = server.recv_request()?;
    ///     let answer = request.message().bytes.to_ascii_uppercase();
    ///     request.answer(&answer, &[])?;
    ///     Ok::<_, std::io::Error>(())
    /// });
    /// assert_eq!(client.call(b"shout", &[])?.bytes, b"SHOUT");
    /// serving.join().expect("no panic")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn call(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Message, CallError> {
        let end = self.core.end();
        self.call_within(bytes, fds, end.write_waiting(), end.read_waiting())
    }

    /// Sends a request, and waits for its answer, for at most so long in all.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); see [`CallError::is_timeout`].
    pub fn call_timeout(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<Message, CallError> {
        let waiting = Waiting::within(timeout);
        self.call_within(bytes, fds, waiting, waiting)
    }

    /// Sends a request, and waits for its answer, at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`call_timeout`](Self::call_timeout).
    pub fn call_deadline(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<Message, CallError> {
        let waiting = Waiting::Until(deadline);
        self.call_within(bytes, fds, waiting, waiting)
    }

    /// Receives the next request.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_request(&self) -> Result<RawRequest<'_>, RecvError> {
        self.request_within(self.core.end().read_waiting())
    }

    /// Receives a request if all of one has come.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_request(&self) -> Result<RawRequest<'_>, RecvError> {
        self.request_within(Waiting::Never)
    }

    /// Receives a request, waiting for at most so long.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_request_timeout(&self, timeout: Duration) -> Result<RawRequest<'_>, RecvError> {
        self.request_within(Waiting::within(timeout))
    }

    /// Receives a request, waiting at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`recv_request_timeout`](Self::recv_request_timeout).
    pub fn recv_request_deadline(&self, deadline: Instant) -> Result<RawRequest<'_>, RecvError> {
        self.request_within(Waiting::Until(deadline))
    }

    /// Returns how many answers came that nobody waited for any more; they were dropped, and their descriptors closed.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.core.late_answers()
    }

    // --- settings ---

    /// Sets what this end is willing to take, from the next message on.
    pub fn set_budget(&self, budget: Budget) {
        self.core.set_budget(budget);
    }

    /// Returns what this end is willing to take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.core.budget()
    }

    /// Sets which descriptors are accepted, and which may be sent.
    ///
    /// A received descriptor that is not accepted is [`RecvError::WrongFd`], which has it inside; one that may not be
    /// sent is [`SendReason::RefusedFd`](crate::SendReason::RefusedFd). At the end of a child that was started as
    /// [untrusted](crate::Command::untrusted), the policy is [`untrusted_peer`](FdPolicy::untrusted_peer) to begin with,
    /// and the budget [small](Budget::small).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use streampipe::{FdPolicy, FdRule, RawChannel, RecvError};
    ///
    /// let (ours, theirs) = RawChannel::pair()?;
    /// ours.set_policy(FdPolicy::new().accept(FdRule::pipe()));
    /// theirs.send(b"no pipe", &[std::fs::File::open("/etc/passwd")?.as_fd()])?;
    /// let Err(RecvError::WrongFd(wrong)) = ours.recv() else { panic!("a file is no pipe") };
    /// # drop(wrong.into_fd());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_policy(&self, policy: FdPolicy) {
        self.core.set_policy(policy);
    }

    /// Has a receive ask again and again for so long before it sleeps; not at all by default.
    ///
    /// It burns a processor meanwhile, and is worth it where the peer has another one and answers within microseconds: the
    /// round trip then takes no wake-up, which is 10 times as long as the rest of it (RESULTS.md). Where both share a
    /// processor it only delays.
    #[doc(alias = "SO_BUSY_POLL")]
    pub fn set_busy_poll(&self, time: Duration) {
        self.core.set_busy_poll(time);
    }

    /// Ends one or both directions, for all copies of this end.
    ///
    /// After `Write`, the peer receives what is queued, and then [`Closed`](RecvError::Closed).
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.core.shutdown(how)
    }

    /// Keeps descriptors out, as [`Stream::refuse_fds`]; a message that has some all the same is
    /// [`TooLarge`](RecvError::TooLarge).
    ///
    /// # Errors
    ///
    /// Those of [`Stream::refuse_fds`].
    pub fn refuse_fds(&self) -> io::Result<()> {
        self.core.end().refuse_fds()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn into_core(self) -> Arc<Core> {
        self.core
    }

    fn send_within(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        waiting: Waiting,
    ) -> Result<(), SendError> {
        let message = Outbound { kind: Kind::Message, id: 0, parts: &[bytes], fds: &fds };
        self.core.send(&message, waiting).map_err(|reason| SendError::new((), reason))
    }

    fn call_within(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        sending: Waiting,
        receiving: Waiting,
    ) -> Result<Message, CallError> {
        if sending.is_over() {
            return Err(CallError::NotSent(SendError::new((), SendReason::TimedOut)));
        }
        let call = self.core.open_call();
        let request = Outbound { kind: Kind::Request, id: call.id, parts: &[bytes], fds: &fds };
        if let Err(reason) = self.core.send_request(&request, sending) {
            call.cancel();
            return Err(CallError::NotSent(SendError::new((), reason)));
        }
        let answer = self.core.receive(Want::Answer(call.id), receiving);
        let Arrived { kind, bytes, fds, .. } = answer.map_err(CallError::NotReceived)?;
        if kind == Kind::NoAnswer { Err(CallError::NoAnswer) } else { Ok(Message { bytes, fds }) }
    }

    fn request_within(&self, waiting: Waiting) -> Result<RawRequest<'_>, RecvError> {
        let arrived = self.core.receive(Want::Request, waiting)?;
        Ok(RawRequest::new(arrived, &self.core))
    }

    fn recv_within(&self, waiting: Waiting) -> Result<Message, RecvError> {
        let Arrived { bytes, fds, .. } = self.core.receive(Want::Message, waiting)?;
        Ok(Message { bytes, fds })
    }
}

impl<'channel> IntoIterator for &'channel RawChannel {
    type Item = Result<Message, RecvError>;
    type IntoIter = Messages<'channel>;

    fn into_iter(self) -> Messages<'channel> {
        self.iter()
    }
}

/// Frames follow each other in the stream. Bytes that were received and held are not lost; descriptors that were, by a
/// plain read, come at a time when none are due, which is [`RecvError::UnexpectedFds`].
impl From<Stream> for RawChannel {
    fn from(stream: Stream) -> Self {
        Self { core: Arc::new(stream.into_core()) }
    }
}

/// Each frame is a packet.
impl From<SeqPacket> for RawChannel {
    fn from(end: SeqPacket) -> Self {
        Self { core: Arc::new(end.into_core()) }
    }
}

/// For a socket of either type.
impl TryFrom<OwnedFd> for RawChannel {
    type Error = ConvertError;

    fn try_from(fd: OwnedFd) -> Result<Self, ConvertError> {
        match SeqPacket::try_from(fd) {
            Ok(end) => Ok(Self::from(end)),
            Err(error) => Stream::try_from(error.into_fd()).map(Self::from),
        }
    }
}

impl AsFd for RawChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }
}

impl AsRawFd for RawChannel {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for RawChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawChannel").field("fd", &self.as_raw_fd()).finish()
    }
}
