use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe_wire::Kind;

use super::sendable::Sendable;
use super::{Incoming, Request, Values, shuttle};
use crate::end::Waiting;
use crate::message::{Core, Want};
use crate::{
    Budget, CallError, ConvertError, Fd, FdPolicy, RawChannel, RecvError, SendError, SendReason,
    SeqPacket, Stream,
};

/// Makes a channel for values: one end sends `A` and receives `B`, the other the other way round.
///
/// # Errors
///
/// Those of [`SeqPacket::pair`].
///
/// # Examples
///
/// ```
/// let (client, server) = streampipe::channel::<String, usize>()?;
/// client.send("five!".to_owned())?;
/// let text = server.recv()?;
/// server.send(text.len())?;
/// assert_eq!(client.recv()?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<A, B>() -> io::Result<(Channel<A, B>, Channel<B, A>)> {
    let (ours, theirs) = RawChannel::pair()?;
    Ok((ours.into(), theirs.into()))
}

/// An end that sends values of type `A`, with descriptors inside, and receives values of type `B`.
///
/// Traps first:
///
/// - Both ends must mean the same types: values are encoded by [postcard](https://postcard.jamesmunns.com/wire-format),
///   which does not describe itself.
/// - Both sides sending more than there is room for before either receives is a deadlock, as with any pipe. Use the forms
///   with a deadline, or two threads: every method takes `&self`.
/// - The kernel counts its own memory as well: there is room for 683 values of 1 byte, or 32 of 10,000 bytes.
/// - A `Vec<u8>` is encoded byte by byte by serde; [`Bytes`](crate::Bytes) is not, and is not copied either.
/// - What is sent by reference stays open here: a channel that travels in a value ends only when all its handles are
///   closed. Send it by value.
/// - A send that succeeded says "queued", not "received".
/// - A program that waits for a child drops the channel first, or the child does not see its end.
/// - postcard does not describe what it carries. A send of what the receiver could not notice is
///   [`Unencodable`](SendReason::Unencodable): a field left out by serde's `skip_serializing_if`, a structure with
///   a `tag`, anything with `flatten`, lists and maps that do not know their length. Enums that are `untagged` or have a
///   `tag`, and types for any value at all, are sent, and are [`Undecodable`](RecvError::Undecodable). Attributes of one
///   direction alone (`skip_serializing`) are seen by nobody: "A field that is left out" in `GOTCHAS.md`.
///
/// A value arrives whole or not at all, with its own descriptors. How large one may be is up to the receiver's
/// [`Budget`]; nested deeper than 128, or with more than 65,536 parts that take no bytes, it is an error on either side.
/// (At that depth a decoder takes up to 64 KiB of stack, and 320 KiB unoptimized.)
/// Memory of a decoded value may be a multiple of its bytes (a list of large structures of small numbers): the budget
/// is about bytes.
///
/// Made by [`channel`]; a [`Stream`], a [`Child`](crate::Child) ([`take_channel`](crate::Child::take_channel)) and an
/// [`inherited`](crate::inherited) end turn into one. Sent in a value, it works at the other side.
///
/// # Which goes with which
///
/// | sent by | received by |
/// |---|---|
/// | [`send`](Self::send) | [`recv`](Self::recv), [`iter`](Self::iter), [`recv_any`](Self::recv_any) |
/// | [`call`](Self::call) | [`recv_request`](Self::recv_request), [`serve`](Self::serve), [`recv_any`](Self::recv_any) |
///
/// A `recv` does not take a request, and waits on; the caller waits for its answer.
///
/// # Polling
///
/// The descriptor says when bytes come. What one thread has received for another is in this process already: call
/// [`try_recv`](Self::try_recv) until it is empty before you poll.
///
/// # Calls
///
/// [`call`](Self::call) sends a request and waits for its answer, which the other side gives by
/// [`recv_request`](Self::recv_request) or [`serve`](Self::serve). Both sides may call, from many threads at once. One of
/// the threads that wait reads for all of them; what comes and is not wanted by it waits for whoever asks, within the
/// budget.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use std::fs::File;
/// use streampipe::Fd;
///
/// #[derive(Serialize, Deserialize)]
/// struct Job { name: String, input: Fd }
///
/// let (client, server) = streampipe::channel::<Job, u64>()?;
/// let input = File::open("/etc/passwd")?;
/// client.send(&Job { name: "size".into(), input: input.into() })?;
///
/// let job = server.recv()?;
/// server.send(File::from(job.input).metadata()?.len())?;
/// assert!(client.recv()? > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Channel<A, B> {
    core: Arc<Core>,
    values: PhantomData<fn(A) -> B>,
}

impl<A: Serialize, B: DeserializeOwned> Channel<A, B> {
    /// Sends a value. Waits for room, and for other threads that send.
    ///
    /// Given by value, it is dropped, and its descriptors closed here, once it was sent; by reference, it is not.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value inside if it was given; nothing of it reaches the peer then.
    pub fn send<V: Sendable<A>>(&self, value: V) -> Result<(), SendError<V::Back>> {
        self.send_within(value, self.core.end().write_waiting())
    }

    /// Sends a value if that takes no waiting.
    ///
    /// A value of more than there is ever room for at once (512 KiB over a socket; about 320 KB fit in practice) is always
    /// [`Full`](crate::SendReason::Full).
    ///
    /// # Errors
    ///
    /// [`Full`](crate::SendReason::Full), or as [`send`](Self::send).
    pub fn try_send<V: Sendable<A>>(&self, value: V) -> Result<(), SendError<V::Back>> {
        self.send_within(value, Waiting::Never)
    }

    /// Sends a value, within this time for all of it.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::SendReason::TimedOut), or as [`send`](Self::send).
    pub fn send_timeout<V: Sendable<A>>(
        &self,
        value: V,
        timeout: Duration,
    ) -> Result<(), SendError<V::Back>> {
        self.send_within(value, Waiting::within(timeout))
    }

    /// Sends a value, all of it before this instant.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_deadline<V: Sendable<A>>(
        &self,
        value: V,
        deadline: Instant,
    ) -> Result<(), SendError<V::Back>> {
        self.send_within(value, Waiting::Until(deadline))
    }

    /// Receives the next value.
    ///
    /// # Errors
    ///
    /// [`RecvError`]; [`Undecodable`](RecvError::Undecodable) for a message that is no `B`.
    pub fn recv(&self) -> Result<B, RecvError> {
        self.recv_within(self.core.end().read_waiting())
    }

    /// Receives a value if all of one has come.
    ///
    /// # Errors
    ///
    /// [`Empty`](RecvError::Empty), or as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<B, RecvError> {
        self.recv_within(Waiting::Never)
    }

    /// Receives a value, waiting for at most so long for all of it.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](RecvError::TimedOut), or as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<B, RecvError> {
        self.recv_within(Waiting::within(timeout))
    }

    /// Receives a value, waiting at most until this instant for all of it.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<B, RecvError> {
        self.recv_within(Waiting::Until(deadline))
    }

    /// Receives values until the peer has closed its end; an error that is final is the last item.
    #[must_use]
    pub fn iter(&self) -> Values<'_, A, B> {
        Values::new(self)
    }

    // --- calls ---

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`CallError`]: at once if the peer goes, or drops the request.
    pub fn call<V: Sendable<A>>(&self, request: V) -> Result<B, CallError<V::Back>> {
        let end = self.core.end();
        self.call_within(request, end.write_waiting(), end.read_waiting())
    }

    /// Sends a request, and waits for its answer, for at most so long in all.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); see [`CallError::is_timeout`].
    pub fn call_timeout<V: Sendable<A>>(
        &self,
        request: V,
        timeout: Duration,
    ) -> Result<B, CallError<V::Back>> {
        let waiting = Waiting::within(timeout);
        self.call_within(request, waiting, waiting)
    }

    /// Sends a request, and waits for its answer, at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`call_timeout`](Self::call_timeout).
    pub fn call_deadline<V: Sendable<A>>(
        &self,
        request: V,
        deadline: Instant,
    ) -> Result<B, CallError<V::Back>> {
        let waiting = Waiting::Until(deadline);
        self.call_within(request, waiting, waiting)
    }

    /// Receives the next request.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). The caller of a request that is not handed over is told that there is no answer.
    pub fn recv_request(&self) -> Result<Request<A, B>, RecvError> {
        self.request_within(self.core.end().read_waiting())
    }

    /// Receives a request if all of one has come.
    ///
    /// # Errors
    ///
    /// [`Empty`](RecvError::Empty), or as [`recv_request`](Self::recv_request).
    pub fn try_recv_request(&self) -> Result<Request<A, B>, RecvError> {
        self.request_within(Waiting::Never)
    }

    /// Receives a request, waiting for at most so long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](RecvError::TimedOut), or as [`recv_request`](Self::recv_request).
    pub fn recv_request_timeout(&self, timeout: Duration) -> Result<Request<A, B>, RecvError> {
        self.request_within(Waiting::within(timeout))
    }

    /// Receives a request, waiting at most until this instant.
    ///
    /// # Errors
    ///
    /// As [`recv_request_timeout`](Self::recv_request_timeout).
    pub fn recv_request_deadline(&self, deadline: Instant) -> Result<Request<A, B>, RecvError> {
        self.request_within(Waiting::Until(deadline))
    }

    /// Receives whatever comes next: a value, or a request.
    ///
    /// # Errors
    ///
    /// As [`recv_request`](Self::recv_request).
    pub fn recv_any(&self) -> Result<Incoming<A, B>, RecvError> {
        self.any_within(self.core.end().read_waiting())
    }

    /// Answers requests until the peer has closed its end.
    ///
    /// Values that expect no answer are left for [`recv`](Self::recv) of another thread; if nobody takes them, and they fill
    /// the budget, this ends with [`Unclaimed`](RecvError::Unclaimed).
    ///
    /// A request that is not handed over (it is no `B`, beyond the budget, or has a descriptor that is not accepted)
    /// ends nothing: its caller is told that there is no answer.
    ///
    /// # Errors
    ///
    /// As [`recv_request`](Self::recv_request). An answer that cannot be sent because the peer is gone ends it, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// let (client, server) = streampipe::channel::<u32, u32>()?;
    /// let serving = thread::spawn(move || server.serve(|number| number * 2));
    /// assert_eq!(client.call(21)?, 42);
    /// drop(client);
    /// serving.join().expect("no panic")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve(&self, mut answer: impl FnMut(B) -> A) -> Result<(), RecvError> {
        loop {
            let (question, responder) = match self.recv_request() {
                Ok(request) => request.into_parts(),
                Err(RecvError::Closed) => return Ok(()),
                // The caller was told.
                Err(error) if error.is_of_one_message() => continue,
                Err(error) => return Err(error),
            };
            // An answer that is not sent is one that the caller is told is missing; if the peer is gone, the next
            // receive says so.
            let _ = responder.answer(answer(question));
        }
    }

    fn send_within<V: Sendable<A>>(
        &self,
        value: V,
        waiting: Waiting,
    ) -> Result<(), SendError<V::Back>> {
        shuttle::send(&self.core, Kind::Message, 0, value.value(), waiting)
            .map_err(|reason| SendError::new(value.back(), reason))
    }

    fn recv_within(&self, waiting: Waiting) -> Result<B, RecvError> {
        shuttle::receive(&self.core, Want::Message, waiting).map(|(_, value)| value)
    }

    fn request_within(&self, waiting: Waiting) -> Result<Request<A, B>, RecvError> {
        shuttle::request(&self.core, self.core.receive(Want::Request, waiting)?)
    }

    fn any_within(&self, waiting: Waiting) -> Result<Incoming<A, B>, RecvError> {
        let arrived = self.core.receive(Want::Either, waiting)?;
        match arrived.kind {
            Kind::Request => shuttle::request(&self.core, arrived).map(Incoming::Request),
            _ => shuttle::read(arrived).map(Incoming::Value),
        }
    }

    fn call_within<V: Sendable<A>>(
        &self,
        request: V,
        sending: Waiting,
        receiving: Waiting,
    ) -> Result<B, CallError<V::Back>> {
        if sending.is_over() {
            return Err(CallError::NotSent(SendError::new(request.back(), SendReason::TimedOut)));
        }
        let call = self.core.open_call();
        let sent = shuttle::send(&self.core, Kind::Request, call.id, request.value(), sending);
        if let Err(reason) = sent {
            call.cancel();
            return Err(CallError::NotSent(SendError::new(request.back(), reason)));
        }
        let arrived = self.core.receive(Want::Answer(call.id), receiving);
        shuttle::answer(arrived.map_err(CallError::NotReceived)?)
    }
}

impl<A, B> Channel<A, B> {
    /// Returns how many answers, and notes that there is none, came that nobody waited for any more; they were dropped, and
    /// their descriptors closed.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.core.late_answers()
    }

    /// Sets what this end is willing to take, as [`RawChannel::set_budget`].
    pub fn set_budget(&self, budget: Budget) {
        self.core.set_budget(budget);
    }

    /// Returns what this end is willing to take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.core.budget()
    }

    /// Sets which descriptors are accepted, and which may be sent, as [`RawChannel::set_policy`].
    pub fn set_policy(&self, policy: FdPolicy) {
        self.core.set_policy(policy);
    }

    /// Has a receive ask again and again for so long before it sleeps, as [`RawChannel::set_busy_poll`].
    pub fn set_busy_poll(&self, time: Duration) {
        self.core.set_busy_poll(time);
    }

    /// Ends one or both directions, as [`RawChannel::shutdown`].
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.core.shutdown(how)
    }

    /// Keeps descriptors out, as [`RawChannel::refuse_fds`].
    ///
    /// # Errors
    ///
    /// Those of [`Stream::refuse_fds`].
    pub fn refuse_fds(&self) -> io::Result<()> {
        self.core.end().refuse_fds()
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self { core, values: PhantomData }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn into_core(self) -> Arc<Core> {
        self.core
    }
}

impl<'channel, A: Serialize, B: DeserializeOwned> IntoIterator for &'channel Channel<A, B> {
    type Item = Result<B, RecvError>;
    type IntoIter = Values<'channel, A, B>;

    fn into_iter(self) -> Values<'channel, A, B> {
        self.iter()
    }
}

impl<A, B> From<RawChannel> for Channel<A, B> {
    fn from(raw: RawChannel) -> Self {
        Self { core: raw.into_core(), values: PhantomData }
    }
}

/// Values over a stream, for example to a child.
impl<A, B> From<Stream> for Channel<A, B> {
    fn from(stream: Stream) -> Self {
        RawChannel::from(stream).into()
    }
}

impl<A, B> From<SeqPacket> for Channel<A, B> {
    fn from(end: SeqPacket) -> Self {
        RawChannel::from(end).into()
    }
}

/// For a socket of either type.
impl<A, B> TryFrom<OwnedFd> for Channel<A, B> {
    type Error = ConvertError;

    fn try_from(fd: OwnedFd) -> Result<Self, ConvertError> {
        RawChannel::try_from(fd).map(Self::from)
    }
}

impl<A, B> TryFrom<Fd> for Channel<A, B> {
    type Error = ConvertError;

    fn try_from(fd: Fd) -> Result<Self, ConvertError> {
        OwnedFd::from(fd).try_into()
    }
}

impl<A, B> AsFd for Channel<A, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }
}

impl<A, B> AsRawFd for Channel<A, B> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<A, B> fmt::Debug for Channel<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("fd", &self.as_raw_fd()).finish()
    }
}
