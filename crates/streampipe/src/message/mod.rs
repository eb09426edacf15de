//! Raw messages: whole payloads with descriptors, without an encoding.
//!
//! [`Core`](core::Core) is what all channels are made of: it sends and receives whole messages for threads that
//! share it, and hands each message that comes to whoever waits for its kind.

mod assembly;
mod budget;
mod calling;
mod carrier;
mod core;
mod errors;
#[cfg(feature = "tokio")]
mod hearing;
mod incoming;
mod mail;
#[expect(clippy::module_inception, reason = "a public type has a file named after it")]
mod message;
mod outgoing;
mod payload;
mod raw;
mod sending;

pub use budget::Budget;
pub use errors::{CallError, RecvError, SendError, SendReason, TooLarge};
pub use message::Message;
pub use payload::Bytes;
pub use raw::{Messages, RawChannel, RawRequest};

#[cfg(feature = "tokio")]
pub(crate) use core::Stall;
pub(crate) use core::{Arrived, Carries, Core};
#[cfg(feature = "tokio")]
pub(crate) use hearing::{Look, Served};
pub(crate) use mail::Want;
#[cfg(feature = "tokio")]
pub(crate) use outgoing::Suspicion;
pub(crate) use outgoing::{FdSource, Outbound};
pub(crate) use payload::WORTH_SHARING;
#[cfg(feature = "tokio")]
pub(crate) use sending::{SendStep, SendSteps};
