//! Payloads, and the memory they are in.

mod bytes;
mod idle;
mod pool;

pub use bytes::Bytes;

pub(crate) use bytes::WORTH_SHARING;
pub(super) use pool::{Pool, is_worth};
