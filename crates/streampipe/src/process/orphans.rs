//! Children dropped while they ran: reaped by a thread that exists only while there are such.
//!
//! Rules of this file:
//!
//! 1. The list, and who runs, are decided under one lock; the thread waits without it.
//! 2. The thread takes no signal: all are blocked in it.
//! 3. [`fork`](crate::fork()) stops the thread first and lets it go on afterwards, for a child would
//!    not have it. A child forgets the list: those are its siblings.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use streampipe_sys::signal::SignalSet;
use streampipe_sys::wait::{Interest, pause, wait_any};
use streampipe_sys::{open, pipe, process};

/// How often a dead child is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// Enough for a loop over `poll`.
const STACK: usize = 64 * 1024;

static ORPHANS: Mutex<Orphans> =
    Mutex::new(Orphans { running: Vec::new(), owner: 0, reaper: None });

struct Orphans {
    running: Vec<Arc<OwnedFd>>,
    /// The process whose children they are.
    owner: u32,
    reaper: Option<Reaper>,
}

/// The thread, from outside.
struct Reaper {
    thread: JoinHandle<()>,
    /// A byte makes it look at the list again; closed, it ends.
    bell: OwnedFd,
}

/// Reaps this child if it has ended, else sees to it that it will be; reaps others that have ended.
pub(super) fn adopt(pidfd: Arc<OwnedFd>) {
    let mut orphans = lock();
    orphans.running.push(pidfd);
    orphans.reap();
    orphans.see_to_it();
}

/// Reaps those that have ended.
pub(crate) fn sweep() {
    lock().reap();
}

/// Stops the thread, if there is one, until the guard is dropped.
pub(crate) fn rest() -> Rest {
    let reaper = lock().reaper.take();
    if let Some(Reaper { thread, bell }) = reaper {
        drop(bell);
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
        std::mem::forget(orphans.reaper.take().map(|reaper| reaper.thread));
        orphans.owner = own;
    }
    orphans
}

impl Orphans {
    /// Reaps those that have ended; returns how many. An error means that it is not ours to reap:
    /// reaped elsewhere already.
    fn reap(&mut self) -> usize {
        let before = self.running.len();
        self.running.retain(|pidfd| matches!(process::try_wait(pidfd.as_fd()), Ok(None)));
        before - self.running.len()
    }

    /// Starts the thread, or tells it of the new child. Where there can be no thread, the next drop,
    /// spawn or fork reaps.
    fn see_to_it(&mut self) {
        if self.running.is_empty() {
            return;
        }
        match &self.reaper {
            Some(reaper) => {
                // A full pipe rings as well.
                let _ = pipe::write(reaper.bell.as_fd(), &[IoSlice::new(&[1])]);
            }
            None => self.reaper = start(),
        }
    }
}

fn start() -> Option<Reaper> {
    let (hears, bell) = open::pipe().ok()?;
    pipe::set_nonblocking(&bell, true).ok()?;
    pipe::set_nonblocking(&hears, true).ok()?;
    let before = SignalSet::all().set();
    let thread = thread::Builder::new()
        .name("streampipe-reaper".to_owned())
        .stack_size(STACK)
        .spawn(move || run(hears.as_fd()));
    before.set();
    Some(Reaper { thread: thread.ok()?, bell })
}

fn run(hears: BorrowedFd<'_>) {
    loop {
        let running = {
            let mut orphans = lock();
            orphans.reap();
            if orphans.running.is_empty() {
                // Under the lock: whoever adds a child from now on starts another thread.
                orphans.reaper = None;
                return;
            }
            orphans.running.clone()
        };
        let pidfds = running.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable));
        let waited: Vec<_> = pidfds.chain([(hears, Interest::Readable)]).collect();
        let _ = wait_any(&waited, None);
        match pipe::read(hears, &mut [IoSliceMut::new(&mut [0; 64])]) {
            Ok(0) => return,
            Ok(_) => {}
            // No bell: a child has ended.
            Err(_) if lock().reap() > 0 => {}
            // And a debugger has not let go of it; or there was no memory for the wait.
            Err(_) => drop(pause(TRACED_PAUSE, None)),
        }
    }
}
