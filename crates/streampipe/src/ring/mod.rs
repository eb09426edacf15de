//! The ring engine: a stream pipe in shared memory, with the socket as its lifeline.
//!
//! - [`Ring`](ring::Ring) is one end; all handles of it share it. `reading.rs` and `writing.rs` are what it does at once,
//!   `waiting.rs` how it waits where that is not possible, `spin.rs` for how long it stays awake first.
//! - `lifeline.rs` is the socket: doorbells, descriptors, and the end.
//! - Positions and wake-ups are decided in `streampipe-ring`, bytes are copied in `streampipe-sys`.

mod builder;
mod engine;
mod lifeline;
mod poisoned;
mod readable;
mod reading;
mod reserved;
#[allow(clippy::module_inception, reason = "a public type has its file; this one is the room's")]
mod ring;
mod spin;
mod wait;
mod waiting;
mod writing;

pub use builder::Builder;
pub use engine::Engine;
pub use poisoned::Poisoned;
pub use readable::Readable;
pub use reserved::Reserved;
pub use wait::Wait;

pub(crate) use reading::Taking;
pub(crate) use ring::{Line, Ring};
