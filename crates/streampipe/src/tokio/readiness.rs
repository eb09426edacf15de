//! When to try again. What is tried, and what it means, is decided elsewhere.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use ::tokio::runtime::Handle;
use ::tokio::select;
use ::tokio::sync::Notify;
use ::tokio::task::consume_budget;
use ::tokio::time::{Sleep, sleep};

use super::RegisterError;
use super::waker_set::{Place, WakerSet};
use crate::end::End;

/// How long a wait for room lasts before the call is made again: the runtime is not told when the peer ends its
/// reading.
const SLICE: Duration = Duration::from_millis(50);

/// How often an end is looked at whose process is gone, until it has had the time to close.
const CLOSING: Duration = Duration::from_millis(5);

/// Something with an end inside.
pub(super) trait HasEnd: AsRawFd {
    fn end(&self) -> &End;
}

/// The end's descriptors, as the runtime knows them.
pub(super) struct Readiness<T: HasEnd> {
    /// Where it reads; where it writes, too, if it is a socket.
    inner: AsyncFd<T>,
    /// Where it writes, if it is two pipes, while somebody waits for room there. No longer: the pipe could not be closed.
    outlet: Mutex<Option<Arc<AsyncFd<OwnedFd>>>>,
    /// What is rung when the reading of two pipes is ended, through whichever handle.
    end_of_reading: Option<AsyncFd<OwnedFd>>,
    /// Who that is. A future has the pipe only inside of a poll.
    writers: Arc<WakerSet>,
    /// The process at the other end, once for each direction.
    process: Option<[AsyncFd<OwnedFd>; 2]>,
    /// Who waits for the lifeline of a ring.
    audience: Audience,
    /// Which has the clock.
    runtime: Handle,
}

/// Whether the first try is made before the descriptor is said to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    Now,
    WhenReady,
}

impl<T: HasEnd> Readiness<T> {
    pub(super) fn new(inner: T) -> Result<Self, RegisterError<T>> {
        let process = match inner.end().watched().map(register_process).transpose() {
            Ok(process) => process,
            Err(error) => return Err(RegisterError::new(inner, error)),
        };
        let end_of_reading = match inner.end().end_of_reading().map(register_copy).transpose() {
            Ok(end_of_reading) => end_of_reading,
            Err(error) => return Err(RegisterError::new(inner, error)),
        };
        let interest = if inner.end().is_two_pipes() || inner.end().is_ring() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let inner = register(inner, interest)?;
        let (outlet, writers, audience) = (Mutex::default(), Arc::default(), Audience::default());
        let runtime = Handle::current();
        Ok(Self { inner, outlet, writers, end_of_reading, process, audience, runtime })
    }

    /// A sleep by the clock of the runtime that looks after the end, whoever polls the future.
    pub(super) fn sleep(&self, time: Duration) -> Sleep {
        let _entered = self.runtime.enter();
        sleep(time)
    }

    pub(super) fn get(&self) -> &T {
        self.inner.get_ref()
    }

    pub(super) fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// Forgets the writing pipe, which is closed, or not waited for any more.
    pub(super) fn forget_outlet(&self) {
        if self.get().end().is_two_pipes() {
            self.outlet().take();
        }
    }

    /// Has everybody who waits for a ring try again: a direction was ended, of which the lifeline says nothing.
    pub(super) fn tell_of_end(&self) {
        self.audience.tell();
        self.writers.wake_all();
    }

    /// How hastily to receive: what is held does not make the socket ready.
    pub(super) fn haste(&self) -> Haste {
        if self.get().end().holds_something() { Haste::Now } else { Haste::WhenReady }
    }

    /// Tries once, if there may be something to read.
    pub(super) fn try_readable<R>(
        &self,
        haste: Haste,
        attempt: &mut impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if self.get().end().is_ring() {
            return self.audience.told_after(self.get().end(), attempt);
        }
        if haste == Haste::Now {
            return attempt();
        }
        let at_once = |_: &T| attempt().ok_or_else(|| io::ErrorKind::WouldBlock.into());
        self.inner.try_io(Interest::READABLE, at_once).ok()
    }

    /// Tries until it is not told to wait (`None`), each time something is there to read.
    pub(super) async fn when_readable<R>(
        &self,
        haste: Haste,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> io::Result<R> {
        if self.get().end().is_ring() {
            return self.when_ring(0, attempt).await;
        }
        // Nothing else in here does it for a peer that always has something.
        consume_budget().await;
        if haste == Haste::Now {
            if let Some(done) = attempt() {
                return Ok(done);
            }
        }
        // Where there is more of what came before, nothing has to be waited for.
        let at_once = |_: &T| attempt().ok_or_else(|| io::ErrorKind::WouldBlock.into());
        if let Ok(done) = self.inner.try_io(Interest::READABLE, at_once) {
            return Ok(done);
        }
        loop {
            select! {
                biased;
                guard = self.inner.readable() => {
                    if let Some(done) = tried(guard?, &mut attempt) {
                        return Ok(done);
                    }
                }
                ended = happened(self.end_of_reading.as_ref()) => {
                    ended?;
                    return self.insist(attempt).await;
                }
                gone = happened(self.process.as_ref().map(|both| &both[0])) => {
                    gone?;
                    return self.insist(attempt).await;
                }
            }
            consume_budget().await;
        }
    }

    /// Tries until it is not told to wait (`None`), each time there may be room to write.
    pub(super) async fn when_writable<R>(
        &self,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> io::Result<R> {
        if self.get().end().is_ring() {
            return self.when_ring(1, attempt).await;
        }
        consume_budget().await;
        if let Some(done) = attempt() {
            return Ok(done);
        }
        let place = Writer { ready: self, place: Some(self.writers.place()) };
        loop {
            select! {
                biased;
                done = self.room(&place, &mut attempt) => {
                    if let Some(done) = done? {
                        return Ok(done);
                    }
                }
                gone = happened(self.process.as_ref().map(|both| &both[1])) => {
                    gone?;
                    return self.insist(attempt).await;
                }
                () = self.sleep(SLICE) => {
                    if let Some(done) = attempt() {
                        return Ok(done);
                    }
                }
            }
            consume_budget().await;
        }
    }

    /// Tries until it is not told to wait: the process is gone, so that will not be long.
    async fn insist<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> io::Result<R> {
        loop {
            if let Some(done) = attempt() {
                return Ok(done);
            }
            self.sleep(CLOSING).await;
        }
    }

    /// Tries, and sees to it that the task is woken when it is worth another try.
    pub(super) fn poll_readable<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if self.get().end().is_ring() {
            // Nothing else in here does it for a peer that always has something.
            ready!(pin!(consume_budget()).poll(context));
            return self.poll_ring(0, context, attempt);
        }
        let mut may_try = self.get().end().holds_something();
        loop {
            if may_try {
                if let Some(done) = unless_waiting(attempt()) {
                    return Poll::Ready(done);
                }
            }
            match self.inner.poll_read_ready(context) {
                Poll::Ready(guard) => {
                    let mut guard = guard?;
                    if let Some(done) = unless_waiting(attempt()) {
                        return Poll::Ready(done);
                    }
                    guard.clear_ready();
                    may_try = false;
                }
                Poll::Pending => break,
            }
        }
        if let Some(ended) = &self.end_of_reading {
            // It stays ready.
            if ended.poll_read_ready(context)?.is_ready() {
                return unless_waiting(attempt()).map_or(Poll::Pending, Poll::Ready);
            }
        }
        self.poll_process(0, context, attempt)
    }

    /// The same for writing.
    pub(super) fn poll_writable<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        ready!(pin!(consume_budget()).poll(context));
        if self.get().end().is_ring() {
            return self.poll_ring(1, context, attempt);
        }
        loop {
            if let Some(done) = unless_waiting(attempt()) {
                self.forget_outlet();
                return Poll::Ready(done);
            }
            // Cleared, and tried once more after that.
            let ready = if self.get().end().is_two_pipes() {
                self.writers.put(0, context.waker());
                self.poll_outlet()
            } else {
                poll_cleared(&self.inner, context)
            };
            match ready {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    let done = self.poll_process(1, context, attempt);
                    if done.is_ready() {
                        self.forget_outlet();
                    }
                    return done;
                }
            }
        }
    }

    /// Tries until it is not told to wait, each time something has come over the lifeline of a ring.
    ///
    /// What has come is for both directions, and is heard by whoever tries first: the others are told to try, too.
    async fn when_ring<R>(
        &self,
        direction: usize,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> io::Result<R> {
        loop {
            consume_budget().await;
            let mut heard = pin!(self.audience.heard.notified());
            heard.as_mut().enable();
            if let Some(done) = self.audience.told_after(self.get().end(), &mut attempt) {
                return Ok(done);
            }
            select! {
                biased;
                guard = self.inner.readable() => guard?.clear_ready(),
                () = heard => {}
                gone = happened(self.process.as_ref().map(|both| &both[direction])) => {
                    gone?;
                    return self.insist(attempt).await;
                }
                // There may be room in the ring, and none in the lifeline for descriptors.
                () = self.sleep(SLICE), if direction == 1 => {}
            }
        }
    }

    /// The same for a poll.
    fn poll_ring<R>(
        &self,
        direction: usize,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.audience.polls.put(direction as u64, context.waker());
        let both = Waker::from(Arc::clone(&self.audience.polls));
        loop {
            let mut attempt = || unless_waiting(attempt());
            if let Some(done) = self.audience.told_after(self.get().end(), &mut attempt) {
                return Poll::Ready(done);
            }
            match self.inner.poll_read_ready(&mut Context::from_waker(&both)) {
                // Cleared, and tried once more after that.
                Poll::Ready(guard) => guard?.clear_ready(),
                Poll::Pending => {
                    return self.poll_process(direction, context, || {
                        attempt().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
                    });
                }
            }
        }
    }

    /// Tries once more if the process is gone, and else has the task woken when it goes.
    fn poll_process<R>(
        &self,
        direction: usize,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let Some(process) = &self.process else { return Poll::Pending };
        // It stays ready: a process does not come back.
        if process[direction].poll_read_ready(context)?.is_pending() {
            return Poll::Pending;
        }
        unless_waiting(attempt()).map_or(Poll::Pending, Poll::Ready)
    }

    /// After how long a task that was told to wait must try again, whatever it is told.
    pub(super) fn pause(&self, interest: Interest) -> Option<Duration> {
        let has_process = self.process.is_some();
        if has_process && self.get().end().is_known_to_be_gone() {
            return Some(CLOSING);
        }
        interest.is_writable().then_some(SLICE)
    }

    /// Waits once for what the runtime takes for room, and tries.
    async fn room<R>(
        &self,
        writer: &Writer<'_, T>,
        attempt: &mut impl FnMut() -> Option<R>,
    ) -> io::Result<Option<R>> {
        if !self.get().end().is_two_pipes() {
            return Ok(tried(self.inner.writable().await?, attempt));
        }
        poll_fn(|context| {
            if let Some(place) = &writer.place {
                place.put(context.waker());
            }
            self.poll_outlet()
        })
        .await?;
        Ok(attempt())
    }

    /// Waits until there may be room in the writing pipe, for all that wait for it, and forgets that.
    fn poll_outlet(&self) -> Poll<io::Result<()>> {
        // Where there is none, or it cannot be looked after, slices of time must do.
        let Some(pipe) = self.outlet_to_poll() else { return Poll::Pending };
        let all = Waker::from(Arc::clone(&self.writers));
        poll_cleared(&pipe, &mut Context::from_waker(&all))
    }

    /// Has the runtime look after the writing pipe; `None` if that cannot be, or there is none.
    ///
    /// By another number: two handles of the end have the same pipe, which can be looked after only once.
    fn outlet_to_poll(&self) -> Option<Arc<AsyncFd<OwnedFd>>> {
        let mut outlet = self.outlet();
        if outlet.is_none() {
            let pipe = self.get().end().outlet_pipe()?.try_clone().ok()?;
            *outlet = register(pipe, Interest::WRITABLE).ok().map(Arc::new);
        }
        outlet.clone()
    }

    fn outlet(&self) -> MutexGuard<'_, Option<Arc<AsyncFd<OwnedFd>>>> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A future that waits for room, until it is dropped.
struct Writer<'ready, T: HasEnd> {
    ready: &'ready Readiness<T>,
    /// `Some` until the drop.
    place: Option<Place<'ready>>,
}

/// Nobody looks after a pipe that nobody waits for: it could not be closed.
impl<T: HasEnd> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        self.place.take();
        if self.ready.writers.is_empty() {
            self.ready.forget_outlet();
        }
    }
}

/// The tasks that wait for a ring, in both directions: all are to try when one has heard something.
#[derive(Default)]
struct Audience {
    heard: Notify,
    /// The task that polls to read, at place 0, and the one that polls to write.
    polls: Arc<WakerSet>,
}

impl Audience {
    /// Tries, and tells the others if that heard something.
    fn told_after<R>(&self, end: &End, attempt: &mut impl FnMut() -> Option<R>) -> Option<R> {
        let before = end.notes_heard();
        let done = attempt();
        if end.notes_heard() != before {
            self.tell();
        }
        done
    }

    fn tell(&self) {
        self.heard.notify_waiters();
        self.polls.wake_all();
    }
}

/// Has the runtime look after a descriptor.
///
/// Panics now, and not when it first has to wait, if the runtime has no clock.
///
/// The safe way is deprecated since tokio 1.54, in favour of one that is `unsafe`: a type could say another number each
/// time it is asked, or close it. Those that come here own one descriptor and keep it.
#[allow(
    deprecated,
    reason = "this crate has no `unsafe`, and keeps the rule that the new way asks for"
)]
pub(super) fn register<T: AsRawFd>(
    inner: T,
    interest: Interest,
) -> Result<AsyncFd<T>, RegisterError<T>> {
    drop(sleep(Duration::ZERO));
    AsyncFd::try_with_interest(inner, interest).map_err(|error| {
        let (inner, cause) = error.into_parts();
        RegisterError::new(inner, cause)
    })
}

/// Has the runtime look after a process, once for each direction.
fn register_process(pidfd: BorrowedFd<'_>) -> io::Result<[AsyncFd<OwnedFd>; 2]> {
    Ok([register_copy(pidfd)?, register_copy(pidfd)?])
}

/// Has the runtime look after a descriptor that others look after, too: by a number of its own.
fn register_copy(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    Ok(register(fd.try_clone_to_owned()?, Interest::READABLE)?)
}

/// Waits until something has happened that stays so, as the end of a process; for ever if there is nothing to wait for.
async fn happened(event: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match event {
        Some(event) => event.readable().await.map(drop),
        None => std::future::pending().await,
    }
}

/// Waits until there may be room, and forgets that.
fn poll_cleared<T: AsRawFd>(
    descriptor: &AsyncFd<T>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    descriptor.poll_write_ready(context).map_ok(|mut ready| ready.clear_ready())
}

/// Tries, and forgets that it was said to be ready if it was not.
fn tried<T: AsRawFd, R>(
    mut guard: AsyncFdReadyGuard<'_, T>,
    attempt: &mut impl FnMut() -> Option<R>,
) -> Option<R> {
    let done = attempt();
    if done.is_none() {
        guard.clear_ready();
    }
    done
}

/// `None` for a call that would have to wait.
pub(super) fn unless_waiting<R>(done: io::Result<R>) -> Option<io::Result<R>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        done => Some(done),
    }
}
