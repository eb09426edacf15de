use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::{fmt, io};

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe_wire::Kind;

use super::RegisterError;
use super::line::Line;
use crate::channel::{Encoded, shuttle};
use crate::message::{Outbound, Want};
use crate::{
    Budget, CallError, FdPolicy, RecvError, SendError, SendReason, Sendable, SeqPacket, Stream,
};

/// Makes a channel for values, as [`channel`](crate::channel()).
///
/// # Errors
///
/// Those of [`channel`](crate::channel()), and of the runtime's registration.
///
/// # Panics
///
/// Outside of a runtime with input, output and time enabled.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (client, server) = streampipe::tokio::channel::<String, usize>()?;
/// let serving = async { server.serve(|text| async move { text.len() }).await };
/// let calling = async {
///     let len = client.call("five!".to_owned()).await?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     Ok::<_, std::io::Error>(len)
/// };
/// let (served, len) = tokio::join!(serving, calling);
/// served?;
/// assert_eq!(len?, 5);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<A, B>() -> io::Result<(Channel<A, B>, Channel<B, A>)> {
    let (ours, theirs) = crate::channel()?;
    Ok((ours.try_into()?, theirs.try_into()?))
}

/// A [`Channel`](crate::Channel) for tasks, of which many may use it at once.
///
/// For a bound in time put `tokio::time::timeout` around a method; each says what becomes of it then.
pub struct Channel<A, B> {
    line: Arc<Line>,
    values: PhantomData<fn(A) -> B>,
}

impl<A: Serialize, B: DeserializeOwned> Channel<A, B> {
    /// Sends a value, as [`Channel::send`](crate::Channel::send).
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value inside if it was given.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the value is withdrawn as a whole.
    pub async fn send<V: Sendable<A>>(&self, value: V) -> Result<(), SendError<V::Back>> {
        let packed = shuttle::pack(self.line.core(), value.value());
        match send(&self.line, Kind::Message, 0, packed).await {
            Ok(()) => Ok(()),
            Err(reason) => Err(SendError::new(value.back(), reason)),
        }
    }

    /// Receives the next value, as [`Channel::recv`](crate::Channel::recv).
    ///
    /// # Errors
    ///
    /// [`RecvError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no value is lost.
    pub async fn recv(&self) -> Result<B, RecvError> {
        shuttle::read(self.line.receive(Want::Message).await?)
    }

    /// Sends a request, and waits for its answer, as [`Channel::call`](crate::Channel::call).
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before the request is sent, it is withdrawn; after that, the answer is dropped when it comes, and
    /// [counted](Self::late_answers).
    pub async fn call<V: Sendable<A>>(&self, request: V) -> Result<B, CallError<V::Back>> {
        let call = self.line.core().open_call();
        let packed = shuttle::pack(self.line.core(), request.value());
        let sending = send(&self.line, Kind::Request, call.id, packed);
        let arrived = match self.line.call(call.id, sending).await {
            Ok(arrived) => arrived,
            Err(reason) => {
                call.cancel();
                return Err(CallError::NotSent(SendError::new(request.back(), reason)));
            }
        };
        shuttle::answer(arrived.map_err(CallError::NotReceived)?)
    }

    /// Receives the next request, as [`Channel::recv_request`](crate::Channel::recv_request).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no request is lost.
    pub async fn recv_request(&self) -> Result<Request<A, B>, RecvError> {
        let arrived = self.line.receive(Want::Request).await?;
        let request = shuttle::request(self.line.core(), arrived)?;
        Ok(Request::new(request, &self.line))
    }

    /// Receives whatever comes next: a value, or a request.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv_any(&self) -> Result<Incoming<A, B>, RecvError> {
        let arrived = self.line.receive(Want::Either).await?;
        if arrived.kind != Kind::Request {
            return shuttle::read(arrived).map(Incoming::Value);
        }
        let request = shuttle::request(self.line.core(), arrived)?;
        Ok(Incoming::Request(Request::new(request, &self.line)))
    }

    /// Answers requests, one after the other, until the peer has closed its end.
    ///
    /// To answer several at once, [`recv_request`](Self::recv_request) and spawn a task for each.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// The caller of a request that was taken and not answered is told so.
    pub async fn serve<F: Future<Output = A>>(
        &self,
        mut answer: impl FnMut(B) -> F,
    ) -> Result<(), RecvError> {
        loop {
            let (question, responder) = match self.recv_request().await {
                Ok(request) => request.into_parts(),
                Err(RecvError::Closed) => return Ok(()),
                // As in `Channel::serve` for threads.
                Err(error) if error.is_of_one_message() => continue,
                Err(error) => return Err(error),
            };
            // As in `Channel::serve` for threads.
            let _ = responder.answer(answer(question).await).await;
        }
    }
}

impl<A, B> Channel<A, B> {
    /// Returns how many answers came that nobody waited for any more.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.line.core().late_answers()
    }

    /// Sets what this end is willing to take, as [`RawChannel::set_budget`](crate::RawChannel::set_budget).
    pub fn set_budget(&self, budget: Budget) {
        self.line.core().set_budget(budget);
    }

    /// Returns what this end is willing to take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.line.core().budget()
    }

    /// Keeps descriptors out, as [`RawChannel::refuse_fds`](crate::RawChannel::refuse_fds).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn refuse_fds(&self) -> io::Result<()> {
        self.line.core().end().refuse_fds()
    }

    /// Sets which descriptors are accepted and may be sent, as
    /// [`RawChannel::set_policy`](crate::RawChannel::set_policy).
    pub fn set_policy(&self, policy: FdPolicy) {
        self.line.core().set_policy(policy);
    }

    /// Ends one or both directions, as [`RawChannel::shutdown`](crate::RawChannel::shutdown).
    ///
    /// # Errors
    ///
    /// None on a pair.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.line.shutdown(how)
    }
}

/// What comes on a channel that is both talked and called over; from [`Channel::recv_any`].
#[derive(Debug)]
pub enum Incoming<A, B> {
    /// A value that expects no answer.
    Value(B),
    /// A request, to be answered.
    Request(Request<A, B>),
}

/// A [`Request`](crate::Request) to be answered by a task.
#[derive(Debug)]
pub struct Request<A, B> {
    /// What was asked.
    pub value: B,
    responder: Responder<A>,
}

/// The duty to answer a request; from [`Request::into_parts`].
pub struct Responder<A> {
    line: Arc<Line>,
    /// `Some` until it is answered, or dropped.
    inner: Option<crate::Responder<A>>,
}

impl<A: Serialize, B> Request<A, B> {
    fn new(request: crate::Request<A, B>, line: &Arc<Line>) -> Self {
        let (value, inner) = request.into_parts();
        Self { value, responder: Responder { line: Arc::clone(line), inner: Some(inner) } }
    }

    /// Sends the answer, as [`Request::answer`](crate::Request::answer).
    ///
    /// # Errors
    ///
    /// As [`Channel::send`]. The caller is told that there is no answer then, if it can be.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, the caller is told that there is no answer.
    pub async fn answer<V: Sendable<A>>(self, answer: V) -> Result<(), SendError<V::Back>> {
        self.responder.answer(answer).await
    }

    /// Takes the question and the duty apart.
    #[must_use]
    pub fn into_parts(self) -> (B, Responder<A>) {
        (self.value, self.responder)
    }
}

impl<A: Serialize> Responder<A> {
    /// Sends the answer, as [`Request::answer`].
    ///
    /// # Errors
    ///
    /// As [`Request::answer`].
    ///
    /// # Cancel safety
    ///
    /// As [`Request::answer`].
    pub async fn answer<V: Sendable<A>>(mut self, answer: V) -> Result<(), SendError<V::Back>> {
        let packed = shuttle::pack(self.line.core(), answer.value());
        let id = self.inner.as_ref().map_or(0, crate::Responder::id);
        match send(&self.line, Kind::Answer, id, packed).await {
            Ok(()) => {
                if let Some(answered) = self.inner.take() {
                    answered.forget();
                }
                Ok(())
            }
            Err(reason) => Err(SendError::new(answer.back(), reason)),
        }
    }
}

impl<A> Drop for Responder<A> {
    fn drop(&mut self) {
        if let Some(unanswered) = self.inner.take() {
            drop(unanswered);
            self.line.regret();
        }
    }
}

impl<A> fmt::Debug for Responder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.inner.as_ref().map(crate::Responder::id);
        f.debug_struct("Responder").field("id", &id).finish_non_exhaustive()
    }
}

/// Sends what a value was packed into. (While a reference to the value itself was held across the wait, values that are
/// not `Sync` made futures that could not be spawned.)
async fn send(
    line: &Line,
    kind: Kind,
    id: u64,
    packed: Result<Encoded, SendReason>,
) -> Result<(), SendReason> {
    let encoded = packed?;
    let parts = encoded.parts();
    let sent = line.send(&Outbound { kind, id, parts: &parts, fds: encoded.fds() }).await;
    drop(parts);
    line.core().give_buffer(Encoded::into_buffer(encoded));
    sent
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back.
impl<A, B> TryFrom<crate::Channel<A, B>> for Channel<A, B> {
    type Error = RegisterError<crate::Channel<A, B>>;

    fn try_from(channel: crate::Channel<A, B>) -> Result<Self, Self::Error> {
        let line = Line::new(channel.into_core());
        let line = line.map_err(|error| error.map(crate::Channel::from_core))?;
        Ok(Self { line: Arc::new(line), values: PhantomData })
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back as a channel.
impl<A, B> TryFrom<Stream> for Channel<A, B> {
    type Error = RegisterError<crate::Channel<A, B>>;

    fn try_from(stream: Stream) -> Result<Self, Self::Error> {
        crate::Channel::from(stream).try_into()
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back as a channel.
impl<A, B> TryFrom<SeqPacket> for Channel<A, B> {
    type Error = RegisterError<crate::Channel<A, B>>;

    fn try_from(end: SeqPacket) -> Result<Self, Self::Error> {
        crate::Channel::from(end).try_into()
    }
}

impl<A, B> AsFd for Channel<A, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.core().as_fd()
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
