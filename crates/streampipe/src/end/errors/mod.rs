//! What can go wrong with an end, beyond what the kernel says.

mod convert;
mod disconnected;
mod fd;
mod no_hello;
mod packet;
mod peer_gone;

pub use convert::ConvertError;
pub use disconnected::is_disconnected;
pub use fd::FdError;
pub use no_hello::NoHello;
pub use packet::PacketError;
pub use peer_gone::PeerGone;
