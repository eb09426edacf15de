use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::message::{Reply, Request, SIZE};
use crate::{Child, FdError, Stream};

/// How long an answer may take: the zygote does nothing else, so it was stopped, or worse.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the zygote has for its end, once nobody is left who could ask.
const FAREWELL: Duration = Duration::from_secs(1);

/// The asking side: one question at a time, from any thread.
#[derive(Debug)]
pub(super) struct Control {
    line: Mutex<Line>,
    /// Workers that were dropped: told with the next question, so that a drop waits for nothing.
    forgotten: Mutex<Vec<u64>>,
}

#[derive(Debug)]
struct Line {
    /// `None` once it is out of step.
    stream: Option<Stream>,
    zygote: Child,
}

impl Control {
    pub(super) fn new(stream: Stream, zygote: Child) -> Self {
        stream.end.set_timeouts(Some(PATIENCE));
        let line = Mutex::new(Line { stream: Some(stream), zygote });
        Self { line, forgotten: Mutex::new(Vec::new()) }
    }

    pub(super) fn zygote_id(&self) -> u32 {
        self.line().zygote.id()
    }

    /// Asks, and waits for the answer and its descriptors: all of them, or those there was room for.
    pub(super) fn ask(&self, request: Request) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let mut line = self.line();
        let id = line.zygote.id();
        let Some(stream) = &line.stream else {
            let text =
                format!("the zygote, process {id}, did not answer before, and is not asked again");
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        };
        let answer = self.tell_of_forgotten(stream).and_then(|()| converse(stream, request));
        answer.map_err(|error| {
            // A late answer would be taken for that of the next question.
            line.stream = None;
            let gone = "is gone, or did not answer";
            io::Error::new(error.kind(), format!("the zygote, process {id}, {gone}: {error}"))
        })
    }

    pub(super) fn forget(&self, serial: u64) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).push(serial);
    }

    fn tell_of_forgotten(&self, mut stream: &Stream) -> io::Result<()> {
        let forgotten =
            std::mem::take(&mut *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        forgotten.into_iter().try_for_each(|it| stream.write_all(&Request::Forget(it).to_bytes()))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn converse(mut stream: &Stream, request: Request) -> io::Result<(Reply, Vec<OwnedFd>)> {
    stream.write_all(&request.to_bytes())?;
    let mut bytes = [0; SIZE];
    let (mut filled, mut fds) = (0, Vec::new());
    while filled < SIZE {
        match stream.recv_fds(&mut bytes[filled..]) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((len, more)) => {
                filled += len;
                fds.extend(more);
            }
            // This process's table is full: they are closed, and their bytes come with the next turn.
            Err(error) if is_about_lost_fds(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let reply = Reply::from_bytes(bytes).ok_or(io::ErrorKind::InvalidData)?;
    Ok((reply, fds))
}

fn is_about_lost_fds(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inside| inside.downcast_ref())
        .is_some_and(|inside| matches!(inside, FdError::Lost { .. }))
}

impl Drop for Line {
    fn drop(&mut self) {
        // It ends when it reads this.
        drop(self.stream.take());
        if let Ok(None) = self.zygote.wait_timeout(FAREWELL) {
            let _ = self.zygote.kill();
            let _ = self.zygote.wait();
        }
    }
}
