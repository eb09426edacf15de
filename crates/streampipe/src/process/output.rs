//! What a child says, read at once from all places, so that it never waits for room.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe_sys::wait::{Interest, has_ended, wait_any};
use streampipe_sys::{pipe, queue};

use crate::FdError;
use crate::end::{End, Waiting};

/// How much one step reads.
const BUFFER: usize = 64 * 1024;

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

/// Reads each to its end, or until the child has ended and what was there then is read.
///
/// One step of each in turn, so that none is kept waiting by another; and behind the child's end no more
/// than was queued, whoever goes on writing.
pub(super) fn collect(
    pipes: [Option<OwnedFd>; 2],
    stream: Option<&End>,
    meaning: Heard,
    pidfd: BorrowedFd<'_>,
) -> io::Result<Said> {
    let [stdout, stderr] = pipes.map(|pipe| Source::new(pipe.map(Place::Pipe), Heard::IsOutput));
    let stream = Source::new(stream.map(Place::Stream), meaning);
    let mut sources = [stdout, stderr, stream];
    let mut buffer = vec![0; BUFFER];
    loop {
        // Asked before reading: what the child wrote before it ended is there by then.
        if has_ended(pidfd)? {
            sources.iter_mut().try_for_each(|source| source.read_what_was_left(&mut buffer))?;
            let [stdout, stderr, stream] = sources.map(|source| source.read);
            return Ok(Said { pipes: [stdout, stderr], stream });
        }
        let mut has_read = false;
        for source in &mut sources {
            has_read |= source.step(&mut buffer)? > 0;
        }
        if !has_read {
            let open = sources.iter().filter_map(|source| source.place.as_ref());
            let open = open.map(|place| (place.as_fd(), Interest::Readable));
            wait_any(&open.chain([(pidfd, Interest::Readable)]).collect::<Vec<_>>(), None)?;
        }
    }
}

/// How much is read of what a process has left, if a filter refuses the question how much that is.
const MOST_LEFT: u64 = 1 << 20;

enum Place<'end> {
    Pipe(OwnedFd),
    Stream(&'end End),
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            Self::Stream(end) => end.as_fd(),
        }
    }
}

struct Source<'end> {
    /// `None` once its end was read.
    place: Option<Place<'end>>,
    meaning: Heard,
    read: Vec<u8>,
}

impl<'end> Source<'end> {
    fn new(place: Option<Place<'end>>, meaning: Heard) -> Self {
        Self { place, meaning, read: Vec::new() }
    }

    /// Reads once, without waiting; returns how much.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = match &self.place {
            None => return Ok(0),
            Some(Place::Pipe(pipe)) => pipe::read(pipe.as_fd(), &mut [IoSliceMut::new(buffer)]),
            Some(Place::Stream(end)) => end.recv_fds(buffer, Waiting::Never).map(|(len, _)| len),
        };
        match step {
            Ok(0) => self.place = None,
            Ok(len) => {
                if self.meaning == Heard::IsOutput {
                    self.read.extend_from_slice(&buffer[..len]);
                }
                return Ok(len);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The bytes of descriptors that could not be taken come with the next step, and nothing else
            // tells of them.
            Err(error) if error.get_ref().is_some_and(|inside| inside.is::<FdError>()) => {
                return Ok(1);
            }
            // A reset, or a peer that is gone: all that it sent was read.
            Err(_) if matches!(self.place, Some(Place::Stream(_))) => self.place = None,
            Err(error) => return Err(error),
        }
        Ok(0)
    }

    /// Reads as much as is queued now.
    fn read_what_was_left(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let mut left = match place {
            Place::Pipe(pipe) => queue::bytes_queued(pipe),
            Place::Stream(end) => end.bytes_queued(),
        }
        .unwrap_or(MOST_LEFT);
        while left > 0 && self.place.is_some() {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            match self.step(&mut buffer[..most])? {
                0 => return Ok(()),
                len => left -= len as u64,
            }
        }
        Ok(())
    }
}
