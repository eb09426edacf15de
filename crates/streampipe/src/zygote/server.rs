//! The zygote: one thread, one loop, nothing but what it was given.
//!
//! It ignores every signal that asks it for something. The keys of a terminal, a service manager, or
//! `pkill` reach it together with its parent, and the parent decides what they mean: the zygote ends with
//! its parent, or when the parent has no use for it any more. Workers get the parent's dispositions back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use streampipe_sys::fork::{FromFork, Side, exit_now, fork};
use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::signal::{Dispositions, SignalSet};
use streampipe_sys::wait::{Interest, has_ended, peer_has_finished, wait_any};

use super::brood::{Brood, Fate};
use super::message::{Reply, Request, SIZE};
use crate::end::Waiting;
use crate::{SeqPacket, Stream};

/// How often a dead worker is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// What a worker ends with whose function panicked, as a Rust program does.
const PANICKED: i32 = 101;

/// What the zygote holds; a worker drops all of it.
pub(super) struct Server {
    /// Where the requests come from; its end is ours.
    control: Stream,
    /// The pidfd of the process that started this one.
    parent: OwnedFd,
    brood: Brood,
    next_serial: u64,
    /// What the parent did with each signal at the start; a worker does the same.
    dispositions: Box<Dispositions>,
}

impl Server {
    pub(super) fn new(
        control: Stream,
        news: Option<SeqPacket>,
        parent: OwnedFd,
        dispositions: Box<Dispositions>,
    ) -> Self {
        if let Some(news) = &news {
            // Cannot fail: it is a flag of the handle.
            let _ = news.set_nonblocking(true);
        }
        Self { control, parent, brood: Brood::new(news), next_serial: 0, dispositions }
    }

    /// Serves until the parent has closed its end, or is gone.
    pub(super) fn run(mut self, work: impl FnOnce(Stream) -> i32) -> ! {
        loop {
            match self.next_request() {
                Err(_) | Ok(None) => {
                    let _ = self.report_the_rest();
                    exit_now(0)
                }
                Ok(Some(Request::Forget(serial))) => self.brood.forget(serial),
                Ok(Some(Request::Status(serial))) => {
                    let reply = match self.brood.fate(serial) {
                        Fate::Runs => Reply::Runs,
                        Fate::Ended(Some(status)) => Reply::Ended(status),
                        Fate::Ended(None) => Reply::Unknown,
                    };
                    self.answer(reply, &[]);
                }
                Ok(Some(Request::Signal { serial, number })) => {
                    match self.brood.signal(serial, number) {
                        Ok(()) => self.answer(Reply::Signalled, &[]),
                        Err(error) => self.answer_with(&error),
                    }
                }
                Ok(Some(Request::Fork)) => match self.fork() {
                    Ok(Some(Forked::Worker(stream))) => {
                        drop(self);
                        become_worker(stream, work)
                    }
                    Ok(Some(Forked::Zygote { pid, pidfd, end })) => {
                        self.introduce(pid, pidfd, &end);
                    }
                    Ok(None) => self.answer(Reply::Failed(numbers::EAGAIN), &[]),
                    Err(error) => self.answer_with(&error),
                },
            }
        }
    }

    /// Forks. What is sent to a worker meanwhile waits until it does with signals what the parent did.
    fn fork(&self) -> io::Result<Option<Forked>> {
        let _blocked = SignalSet::all().set_scoped();
        let forked = fork::<Forked>();
        if let Ok(Some(Forked::Worker(_))) = &forked {
            self.dispositions.restore();
        }
        forked
    }

    /// Waits for a request; meanwhile reaps, and reports deaths. `None` if nobody is left to ask.
    fn next_request(&mut self) -> io::Result<Option<Request>> {
        loop {
            self.brood.reap();
            self.brood.tell();
            let mut bytes = [0; SIZE];
            match self.control.end.read(&mut bytes, Waiting::Never) {
                Ok(0) => return Ok(None),
                Ok(filled) => {
                    io::Read::read_exact(&mut &self.control, &mut bytes[filled..])?;
                    return Ok(Request::from_bytes(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if has_ended(self.parent.as_fd())? {
                return Ok(None);
            }
            self.sleep(&[self.control.as_fd(), self.parent.as_fd()])?;
        }
    }

    /// Nobody asks any more: reports the deaths that are still to be told, as long as somebody may read
    /// them.
    fn report_the_rest(&mut self) -> io::Result<()> {
        while !has_ended(self.parent.as_fd())? {
            self.brood.reap();
            self.brood.tell();
            let Some(news) = self.brood.news_to_come() else { break };
            if peer_has_finished(news)? {
                break;
            }
            self.sleep(&[self.parent.as_fd(), news])?;
        }
        Ok(())
    }

    fn sleep(&self, readable: &[BorrowedFd<'_>]) -> io::Result<()> {
        // A worker that has ended and cannot be reaped, as somebody traces it, would wake us for ever: it
        // is looked at now and then.
        let is_traced = |pidfd: &BorrowedFd<'_>| has_ended(*pidfd).unwrap_or(false);
        let (traced, running): (Vec<_>, Vec<_>) = self.brood.pidfds().partition(is_traced);
        let again = (!traced.is_empty()).then(|| Instant::now() + TRACED_PAUSE);
        let news = self.brood.blocked_news();
        let waited: Vec<(BorrowedFd<'_>, Interest)> = readable
            .iter()
            .copied()
            .chain(running)
            .chain(news)
            .map(|fd| (fd, Interest::Readable))
            .chain(news.map(|news| (news, Interest::Writable)))
            .collect();
        wait_any(&waited, again).map(drop)
    }

    fn introduce(&mut self, pid: u32, pidfd: OwnedFd, end: &Stream) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.answer(Reply::Forked { serial, pid }, &[end.as_fd(), pidfd.as_fd()]);
        self.brood.add(serial, pid, pidfd);
    }

    fn answer_with(&self, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(numbers::EAGAIN);
        self.answer(Reply::Failed(errno), &[]);
    }

    /// The parent waits for each answer, so there is room. One that has gone is noticed by the loop.
    fn answer(&self, reply: Reply, fds: &[BorrowedFd<'_>]) {
        if self.control.send_fds(&reply.to_bytes(), fds).is_err() && !fds.is_empty() {
            // For example too many descriptors in flight: the worker reads its end, and ends.
            let _ = self.control.send_fds(&Reply::Failed(numbers::EAGAIN).to_bytes(), &[]);
        }
    }
}

/// The two sides of a worker's birth.
enum Forked {
    Zygote { pid: u32, pidfd: OwnedFd, end: Stream },
    Worker(Stream),
}

impl FromFork for Forked {
    type Prepared = (Stream, Stream);

    fn prepare() -> io::Result<(Stream, Stream)> {
        Stream::pair()
    }

    fn split((end, theirs): (Stream, Stream), side: Side) -> io::Result<Self> {
        match side {
            // Only this loop reaps, so the number is still the worker's.
            Side::Parent(pid) => match process::open(pid) {
                Ok(pidfd) => Ok(Self::Zygote { pid: pid.unsigned_abs(), pidfd, end }),
                Err(error) => {
                    // It would have read its end at once.
                    drop((end, theirs));
                    process::kill_by_id(pid);
                    let _ = process::reap_by_id(pid);
                    Err(error)
                }
            },
            Side::Child => Ok(Self::Worker(theirs)),
        }
    }
}

fn become_worker(stream: Stream, work: impl FnOnce(Stream) -> i32) -> ! {
    let code = catch_unwind(AssertUnwindSafe(|| work(stream))).unwrap_or(PANICKED);
    std::process::exit(code)
}
