//! What a child says that has a copy of the parent's memory: over a pipe that `exec` closes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libc::c_int;

use crate::open;
use crate::spawn::Step;

/// The child's side: the number of the pipe's writing end, in its own table.
#[derive(Clone, Copy, Debug)]
pub(in crate::spawn) struct Report {
    number: RawFd,
}

/// A step that is none: the child is about to execute its program.
const TRIES_EXEC: c_int = -1;

/// A record: which step failed, and the error's number.
type Record = [c_int; 2];

impl Report {
    /// The number, for whoever places descriptors: nothing else may go there.
    pub(in crate::spawn) fn number(self) -> RawFd {
        self.number
    }

    /// The pipe's writing end, which has this number now.
    pub(in crate::spawn) fn at(number: RawFd) -> Self {
        Self { number }
    }

    /// In the child: says that it is about to execute its program.
    pub(in crate::spawn) fn tries_exec(self) {
        self.write([TRIES_EXEC, 0]);
    }

    /// In the child: says what failed.
    pub(in crate::spawn) fn failed(self, step: Step, errno: c_int) {
        self.write([step as c_int, errno]);
    }

    fn write(self, record: Record) {
        let bytes = (&raw const record).cast::<libc::c_void>();
        // SAFETY: the pointer and the length describe `record`. A record is shorter than `PIPE_BUF`, so it is
        // written whole; the pipe has room for several.
        unsafe { libc::write(self.number, bytes, size_of::<Record>()) };
    }
}

/// The parent's side.
#[derive(Debug)]
pub(in crate::spawn) struct ReportReader {
    reader: OwnedFd,
    /// Closed as soon as the child has its copy.
    writer: OwnedFd,
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spawn) enum Verdict {
    /// The child came as far as `exec`, and nothing failed.
    Executed,
    /// A step failed.
    Failed(Step, c_int),
    /// The child was killed before it came to `exec`.
    Killed,
}

impl ReportReader {
    pub(in crate::spawn) fn open() -> io::Result<Self> {
        let (reader, writer) = open::pipe()?;
        Ok(Self { reader, writer })
    }

    pub(in crate::spawn) fn for_child(&self) -> Report {
        Report { number: self.writer.as_raw_fd() }
    }

    /// Waits until the child has executed its program, or has ended.
    pub(in crate::spawn) fn read(self) -> io::Result<Verdict> {
        drop(self.writer);
        let mut bytes = Vec::new();
        File::from(self.reader).read_to_end(&mut bytes)?;
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(c_int::from_ne_bytes);
        let last = bytes.len().checked_sub(size_of::<Record>());
        let record = last.and_then(|at| Some((word(at)?, word(at + 4)?)));
        Ok(match record {
            None => Verdict::Killed,
            Some((TRIES_EXEC, _)) => Verdict::Executed,
            Some((step, errno)) => Verdict::Failed(Step::from_number(step), errno),
        })
    }
}
