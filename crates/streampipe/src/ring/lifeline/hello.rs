//! A hello over a lifeline: the kernel attests who sent the note, as it does of bytes of a socket.

use std::io;

use streampipe_sys::message::Sender;
use streampipe_sys::wait::{Interest, wait};
use streampipe_wire::Note;

use super::notes::send_note;
use crate::end::Waiting;
use crate::ring::ring::{Line, Ring};
use crate::ring::waiting::{Direction, SLICE};

/// What came first.
#[derive(Debug)]
pub(crate) enum Hello {
    /// A hello, and who said it, if the kernel was asked.
    Said(Option<Box<Sender>>),
    /// Bytes.
    SomethingElse,
    /// The end.
    Ended,
}

impl Ring {
    /// Says hello.
    pub(crate) fn send_hello(&self, line: &Line<'_>, waiting: Waiting) -> io::Result<()> {
        loop {
            // As for bytes: not to a peer that is gone.
            drop(self.open_writer(line)?);
            match send_note(line.fd, Note::Hello.numbered(0), &[]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.check_life(line)?;
                    if waiting == Waiting::Never {
                        return Err(error);
                    }
                }
                done => return done,
            }
            let slice = std::time::Instant::now() + SLICE;
            let until = waiting.deadline().map_or(slice, |at| at.min(slice));
            wait(line.fd, Interest::Writable, Some(until))?;
            if waiting.is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Waits for a hello, or something else.
    pub(crate) fn recv_hello(&self, line: &Line<'_>, waiting: Waiting) -> io::Result<Hello> {
        self.patiently(line, Direction::Reading { due: 0 }, waiting, || {
            // It was sent before any byte that is there now.
            let there = self.open_reader(1, line)?.map(|(_, available)| available);
            self.hear_hello(line)?;
            if let Some(sender) = self.lifeline().take_hello() {
                return Ok(Some(Hello::Said(sender)));
            }
            Ok(there
                .map(|available| if available > 0 { Hello::SomethingElse } else { Hello::Ended }))
        })
    }
}
