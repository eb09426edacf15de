//! Channels for those who bring their own encoding.

mod messages;
mod raw_channel;
mod raw_request;

pub use messages::Messages;
pub use raw_channel::RawChannel;
pub use raw_request::RawRequest;
