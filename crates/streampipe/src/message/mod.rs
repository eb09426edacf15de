//! Raw messages: whole payloads with descriptors, without an encoding.
//!
//! [`Core`](core::Core) is what all channels are made of: it sends and receives whole messages for threads that
//! share it, and hands each message that comes to whoever waits for its kind.

mod assembly;
mod budget;
mod bytes;
mod carrier;
mod core;
mod errors;
mod incoming;
mod mail;
mod message;
mod outgoing;
mod pool;
mod raw_channel;
mod turn;

pub use budget::Budget;
pub use bytes::Bytes;
pub use errors::{RecvError, SendError, SendReason, TooLarge};
pub use message::Message;
pub use raw_channel::{Messages, RawChannel};

pub(crate) use core::{Arrived, Carries, Core};
pub(crate) use mail::Want;
