//! The ring: where its two sides are, when one must wake the other, and what of the other's words may be believed.
//!
//! A ring carries bytes from one process to another through memory that both can write. This crate has neither the bytes
//! nor the memory: it decides about **positions**, counts of bytes that never wrap in practice (2^62), and about the few
//! shared [`Words`]. Rules:
//!
//! 1. Every word has one writing process. What a side knows of itself it keeps privately, and only publishes.
//! 2. A word of the peer's is loaded once, checked against our own numbers, and then used from there ([`Corrupt`]).
//! 3. Who is about to sleep says so in its [`Arm`] word, up to where, and looks once more behind a full fence; who moves
//!    a position looks at that word behind a full fence. One of the two sees the other, so no wake-up is lost, and nobody
//!    is woken who does not sleep: at most one wake-up for each sleep.
//!
//! The proof of 3 is in `wake.rs` of the tests, by exhaustive search of all executions of the memory model, with variants
//! that lack one thing each and must fail.

#![no_std]
#![forbid(unsafe_code)]

mod arm;
mod capacity;
mod consumer;
mod corrupt;
mod endings;
mod outlook;
pub mod position;
mod producer;
mod waitpoint;
mod word;
mod words;

pub use arm::{Arm, Sleep};
pub use capacity::Capacity;
pub use consumer::Consumer;
pub use corrupt::{Corrupt, Overrun};
pub use endings::{Half, Sleepers, closings, end, note_closing, sleepers};
pub use outlook::Outlook;
pub use producer::Producer;
pub use waitpoint::Waitpoint;
pub use word::Word;
pub use words::{Mark, View, Words};
