//! Ours: channels of raw messages and of values, over packets and over a stream, for threads and for tasks.

mod over;
mod raw;
mod spare;
mod tokio;
mod typed;

pub(super) use self::tokio::{TokioRaw, TokioTyped};
pub(super) use raw::{RAW, RAW_STREAM};
pub(super) use typed::{TYPED, TYPED_BUSY, TYPED_STREAM};
