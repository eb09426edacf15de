//! Two unmodified programs, joined both ways: what one writes, the other reads.
//!
//! [`Join`] starts them and waits; [`Outcome`] says how both ended. The command `streampipe join` is
//! this module with arguments and messages around it.

mod ended;
#[expect(clippy::module_inception, reason = "a public type's file has its name")]
mod join;
mod join_error;
mod outcome;
mod watch;
mod wiring;

pub use ended::{AsleepIn, Ended, Ending};
pub use join::Join;
pub use join_error::{JoinError, JoinStep};
pub use outcome::{Outcome, Side};
pub use wiring::Wiring;
