//! What is sent at once: one message, or many small ones that are published together.

use std::io;

use super::pattern::{difference, fill, fill_lines, lines_difference};

/// The one size of the small messages that are published together.
pub const RECORD: usize = 64;

/// One message, or several of [`RECORD`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the first message.
    pub sequence: u64,
    /// Bytes of each message.
    pub message: usize,
    /// How many.
    pub count: usize,
}

impl Block {
    /// One message.
    pub const fn one(message: usize) -> Self {
        Self { sequence: 0, message, count: 1 }
    }

    /// So many small messages at once.
    pub const fn many(count: usize) -> Self {
        Self { sequence: 0, message: RECORD, count }
    }

    /// Bytes of all messages.
    pub const fn size(self) -> usize {
        self.message * self.count
    }

    /// The block that is sent after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { sequence: self.sequence.wrapping_add(self.count as u64), ..self }
    }

    /// The same messages elsewhere in the count of all.
    #[must_use]
    pub const fn starting_at(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// Writes every byte of a part, which begins `offset` bytes into the block: between two messages
    /// if there are several, else at a multiple of 8.
    pub fn fill(self, part: &mut [u8], offset: usize) {
        if self.count == 1 {
            fill(part, self.sequence, offset);
        } else {
            fill_lines(part, self.sequence.wrapping_add((offset / RECORD) as u64));
        }
    }

    /// Reads every byte of a part and says whether they are as they were written.
    ///
    /// # Errors
    ///
    /// Some byte is not.
    pub fn check(self, part: &[u8], offset: usize) -> io::Result<()> {
        let wrong = if self.count == 1 {
            difference(part, self.sequence, offset)
        } else {
            lines_difference(part, self.sequence.wrapping_add((offset / RECORD) as u64))
        };
        if wrong == 0 {
            return Ok(());
        }
        let (kind, at) = (io::ErrorKind::InvalidData, self.sequence);
        Err(io::Error::new(kind, format!("message {at} differs from byte {offset} on")))
    }
}
