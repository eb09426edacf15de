//! Memory that two processes share: two rings, and the words that say where they are.
//!
//! The peer may write anything into it at any time. So, in this room and the next:
//!
//! 1. No reference to a byte of a ring exists. Bytes are copied, in instructions that the compiler does not see through
//!    (`copy.rs`), so that what changes meanwhile is a wrong byte and nothing else. (The exception is
//!    [`Trusted`], which takes an `unsafe` word.)
//! 2. Words are atomics, each in its place of [`Control`].
//! 3. Places in a ring are computed from numbers of our own, masked by a capacity that is not in shared memory.
//! 4. Memory that comes from the peer is looked at before it is mapped ([`Unfit`]), and mapped with our length.
//!
//! Layout, version 2: two parts, the first that of the end which made the region; each is a page of control and its
//! outgoing ring.

mod control;
mod copy;
mod map;
mod trusted;
mod unfit;

pub use control::Control;
pub use map::{Owner, Region};
pub use trusted::Trusted;
pub use unfit::Unfit;
