use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use streampipe_sys::process::own_id;
use streampipe_sys::wait::{Interest, wait};

use super::message::{Reply, Request, SIZE};
use crate::end::Waiting;
use crate::{Child, FdError, Stream};

/// How long the zygote is waited for, once nobody is left who could ask. One that has deaths to report
/// stays longer.
const FAREWELL: Duration = Duration::from_millis(100);

/// How long a zygote that has closed its end may take to end.
const DYING: Duration = Duration::from_secs(1);

/// The lines of all zygotes of this process: a new zygote, which has copies of them, closes these.
static LINES: Mutex<Vec<Weak<Control>>> = Mutex::new(Vec::new());

/// The asking side: one question at a time, from any thread of the process that started the zygote.
#[derive(Debug)]
pub(super) struct Control {
    line: Mutex<Line>,
    /// Told when the line is free: one of those who wait. All are told when the zygote is gone.
    free: Condvar,
    /// Workers that were dropped: told with the next question, so that a drop waits for nothing.
    forgotten: Mutex<Vec<u64>>,
    zygote_id: u32,
    /// The process that may ask; a fork of it has a copy, and may not.
    owner: u32,
}

#[derive(Debug)]
struct Line {
    /// `None` while somebody asks, and for good once the zygote is gone.
    stream: Option<Stream>,
    is_gone: bool,
    /// Answers that nobody waits for any more: they come before the next one.
    owed: usize,
    zygote: Option<Child>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// All that came with it, or those there was room for.
    pub(super) fds: Vec<OwnedFd>,
}

impl Control {
    pub(super) fn new(stream: Stream, zygote: Child) -> Arc<Self> {
        let zygote_id = zygote.id();
        let line = Line { stream: Some(stream), is_gone: false, owed: 0, zygote: Some(zygote) };
        let control = Arc::new(Self {
            line: Mutex::new(line),
            free: Condvar::new(),
            forgotten: Mutex::new(Vec::new()),
            zygote_id,
            owner: own_id(),
        });
        let mut lines = lines();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&control));
        drop(lines);
        control
    }

    /// In a new zygote: gives up the copies of the lines of its elders.
    pub(super) fn close_all() {
        for control in lines().drain(..).filter_map(|line| line.upgrade()) {
            let mut line = control.lock();
            line.is_gone = true;
            // Closed, and no more than that: they are our parent's.
            drop(line.stream.take());
            drop(line.zygote.take());
        }
    }

    pub(super) fn zygote_id(&self) -> u32 {
        self.zygote_id
    }

    /// Asks, and waits for the answer, for at most so long.
    ///
    /// After a timeout the question is not taken back: its answer is read, and dropped, before that of
    /// the next one.
    pub(super) fn ask(&self, request: Request, deadline: Option<Instant>) -> io::Result<Answer> {
        let waiting = deadline.map_or(Waiting::Forever, Waiting::Until);
        let mut turn = self.take_turn(deadline)?;
        let answer = turn.converse(request, waiting);
        turn.zygote_is_gone = answer.as_ref().is_err_and(is_about_a_zygote_gone);
        drop(turn);
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => error,
            // The number is worth more than a sentence.
            _ if error.raw_os_error().is_some() && !is_about_a_zygote_gone(&error) => error,
            kind => {
                io::Error::new(kind, format!("the zygote, process {}: {error}", self.zygote_id))
            }
        })
    }

    pub(super) fn forget(&self, serial: u64) {
        self.lock_forgotten().push(serial);
    }

    fn lock_forgotten(&self) -> MutexGuard<'_, Vec<u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the zygote has ended, if it is gone: its end is closed a moment before its workers
    /// become somebody else's children.
    pub(super) fn until_zygote_has_ended(&self) {
        let line = self.lock();
        let zygote = line.zygote.as_ref().filter(|_| line.is_gone);
        let Some(pidfd) = zygote.and_then(|it| it.pidfd().try_clone_to_owned().ok()) else {
            return;
        };
        drop(line);
        let _ = wait(pidfd.as_fd(), Interest::Readable, Some(Instant::now() + DYING));
    }

    /// Waits until nobody else asks.
    fn take_turn(&self, deadline: Option<Instant>) -> io::Result<Turn<'_>> {
        if own_id() != self.owner {
            let text = "the zygote is that of the process which this one was forked from";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let mut line = self.lock();
        loop {
            if line.is_gone {
                let text = format!("the zygote, process {}, is gone", self.zygote_id);
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
            }
            if let Some(stream) = line.stream.take() {
                let owed = line.owed;
                // Until it is known better: a panic leaves a line on which nothing fits together.
                return Ok(Turn {
                    control: self,
                    stream: Some(stream),
                    owed,
                    zygote_is_gone: true,
                });
            }
            line = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
                Some(left) => {
                    self.free.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.free.wait(line).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask, until it is dropped.
struct Turn<'control> {
    control: &'control Control,
    /// `Some` until it is dropped.
    stream: Option<Stream>,
    /// As in [`Line`].
    owed: usize,
    zygote_is_gone: bool,
}

impl Turn<'_> {
    fn converse(&mut self, request: Request, waiting: Waiting) -> io::Result<Answer> {
        let Some(stream) = &self.stream else { return Err(io::ErrorKind::BrokenPipe.into()) };
        while self.owed > 0 {
            // Nobody waits for it: what came with it is closed, and a worker is forgotten.
            if let Reply::Forked { serial, .. } = read_answer(stream, waiting)?.reply {
                self.control.forget(serial);
            }
            self.owed -= 1;
        }
        loop {
            // Not held while it is written; what cannot be written now is for the next turn.
            let Some(serial) = self.control.lock_forgotten().pop() else { break };
            write(stream, Request::Forget(serial), waiting)
                .inspect_err(|_| self.control.forget(serial))?;
        }
        write(stream, request, waiting)?;
        self.owed = 1;
        let answer = read_answer(stream, waiting)?;
        self.owed = 0;
        Ok(answer)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = self.control.lock();
        line.owed = self.owed;
        line.is_gone |= self.zygote_is_gone;
        let is_over = line.is_gone;
        line.stream = self.stream.take().filter(|_| !is_over);
        drop(line);
        // One can go on; when the zygote is gone, nobody can, and each has to hear it.
        let free = &self.control.free;
        if is_over { free.notify_all() } else { free.notify_one() }
    }
}

fn lines() -> MutexGuard<'static, Vec<Weak<Control>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All or nothing: there is room for thousands, and a message that was cut off is an end.
fn write(stream: &Stream, request: Request, waiting: Waiting) -> io::Result<()> {
    match stream.end.write(&request.to_bytes(), waiting)? {
        SIZE => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

fn read_answer(stream: &Stream, waiting: Waiting) -> io::Result<Answer> {
    let mut bytes = [0; SIZE];
    let fds = loop {
        match stream.end.recv_fds(&mut bytes, waiting) {
            // It is sent in one piece, and received so.
            Ok((SIZE, fds)) => break fds,
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            // This process's table is full: they are closed, and their bytes come with the next turn.
            Err(error) if is_about_lost_fds(&error) => {}
            Err(error) => return Err(error),
        }
    };
    let reply = Reply::from_bytes(bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { reply, fds })
}

/// Whether nothing more can be asked. After any other error, such as a lack of memory, the line is as it
/// was, or an answer is owed.
fn is_about_a_zygote_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::WriteZero
    )
}

fn is_about_lost_fds(error: &io::Error) -> bool {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    inside.is_some_and(|inside| matches!(inside, FdError::Lost { .. }))
}

impl Drop for Control {
    fn drop(&mut self) {
        let is_ours = own_id() == self.owner;
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = line.stream.take().filter(|_| is_ours) {
            // In spite of copies that a fork of ours may have: it ends when it reads this.
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(zygote) = line.zygote.as_mut().filter(|_| is_ours) {
            // One that stays to report is reaped when it ends, as any child that was dropped.
            let _ = zygote.wait_timeout(FAREWELL);
        }
    }
}
