//! Children dropped while they ran: reaped by a thread that exists only while there are such. In a
//! process to which the kernel gives orphans, workers of a zygote count, too.
//!
//! Rules of this file:
//!
//! 1. The list, and who runs, are decided under one lock; the thread waits without it.
//! 2. The thread takes no signal: all are blocked in it.
//! 3. [`fork`](crate::fork()) stops the thread first and lets it go on afterwards, for a child would
//!    not have it. A child forgets the list: those are its siblings.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streampipe_sys::bell::Bell;
use streampipe_sys::process;
use streampipe_sys::signal::SignalSet;
use streampipe_sys::wait::{Interest, has_ended, pause, wait_any};

/// How often a dead child is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// How often a thread without a bell looks at the list, for lack of a descriptor.
const WITHOUT_BELL: Duration = Duration::from_millis(100);

/// Enough for a loop over `poll`.
const STACK: usize = 64 * 1024;

static ORPHANS: Mutex<Orphans> =
    Mutex::new(Orphans { running: Vec::new(), owner: 0, resting: 0, reaper: None });

struct Orphans {
    running: Vec<Orphan>,
    /// The process whose children they are.
    owner: u32,
    /// How many want that there is no thread.
    resting: usize,
    reaper: Option<Reaper>,
}

/// The thread, from outside.
struct Reaper {
    thread: JoinHandle<()>,
    /// Makes it look at the list again.
    bell: Option<Arc<Bell>>,
    /// Whether it has decided to end: it takes no lock any more, and may be joined under it.
    has_ended: bool,
}

#[derive(Clone)]
struct Orphan {
    pidfd: Arc<OwnedFd>,
    /// Whether it may be a zygote's child still, which comes to this process only when the zygote ends.
    is_of_zygote: bool,
}

impl Orphan {
    /// Reaps it if it has ended; says whether there is nothing more to do.
    fn is_over(&self) -> bool {
        let pidfd = self.pidfd.as_fd();
        if self.is_of_zygote && !has_ended(pidfd).unwrap_or(true) {
            return false;
        }
        // An error means that it is not ours to reap: reaped elsewhere already.
        !matches!(process::try_wait(pidfd), Ok(None))
    }
}

/// Reaps this child if it has ended, else sees to it that it will be; reaps others that have ended.
pub(super) fn adopt(pidfd: Arc<OwnedFd>) {
    add(Orphan { pidfd, is_of_zygote: false });
}

/// Sees to it that a worker of a zygote is reaped if it becomes a child of this process, because the
/// zygote ends first. Costs a thread only where the kernel would do that.
pub(crate) fn adopt_from_zygote(pidfd: Arc<OwnedFd>) {
    if process::takes_in_orphans() {
        add(Orphan { pidfd, is_of_zygote: true });
    }
}

fn add(orphan: Orphan) {
    let mut orphans = lock();
    orphans.running.push(orphan);
    orphans.reap();
    orphans.see_to_it();
}

/// Reaps those that have ended.
pub(crate) fn sweep() {
    lock().reap();
}

/// Stops the thread, if there is one, until the guard is dropped.
pub(crate) fn rest() -> Rest {
    let reaper = {
        let mut orphans = lock();
        orphans.resting += 1;
        orphans.reaper.take()
    };
    if let Some(Reaper { thread, bell, .. }) = reaper {
        if let Some(bell) = bell {
            bell.ring();
        }
        // It panics on nothing; if it did, it has ended all the same.
        let _ = thread.join();
    }
    Rest(())
}

/// While it exists there is no thread.
pub(crate) struct Rest(());

impl Drop for Rest {
    fn drop(&mut self) {
        let mut orphans = lock();
        orphans.resting = orphans.resting.saturating_sub(1);
        orphans.reap();
        orphans.see_to_it();
    }
}

fn lock() -> MutexGuard<'static, Orphans> {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = process::own_id();
    if orphans.owner != own {
        // A child that was forked: neither the children nor the thread are its own.
        orphans.running.clear();
        orphans.resting = 0;
        std::mem::forget(orphans.reaper.take().map(|reaper| reaper.thread));
        orphans.owner = own;
    }
    orphans
}

impl Orphans {
    /// Reaps those that have ended; returns how many.
    fn reap(&mut self) -> usize {
        let before = self.running.len();
        self.running.retain(|orphan| !orphan.is_over());
        before - self.running.len()
    }

    /// Starts the thread, or tells it of the new child. Where there can be no thread, the next drop,
    /// spawn or fork reaps.
    fn see_to_it(&mut self) {
        if self.running.is_empty() || self.resting > 0 {
            return;
        }
        match self.reaper.take() {
            Some(reaper) if !reaper.has_ended => {
                if let Some(bell) = &reaper.bell {
                    bell.ring();
                }
                self.reaper = Some(reaper);
            }
            ended => {
                if let Some(ended) = ended {
                    // So that there are never two, and `rest` can wait for the one.
                    let _ = ended.thread.join();
                }
                self.reaper = start();
            }
        }
    }

    /// Whether the calling thread, the reaper, has to go on. If not, it takes no lock any more.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.resting == 0 && !self.running.is_empty();
        if let Some(reaper) = self.reaper.as_mut().filter(|_| !goes_on) {
            reaper.has_ended = true;
            reaper.bell = None;
        }
        goes_on
    }
}

fn start() -> Option<Reaper> {
    let bell = Bell::new().ok().map(Arc::new);
    let hears = bell.clone();
    let blocked = SignalSet::all().set_scoped();
    let thread = thread::Builder::new()
        .name("streampipe-reaper".to_owned())
        .stack_size(STACK)
        .spawn(move || run(hears.as_deref()));
    drop(blocked);
    Some(Reaper { thread: thread.ok()?, bell, has_ended: false })
}

fn run(bell: Option<&Bell>) {
    loop {
        let (reaped, running) = {
            let mut orphans = lock();
            let reaped = orphans.reap();
            if !orphans.goes_on() {
                return;
            }
            (reaped, orphans.running.clone())
        };
        let pidfds = running.iter().map(|it| (it.pidfd.as_fd(), Interest::Readable));
        let heard = bell.map(|bell| (bell.as_fd(), Interest::Readable));
        let waited: Vec<_> = pidfds.chain(heard).collect();
        let again = bell.is_none().then(|| Instant::now() + WITHOUT_BELL);
        let woken = wait_any(&waited, again);
        let rang = bell.is_some_and(Bell::take);
        if woken.is_err() || (reaped == 0 && !rang) {
            // Dead, and a debugger has not let go of it, perhaps; or there is no memory for the wait.
            let _ = pause(TRACED_PAUSE, None);
        }
    }
}
