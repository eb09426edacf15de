//! What a child says, read at once from all places, so that it never waits for room.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe_sys::pipe;
use streampipe_sys::wait::{Interest, has_ended, wait_any};

use crate::FdError;
use crate::end::{End, Waiting};

/// How much one step reads.
const BUFFER: usize = 64 * 1024;

/// The most steps of one turn: more than any pipe or socket holds, so that what the child wrote before
/// it ended is read, and what others go on writing keeps nobody here.
const TURN: usize = 256;

/// What becomes of what comes on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    IsOutput,
    IsDiscarded,
}

/// What was said on two pipes, and on the stream.
pub(super) struct Said {
    pub(super) pipes: [Vec<u8>; 2],
    pub(super) stream: Vec<u8>,
}

/// Reads each to its end, or until the child has ended and what it wrote is read.
pub(super) fn collect(
    pipes: [Option<OwnedFd>; 2],
    mut stream: Option<&End>,
    meaning: Heard,
    pidfd: BorrowedFd<'_>,
) -> io::Result<Said> {
    let mut heard = Vec::new();
    let mut sources = pipes.map(|pipe| Source { pipe, read: Vec::new() });
    for pipe in sources.iter().filter_map(|source| source.pipe.as_ref()) {
        pipe::set_nonblocking(pipe, true)?;
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        // Asked before reading: what the child wrote before it ended is there by then.
        let gone = has_ended(pidfd)?;
        for source in &mut sources {
            source.read_what_is_there(&mut buffer)?;
        }
        stream = stream.filter(|end| read_what_is_there(end, &mut buffer, &mut heard));
        if meaning == Heard::IsDiscarded {
            heard.clear();
        }
        let mut waited: Vec<_> = sources
            .iter()
            .filter_map(|source| Some((source.pipe.as_ref()?.as_fd(), Interest::Readable)))
            .chain(stream.map(|end| (end.as_fd(), Interest::Readable)))
            .collect();
        if waited.is_empty() || gone {
            return Ok(Said { pipes: sources.map(|source| source.read), stream: heard });
        }
        waited.push((pidfd, Interest::Readable));
        wait_any(&waited, None)?;
    }
}

/// Whether more may come.
fn read_what_is_there(end: &End, buffer: &mut [u8], heard: &mut Vec<u8>) -> bool {
    for _ in 0..TURN {
        match end.recv_fds(buffer, Waiting::Never) {
            Ok((0, _)) => return false,
            Ok((len, _)) => heard.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // The bytes of descriptors that could not be taken are still to come.
            Err(error) if error.get_ref().is_some_and(|inside| inside.is::<FdError>()) => {}
            Err(_) => return false,
        }
    }
    true
}

struct Source {
    /// `None` once its end was read.
    pipe: Option<OwnedFd>,
    read: Vec<u8>,
}

impl Source {
    fn read_what_is_there(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURN {
            let Some(pipe) = &self.pipe else { break };
            match pipe::read(pipe.as_fd(), &mut [IoSliceMut::new(buffer)]) {
                Ok(0) => self.pipe = None,
                Ok(len) => self.read.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
