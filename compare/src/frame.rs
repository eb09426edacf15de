//! A message on a byte stream, by hand: its length, then its bytes; one buffer, used again and again.

use std::io;

use crate::message::{Borrowed, Order, check, fill, wrong_bytes};

/// Bytes of the length that comes first.
pub const PREFIX: usize = 4;
/// The most that a serializer adds to a payload: the sequence and the length, each 10 at most.
const MORE: usize = 20;
/// Longer ones are refused before there is a buffer for them.
const MAX_BODY: usize = 128 << 20;
/// More than the send buffer of a socket that nobody has tuned.
const MAX_PACKET: usize = 256 << 10;

/// How the message becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The sequence as it is in memory, then the payload.
    Raw,
    /// A struct through serde and postcard.
    Postcard,
}

/// The buffer, and for a serializer the payload that it copies from.
pub struct Frame {
    encoding: Encoding,
    buffer: Vec<u8>,
    payload: Vec<u8>,
}

impl Frame {
    /// No memory yet.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, buffer: Vec::new(), payload: Vec::new() }
    }

    /// Fills a message's payload; returns the message with its length in front.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn encode(&mut self, order: Order) -> io::Result<&[u8]> {
        let size = order.size;
        self.reserve(PREFIX + MORE + size);
        let body = &mut self.buffer[PREFIX..];
        let length = match self.encoding {
            Encoding::Raw => {
                body[..8].copy_from_slice(&order.sequence.to_le_bytes());
                fill(&mut body[8..8 + size], order.sequence);
                8 + size
            }
            Encoding::Postcard => {
                self.payload.resize(size, 0);
                fill(&mut self.payload, order.sequence);
                let message = Borrowed { sequence: order.sequence, payload: &self.payload };
                postcard::to_slice(&message, body).map_err(io::Error::other)?.len()
            }
        };
        let prefix = u32::try_from(length).map_err(io::Error::other)?;
        self.buffer[..PREFIX].copy_from_slice(&prefix.to_le_bytes());
        Ok(&self.buffer[..PREFIX + length])
    }

    /// Where the body that this length announces is to be read into.
    ///
    /// # Errors
    ///
    /// It is longer than any message here.
    pub fn body(&mut self, prefix: [u8; PREFIX]) -> io::Result<&mut [u8]> {
        let length = u32::from_le_bytes(prefix) as usize;
        if length > MAX_BODY {
            return Err(wrong_bytes(format!("body of {length} exceeds the limit of {MAX_BODY}")));
        }
        self.reserve(length);
        Ok(&mut self.buffer[..length])
    }

    /// Where a packet of unknown length is to be read into.
    pub fn room(&mut self) -> &mut [u8] {
        self.reserve(MAX_PACKET);
        &mut self.buffer[..MAX_PACKET]
    }

    /// Checks the body that was read.
    ///
    /// # Errors
    ///
    /// The serializer's; the payload is not as it was filled.
    pub fn decode(&self, length: usize) -> io::Result<Order> {
        let body = &self.buffer[..length];
        let (sequence, payload) = match self.encoding {
            Encoding::Raw => {
                let (first, payload) =
                    body.split_first_chunk().ok_or_else(|| wrong_bytes("no sequence"))?;
                (u64::from_le_bytes(*first), payload)
            }
            Encoding::Postcard => {
                let message: Borrowed<'_> = postcard::from_bytes(body).map_err(wrong_bytes)?;
                (message.sequence, message.payload)
            }
        };
        check(payload, sequence)?;
        Ok(Order { sequence, size: payload.len(), descriptors: 0 })
    }

    /// Grows and never shrinks: new bytes are zeroed once.
    fn reserve(&mut self, length: usize) {
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
    }
}
