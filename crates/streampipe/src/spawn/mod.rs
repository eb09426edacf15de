//! Programs started with an end in hand.
//!
//! [`Command`] only describes; `plan.rs` decides which descriptor goes where; `start.rs` starts.

mod command;
mod debug;
mod describe;
mod from_std;
mod inheritable;
mod plan;
mod resource;
mod source;
mod spawn_error;
mod start;
mod stdio;

pub use command::Command;
pub use from_std::UnreadableCommand;
pub use inheritable::Inheritable;
pub use resource::Resource;
pub use spawn_error::{SpawnError, SpawnStep};
pub use stdio::Stdio;

pub(crate) use describe::image_of;
