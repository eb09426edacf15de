//! Ends, channels and children for tasks of [tokio](https://tokio.rs) (feature `tokio`).
//!
//! Each type is the one of the same name outside, which it is made from; it only waits differently. The socket stays
//! as it is: `O_NONBLOCK`, which a child would share, is never set. All of it must be used within a runtime with
//! input, output and time enabled.
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
mod readiness;
mod seqpacket;
mod stream;

#[cfg(feature = "serde")]
pub use channel::{Channel, Incoming, Request, Responder, channel};
pub use child::Child;
pub use raw_channel::RawChannel;
pub use seqpacket::SeqPacket;
pub use stream::{Stream, pair};
