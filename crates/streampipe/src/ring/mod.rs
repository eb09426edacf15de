//! The ring engine: a stream pipe in shared memory, with the socket as its lifeline.
//!
//! - [`Ring`](ring::Ring) is one end; all handles of it share it. `reading.rs` and `writing.rs` are what it does at once,
//!   `waiting.rs` how it waits where that is not possible, `spin.rs` for how long it stays awake first.
//! - `lifeline/` is the socket: doorbells, descriptors, and the end.
//! - Positions and wake-ups are decided in `streampipe-ring`, bytes are copied in `streampipe-sys`.

mod builder;
mod engine;
mod in_place;
mod lifeline;
mod poisoned;
mod reading;
#[allow(clippy::module_inception, reason = "a public type has its file; this one is the room's")]
mod ring;
mod spin;
mod wait;
mod waiting;
mod writing;

pub use builder::Builder;
pub use engine::Engine;
pub use in_place::{Readable, Reserved};
pub use poisoned::Poisoned;
pub use wait::Wait;

pub(crate) use lifeline::{Hello, Unusable, receive_ring, send_memory};
pub(crate) use reading::Taking;
pub(crate) use ring::{Line, Ring};
pub(crate) use writing::Cut;
