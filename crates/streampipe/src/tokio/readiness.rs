//! When to try again. What is tried, and what it means, is decided elsewhere.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use ::tokio::select;
use ::tokio::time::sleep;

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
    /// The writing pipe of an end that is two pipes, until it is closed.
    outlet: Mutex<Option<Arc<AsyncFd<Arc<OwnedFd>>>>>,
    /// The process at the other end, once for each direction.
    process: Option<[AsyncFd<OwnedFd>; 2]>,
}

impl<T: HasEnd> Readiness<T> {
    pub(super) fn new(inner: T) -> io::Result<Self> {
        let outlet = match inner.end().outlet_pipe() {
            Some(pipe) => Some(Arc::new(register(pipe, Interest::WRITABLE)?)),
            None => None,
        };
        let process = match inner.end().watched() {
            Some(pidfd) => {
                let other = pidfd.try_clone_to_owned()?;
                let one = pidfd.try_clone_to_owned()?;
                let readable = Interest::READABLE;
                Some([register(one, readable)?, register(other, readable)?])
            }
            None => None,
        };
        let interest = if outlet.is_some() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let inner = register(inner, interest)?;
        Ok(Self { inner, outlet: Mutex::new(outlet), process })
    }

    pub(super) fn get(&self) -> &T {
        self.inner.get_ref()
    }

    pub(super) fn into_inner(self) -> T {
        self.inner.into_inner()
    }

    /// Forgets the writing pipe, which is closed.
    pub(super) fn forget_outlet(&self) {
        self.outlet().take();
    }

    /// Tries until it is not told to wait (`None`), each time something is there to read.
    pub(super) async fn when_readable<R>(
        &self,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> io::Result<R> {
        // What is held does not make the socket ready.
        if self.get().end().holds_something() {
            if let Some(done) = attempt() {
                return Ok(done);
            }
        }
        loop {
            select! {
                biased;
                guard = self.inner.readable() => {
                    if let Some(done) = tried(guard?, &mut attempt) {
                        return Ok(done);
                    }
                }
                gone = gone(self.process.as_ref().map(|both| &both[0])) => {
                    gone?;
                    return self.insist(attempt).await;
                }
            }
        }
    }

    /// Tries until it is not told to wait (`None`), each time there may be room to write.
    pub(super) async fn when_writable<R>(
        &self,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> io::Result<R> {
        if let Some(done) = attempt() {
            return Ok(done);
        }
        loop {
            let outlet = self.outlet().clone();
            select! {
                biased;
                done = self.room(outlet.as_deref(), &mut attempt) => {
                    if let Some(done) = done? {
                        return Ok(done);
                    }
                }
                gone = gone(self.process.as_ref().map(|both| &both[1])) => {
                    gone?;
                    return self.insist(attempt).await;
                }
                () = sleep(SLICE) => {
                    if let Some(done) = attempt() {
                        return Ok(done);
                    }
                }
            }
        }
    }

    /// Tries until it is not told to wait: the process is gone, so that will not be long.
    async fn insist<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> io::Result<R> {
        loop {
            if let Some(done) = attempt() {
                return Ok(done);
            }
            sleep(CLOSING).await;
        }
    }

    /// Tries, and sees to it that the task is woken when it is worth another try.
    pub(super) fn poll_readable<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
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
                Poll::Pending => return self.poll_process(0, context, attempt),
            }
        }
    }

    /// The same for writing.
    pub(super) fn poll_writable<R>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let outlet = self.outlet().clone();
        loop {
            if let Some(done) = unless_waiting(attempt()) {
                return Poll::Ready(done);
            }
            let ready = match &outlet {
                Some(pipe) => pipe.poll_write_ready(context).map_ok(|mut it| it.clear_ready()),
                None => self.inner.poll_write_ready(context).map_ok(|mut it| it.clear_ready()),
            };
            match ready {
                // Cleared, and tried once more after that.
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.poll_process(1, context, attempt),
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
        outlet: Option<&AsyncFd<Arc<OwnedFd>>>,
        attempt: &mut impl FnMut() -> Option<R>,
    ) -> io::Result<Option<R>> {
        let done = match outlet {
            Some(pipe) => tried(pipe.writable().await?, attempt),
            None => tried(self.inner.writable().await?, attempt),
        };
        Ok(done)
    }

    fn outlet(&self) -> std::sync::MutexGuard<'_, Option<Arc<AsyncFd<Arc<OwnedFd>>>>> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the runtime look after a descriptor.
///
/// The safe way is deprecated since tokio 1.54, in favour of one that is `unsafe`: a type could say another number each
/// time it is asked, or close it. Those that come here own one descriptor and keep it.
#[allow(
    deprecated,
    reason = "this crate has no `unsafe`, and keeps the rule that the new way asks for"
)]
pub(super) fn register<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}

/// Waits until a process has ended; for ever if none is watched.
async fn gone(process: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    match process {
        Some(process) => process.readable().await.map(drop),
        None => std::future::pending().await,
    }
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
