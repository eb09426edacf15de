//! What the measuring process wants of the other one, and what that reports.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use super::block::Block;
use super::usage::Usage;

/// Words of an order and of a report, before its text.
const ORDER: usize = 5;
const REPORT: usize = 5;
/// Bytes that are kept of an error.
const TEXT: usize = 200;

/// What is to be done with each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Receive it.
    Receive,
    /// Receive it and send it back.
    Echo,
    /// Receive it and note how late it was.
    Note,
}

/// So many blocks, from this one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is done with each.
    pub deed: Deed,
    /// The first.
    pub block: Block,
    /// How many.
    pub blocks: usize,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the last was done, by the shared clock.
    pub finished: u64,
    /// What it used.
    pub usage: Usage,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Order {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// The other process is gone.
    pub fn give(self, control: &mut UnixStream) -> io::Result<()> {
        let deed = match self.deed {
            Deed::Receive => 0,
            Deed::Echo => 1,
            Deed::Note => 2,
        };
        let Block { sequence, message, count } = self.block;
        put(control, [deed, sequence, message as u64, count as u64, self.blocks as u64])
    }

    /// Receives one; `None` at the end.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn take(control: &mut UnixStream) -> io::Result<Option<Self>> {
        let [deed, sequence, message, count, blocks] = match get::<ORDER>(control) {
            Ok(words) => words,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let deed = match deed {
            0 => Deed::Receive,
            1 => Deed::Echo,
            _ => Deed::Note,
        };
        let block = Block { sequence, message: message as usize, count: count as usize };
        Ok(Some(Self { deed, block, blocks: blocks as usize }))
    }
}

impl Report {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// The other process is gone.
    pub fn give(&self, control: &mut UnixStream) -> io::Result<()> {
        let Usage { cpu, waits, preempted } = self.usage;
        let text = self.error.as_deref().unwrap_or_default().as_bytes();
        let text = &text[..text.len().min(TEXT)];
        put(control, [self.finished, cpu, waits, preempted, text.len() as u64])?;
        control.write_all(text)
    }

    /// Receives one.
    ///
    /// # Errors
    ///
    /// The other process is gone.
    pub fn take(control: &mut UnixStream) -> io::Result<Self> {
        let [finished, cpu, waits, preempted, length] = get::<REPORT>(control)?;
        let mut text = vec![0; (length as usize).min(TEXT)];
        control.read_exact(&mut text)?;
        let error = (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned());
        Ok(Self { finished, usage: Usage { cpu, waits, preempted }, error })
    }
}

fn put<const N: usize>(control: &mut UnixStream, words: [u64; N]) -> io::Result<()> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    control.write_all(&bytes)
}

fn get<const N: usize>(control: &mut UnixStream) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for word in &mut words {
        let mut bytes = [0; 8];
        control.read_exact(&mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}
