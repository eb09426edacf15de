use std::cell::Cell;
use std::fmt;

/// How deep values may be nested.
const DEPTH: u32 = 128;

/// How many parts a value may have that take no bytes, before those that do count.
const FREE_PARTS: u64 = 65_536;

/// How many parts there may be for each byte: structures of structures of one byte.
const PARTS_PER_BYTE: u64 = 16;

/// Counts on the way down into a value.
#[derive(Debug, Default)]
pub(in crate::channel::encoding) struct Tally {
    depth: Cell<u32>,
    parts: Cell<u64>,
}

/// A bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value nested deeper than {DEPTH}")
    }
}

impl Tally {
    /// Goes one deeper, until what is returned is dropped.
    pub(super) fn enter(&self) -> Result<Level<'_>, TooMuch> {
        self.parts.set(self.parts.get() + 1);
        let depth = self.depth.get() + 1;
        if depth > DEPTH {
            return Err(TooMuch);
        }
        self.depth.set(depth);
        Ok(Level { tally: self })
    }

    /// Whether there are more parts than so many bytes can have.
    pub(in crate::channel::encoding) fn is_beyond(&self, bytes: u64) -> bool {
        let bytes = bytes.saturating_mul(PARTS_PER_BYTE);
        self.parts.get() > bytes.saturating_add(FREE_PARTS)
    }
}

/// One level of nesting.
pub(super) struct Level<'tally> {
    tally: &'tally Tally,
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.tally.depth.set(self.tally.depth.get() - 1);
    }
}
