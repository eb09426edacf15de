//! Ends: what is written to one is read from the other.
//!
//! Each public type is a thin shape over [`End`](core::End), where the rules live once.

mod core;
mod datagram;
mod errors;
mod halves;
mod handle;
mod held;
mod hello;
mod modes;
mod packets;
mod patience;
mod peer;
mod pipes;
mod seqpacket;
mod shared;
mod stream;
mod watch;

pub use datagram::Datagram;
pub use errors::{ConvertError, FdError, NoHello, PacketError, PeerGone, is_disconnected};
pub use halves::{ReadHalf, ReuniteError, WriteHalf};
pub use peer::Peer;
pub use seqpacket::SeqPacket;
pub use stream::Stream;

pub(crate) use core::{End, ROOM};
pub(crate) use modes::Waiting;
pub(crate) use watch::{Life, Watch};

pub use stream::pair;
