//! What can go wrong with messages: a variant for each thing that a caller would do differently.

mod call;
mod recv;
mod send;
mod too_large;

pub use call::CallError;
pub use recv::RecvError;
pub use send::{SendError, SendReason};
pub use too_large::TooLarge;
