//! Two unmodified programs, joined both ways: what one writes, the other reads.
//!
//! [`Join`] starts them and waits; [`Outcome`] says how both ended. The command `streampipe join` is
//! this module with arguments and messages around it.

mod die_of;
mod ended;
#[expect(clippy::module_inception, reason = "a public type's file has its name")]
mod join;
mod join_error;
mod order;
mod outcome;
mod report_place;
mod sleep;
mod tree;
mod watch;
mod wiring;

pub use die_of::die_of;
pub use ended::{AsleepIn, Ended, Ending, SleepFile};
pub use join::Join;
pub use join_error::{JoinError, JoinStep};
pub use outcome::{Outcome, Side, Standstill};
pub use report_place::{can_be_written, report_fd, report_file, survive_file_limit};
pub use wiring::Wiring;
