//! Ends: what is written to one is read from the other.
//!
//! Each public type is a thin shape over [`End`](core::End), where the rules live once.

mod convert_error;
mod core;
mod datagram;
mod fd_error;
mod halves;
mod handle;
mod held;
mod modes;
mod packet_error;
mod packets;
mod seqpacket;
mod shared;
mod stream;

pub use convert_error::ConvertError;
pub use datagram::Datagram;
pub use fd_error::FdError;
pub use halves::{ReadHalf, ReuniteError, WriteHalf};
pub use packet_error::PacketError;
pub use seqpacket::SeqPacket;
pub use stream::Stream;

pub(crate) use core::End;
pub(crate) use modes::Waiting;

pub use stream::pair;
