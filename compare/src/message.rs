//! The message that all ways carry, filled on one side and checked on the other.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is in a message, without the bytes themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which message it is; an odd one wants an answer.
    pub sequence: u64,
    /// Bytes of payload.
    pub size: usize,
    /// Descriptors beside it.
    pub descriptors: usize,
}

impl Order {
    /// The `number`th message, after which the sender waits for an answer or does not.
    pub fn new(number: usize, load: Load, then: Then) -> Self {
        let sequence = (number as u64) << 1 | u64::from(then == Then::Answer);
        Self { sequence, size: load.size, descriptors: load.descriptors }
    }

    /// What answers this, if it wants an answer: as many bytes, and no descriptors.
    pub fn answer(self) -> Option<Self> {
        (self.sequence & 1 == 1).then_some(Self { descriptors: 0, ..self })
    }
}

/// What the receiver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Answer with a message as large.
    Answer,
    /// Receive the next one.
    GoOn,
}

/// How much each message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of payload.
    pub size: usize,
    /// Descriptors.
    pub descriptors: usize,
}

/// Writes every byte of a payload, as a function of the sequence and the place.
pub fn fill(payload: &mut [u8], sequence: u64) {
    let mut word = first_word(sequence);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(1);
    }
    chunks.into_remainder().fill(word as u8);
}

/// Reads every byte of a payload.
///
/// # Errors
///
/// Some byte is not as [`fill`] wrote it.
pub fn check(payload: &[u8], sequence: u64) -> io::Result<()> {
    let mut word = first_word(sequence);
    let mut wrong = 0;
    let chunks = payload.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        // A chunk of eight is eight bytes: the default is never used, and the loop has no branch.
        wrong |= u64::from_le_bytes(chunk.try_into().unwrap_or_default()) ^ word;
        word = word.wrapping_add(1);
    }
    if wrong != 0 || rest.iter().any(|byte| *byte != word as u8) {
        return Err(wrong_bytes(format!("message {sequence} arrived with another payload")));
    }
    Ok(())
}

/// An error about what arrived.
pub fn wrong_bytes(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Differs a lot between neighbouring sequences, so that an old payload is not taken for a new one.
fn first_word(sequence: u64) -> u64 {
    sequence.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The message for serializers that can borrow: nothing is copied before or after them.
#[derive(Serialize, Deserialize)]
pub struct Borrowed<'a> {
    /// Which message it is.
    pub sequence: u64,
    /// What it carries, as one run of bytes.
    #[serde(borrow, with = "serde_bytes")]
    pub payload: &'a [u8],
}

/// A message that owns its payload, for those that want to be given values and give values back.
pub trait Owned: Serialize + DeserializeOwned {
    /// Puts it together.
    fn new(sequence: u64, payload: Vec<u8>) -> Self;
    /// Takes it apart.
    fn parts(self) -> (u64, Vec<u8>);
}

/// The message as it is written without a thought: a `Vec<u8>` is a sequence of numbers to serde.
#[derive(Serialize, Deserialize)]
pub struct Plain {
    sequence: u64,
    payload: Vec<u8>,
}

/// The message by one who knows of `serde_bytes`.
#[derive(Serialize, Deserialize)]
pub struct Bytes {
    sequence: u64,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

impl Owned for Plain {
    fn new(sequence: u64, payload: Vec<u8>) -> Self {
        Self { sequence, payload }
    }

    fn parts(self) -> (u64, Vec<u8>) {
        (self.sequence, self.payload)
    }
}

impl Owned for Bytes {
    fn new(sequence: u64, payload: Vec<u8>) -> Self {
        Self { sequence, payload }
    }

    fn parts(self) -> (u64, Vec<u8>) {
        (self.sequence, self.payload)
    }
}

/// The last payload that arrived, which is filled anew for the next message: no way need allocate
/// for what it sends.
#[derive(Default)]
pub struct Spare(Vec<u8>);

impl Spare {
    /// A payload that is filled.
    pub fn take(&mut self, order: Order) -> Vec<u8> {
        let mut payload = std::mem::take(&mut self.0);
        payload.resize(order.size, 0);
        fill(&mut payload, order.sequence);
        payload
    }

    /// Checks a payload and keeps it.
    ///
    /// # Errors
    ///
    /// It is not as it was filled.
    pub fn put(&mut self, sequence: u64, payload: Vec<u8>) -> io::Result<Order> {
        check(&payload, sequence)?;
        self.0 = payload;
        Ok(Order { sequence, size: self.0.len(), descriptors: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_moved_byte_is_seen() {
        let mut payload = vec![0; 4099];
        fill(&mut payload, 7);
        assert!(check(&payload, 7).is_ok());
        assert!(check(&payload, 9).is_err());
        payload.swap(8, 17);
        assert!(check(&payload, 7).is_err());
        payload.swap(8, 17);
        payload[4098] ^= 1;
        assert!(check(&payload, 7).is_err());
    }
}
