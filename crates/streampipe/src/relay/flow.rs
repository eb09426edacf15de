use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::FdError;
use crate::end::{End, Waiting};

/// The most bytes one direction holds.
const BUFFER: usize = 64 * 1024;

/// The most steps of one turn, a read or a write each, so that the other direction has its turn
/// however fast this one is.
const TURN: usize = 16;

/// How far a direction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advanced {
    AsFarAsItGoes,
    ForOneTurn,
}

/// What a direction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    ToRead,
    ToWrite,
    Nothing,
}

/// One direction: reads from one end, writes to the other, and holds at most one buffer.
pub(super) struct Flow<'ends> {
    from: &'ends End,
    to: &'ends End,
    buffer: Vec<u8>,
    /// `buffer[start..end]` and `fds` were received and not sent yet; the descriptors belong to
    /// the first of the bytes.
    start: usize,
    end: usize,
    fds: Vec<OwnedFd>,
    pub(super) wants: Wants,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) fds_dropped: u64,
    pub(super) trouble: Option<io::Error>,
}

impl<'ends> Flow<'ends> {
    pub(super) fn new(from: &'ends End, to: &'ends End) -> Self {
        Self {
            from,
            to,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            fds: Vec::new(),
            wants: Wants::ToRead,
            delivered: 0,
            dropped: 0,
            fds_dropped: 0,
            trouble: None,
        }
    }

    /// Goes on until it would have to wait, the direction has ended, or it has had its turn.
    pub(super) fn advance(&mut self) -> Advanced {
        for _ in 0..TURN {
            if self.wants == Wants::Nothing {
                return Advanced::AsFarAsItGoes;
            }
            let step = if self.start == self.end { self.fill() } else { self.drain() };
            match step {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Advanced::AsFarAsItGoes;
                }
                Err(error) => self.take_note_or_give_up(error),
            }
        }
        Advanced::ForOneTurn
    }

    fn fill(&mut self) -> io::Result<()> {
        self.wants = Wants::ToRead;
        let (len, fds) = self.from.recv_fds(&mut self.buffer, Waiting::Never)?;
        if len == 0 {
            self.wants = Wants::Nothing;
            // Passed on; a peer that is gone does not have to be told.
            let _ = self.to.shutdown(Shutdown::Write);
            return Ok(());
        }
        (self.start, self.end, self.fds) = (0, len, fds);
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        self.wants = Wants::ToWrite;
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        let bytes = &self.buffer[self.start..self.end];
        let sent = self.to.send_fds(bytes, &fds, Waiting::Never)?;
        // The kernel has its own copies now.
        self.fds.clear();
        self.start += sent;
        self.delivered += sent as u64;
        Ok(())
    }

    /// The bytes that came with lost descriptors are still there: after those, it reads on.
    fn take_note_or_give_up(&mut self, error: io::Error) {
        match fds_closed(&error) {
            Some(count) => {
                self.fds_dropped += count;
                self.trouble.get_or_insert(error);
            }
            None => self.give_up(error),
        }
    }

    /// Ends the direction early: the writer is told, what it has sent already is counted.
    pub(super) fn give_up(&mut self, error: io::Error) {
        self.wants = Wants::Nothing;
        let _ = self.to.shutdown(Shutdown::Write);
        let _ = self.from.shutdown(Shutdown::Read);
        self.drop_pending();
        // Left in the queue, the bytes would turn the end that the writer reads into a reset when the caller closes. After the
        // shutdown nothing can come into a socket; a ring takes what its peer goes on writing, which is not waited for.
        let ring = self.from.ring().map(|(ring, _)| ring.capacity() as u64);
        let most = ring.map_or(u64::MAX, |holds| self.dropped + holds);
        while self.dropped < most {
            match self.from.recv_fds(&mut self.buffer, Waiting::Never) {
                Ok((len @ 1.., fds)) => (self.start, self.end, self.fds) = (0, len, fds),
                Ok(_) => break,
                Err(error) => match fds_closed(&error) {
                    Some(count) => self.fds_dropped += count,
                    None => break,
                },
            }
            self.drop_pending();
        }
        self.trouble.get_or_insert(error);
    }

    fn drop_pending(&mut self) {
        self.dropped += (self.end - self.start) as u64;
        self.fds_dropped += self.fds.len() as u64;
        self.fds.clear();
        self.start = self.end;
    }
}

/// How many descriptors arrived and were closed, if that is what the error is about.
fn fds_closed(error: &io::Error) -> Option<u64> {
    match error.get_ref()?.downcast_ref()? {
        FdError::Lost { arrived, .. } | FdError::Refused { arrived, .. } => Some(*arrived as u64),
        FdError::Orphaned { count } => Some(*count as u64),
        _ => None,
    }
}
