//! Frames: how a message, and the descriptors in it, become bytes and come back.
//!
//! Bytes in, bytes out: no input, no output, no allocation, no time. `doc/PROTOCOL.md` of the repository is the
//! specification; this crate is one implementation of it.
//!
//! - [`Header`] is the fixed part of a frame: [`HEADER_LEN`] bytes.
//! - [`Frames`] cuts a message into frames: the encoder.
//! - [`Decoder`] finds the frames in a stream of bytes, wherever that is cut; [`parse_packet`] in a packet, which
//!   is one frame.
//! - [`Sequence`] checks that frames that follow each other make up messages. The decoder has one inside.
//! - [`Note`] is what goes over the lifeline of a ring.
//!
//! # Examples
//!
//! ```
//! use streampipe_wire::{Decoder, Event, Frames, Kind, Totals};
//!
//! let payload = b"take this";
//! let totals = Totals { bytes: payload.len() as u64, fds: 0 };
//! let mut wire = Vec::new();
//! for frame in Frames::new(Kind::Message, 0, totals) {
//!     wire.extend(frame.header.to_bytes());
//!     wire.extend(&payload[frame.bytes]);
//! }
//!
//! let (mut decoder, mut heard) = (Decoder::new(), Vec::<u8>::new());
//! for mut piece in wire.chunks(5) {
//!     while let Some(event) = decoder.next(&mut piece)? {
//!         if let Event::Payload(bytes) = event {
//!             heard.extend(bytes);
//!         }
//!     }
//! }
//! assert_eq!(heard, payload);
//! assert!(decoder.finish().is_ok());
//! # Ok::<(), streampipe_wire::Malformed>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

mod decoder;
mod frames;
mod header;
mod kind;
mod malformed;
mod note;
mod packet;
mod sequence;
mod torn;

pub use decoder::{Decoder, Event, Want};
pub use frames::{Frame, Frames, Totals};
pub use header::{HEADER_LEN, Header, MAGIC, VERSION};
pub use kind::Kind;
pub use malformed::Malformed;
pub use note::{BadNote, NOTE_LEN, Note, NumberedNote};
pub use packet::parse_packet;
pub use sequence::{MAX_FDS, MAX_PAYLOAD, Place, Sequence};
pub use torn::Torn;
