//! Ends, channels and children for tasks of [tokio](https://tokio.rs) (feature `tokio`).
//!
//! Each type is the one of the same name outside, which it is made from; it only waits differently. The socket stays
//! as it is: `O_NONBLOCK`, which a child would share, is never set. All of it must be used within a runtime with
//! input, output and time enabled.
//!
//! Traps first:
//!
//! - A future that is kept and not polled any more (`select!` over `&mut future`, and another wait in the branch that was
//!   taken) delays nobody. If it has sent a part of a message, another sender that needs the room withdraws that part. The
//!   next poll of the kept future sends the message from its beginning, so it may arrive behind later ones.
//! - [`fork`](crate::fork()) copies what the runtime asks the kernel to look after, not the kernel's list: a child that
//!   drops one of these takes its socket off the list of the parent, too. Fork before there is a runtime, or leave the
//!   child by `std::process::exit` without dropping any.
//! - Two sides that send more than there is room for before either receives wait for each other, as with threads. Only
//!   a call receives while it sends.
//!
//! # Cancel safety
//!
//! Each method says it. Everything that receives is cancel safe: what has come of a message stays for the next
//! receive. A message that is being sent when its future is dropped is withdrawn as a whole, and the channel goes on.
//!
//! # Examples
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let (mut ours, mut theirs) = streampipe::tokio::pair()?;
//! ours.write_all(b"ping").await?;
//! let mut heard = [0; 4];
//! theirs.read_exact(&mut heard).await?;
//! assert_eq!(&heard, b"ping");
//! # Ok::<(), std::io::Error>(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(feature = "serde")]
mod channel;
mod child;
mod line;
mod raw_channel;
mod raw_request;
mod reader_task;
mod readiness;
mod register_error;
mod seqpacket;
mod stream;
mod waker_set;

#[cfg(feature = "serde")]
pub use channel::{Channel, Incoming, Request, Responder, channel};
pub use child::Child;
pub use raw_channel::RawChannel;
pub use raw_request::RawRequest;
pub use register_error::RegisterError;
pub use seqpacket::SeqPacket;
pub use stream::{Stream, pair};
