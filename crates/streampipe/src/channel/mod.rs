//! Typed channels: values with descriptors inside.

#[expect(clippy::module_inception, reason = "a public type has a file named after it")]
mod channel;
mod encoding;
mod fd;
mod request;
mod sendable;
pub(crate) mod shuttle;
mod values;

pub use channel::{Channel, channel};
pub use encoding::{Undecodable, passed};
pub use fd::Fd;
pub use request::{Request, Responder};
pub use sendable::Sendable;
pub use values::{Incoming, Values};

#[cfg(feature = "tokio")]
pub(crate) use encoding::Encoded;
