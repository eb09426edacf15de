//! Related processes: `fork`, and the child that it and a spawn make.

mod child;
mod child_handle;
mod fork;
mod fork_refused;
mod group_stop;
pub(crate) mod orphans;
mod output;
mod status_unavailable;
mod stop_schedule;
mod stops;
mod tree;

pub use child::Child;
pub use fork::{Fork, fork};
pub use fork_refused::ForkRefused;
pub use status_unavailable::StatusUnavailable;
pub use stop_schedule::StopSchedule;
pub use streampipe_sys::fork::fork_unchecked;

pub(crate) use orphans::sweep;
pub(crate) use stops::Stops;
pub(crate) use tree::Descendants;
