//! Ours: channels of raw messages and of values, over packets and over a stream.
//!
//! Those that block are here; those that live in tokio's runtime will be a file beside them.

mod over;
mod raw;
mod spare;
mod typed;

pub(super) use raw::{RAW, RAW_STREAM};
pub(super) use typed::{TYPED, TYPED_STREAM};
