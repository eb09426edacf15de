use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use streampipe_sys::process::own_id;
use streampipe_wire::Kind;

use super::sendable::Sendable;
use super::shuttle;
use crate::SendError;
use crate::message::Core;

/// A request that was received, and the duty to answer it.
///
/// It keeps the channel's end open. Dropped without an answer, it tells the caller so, who does not wait any longer.
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// let (client, server) = streampipe::channel::<u32, String>()?;
/// let serving = thread::spawn(move || {
///     let request = server.recv_request()?;
///     let answer = request.value.to_string();
///     request.answer(answer)?;
///     Ok::<_, std::io::Error>(())
/// });
/// assert_eq!(client.call(7)?, "7");
/// serving.join().expect("no panic")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Request<A, B> {
    /// What was asked.
    pub value: B,
    responder: Responder<A>,
}

/// The duty to answer a request; from [`Request::into_parts`].
pub struct Responder<A> {
    core: Arc<Core>,
    id: u64,
    is_answered: bool,
    /// The process that received it; a fork of it has a copy, and no duty.
    owner: u32,
    answers: PhantomData<fn(A)>,
}

impl<A: Serialize, B> Request<A, B> {
    pub(super) fn new(value: B, responder: Responder<A>) -> Self {
        Self { value, responder }
    }

    /// Sends the answer.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`](crate::Channel::send). The caller is told that there is no answer then, if it can be.
    pub fn answer<V: Sendable<A>>(self, answer: V) -> Result<(), SendError<V::Back>> {
        self.responder.answer(answer)
    }

    /// Takes the question and the duty apart.
    #[must_use]
    pub fn into_parts(self) -> (B, Responder<A>) {
        (self.value, self.responder)
    }
}

impl<A> Responder<A> {
    pub(super) fn new(core: &Arc<Core>, id: u64) -> Self {
        Self {
            core: Arc::clone(core),
            id,
            is_answered: false,
            owner: own_id(),
            answers: PhantomData,
        }
    }
}

#[cfg(feature = "tokio")]
impl<A> Responder<A> {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Notes that somebody else has sent the answer.
    pub(crate) fn forget(mut self) {
        self.is_answered = true;
    }
}

impl<A: Serialize> Responder<A> {
    /// Sends the answer, as [`Request::answer`].
    ///
    /// # Errors
    ///
    /// As [`Request::answer`].
    pub fn answer<V: Sendable<A>>(mut self, answer: V) -> Result<(), SendError<V::Back>> {
        let waiting = self.core.end().write_waiting();
        match shuttle::send(&self.core, Kind::Answer, self.id, answer.value(), waiting) {
            Ok(()) => {
                self.is_answered = true;
                Ok(())
            }
            Err(reason) => Err(SendError::new(answer.back(), reason)),
        }
    }
}

impl<A> Drop for Responder<A> {
    fn drop(&mut self) {
        if own_id() != self.owner {
            return;
        }
        if self.is_answered {
            self.core.end_duty();
        } else {
            self.core.regret(self.id);
        }
    }
}

impl<A> fmt::Debug for Responder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("id", &self.id).finish_non_exhaustive()
    }
}
