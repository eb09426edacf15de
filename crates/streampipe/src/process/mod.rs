//! Related processes: `fork`, and the child that it makes.

mod child;
mod fork;
mod fork_refused;
mod orphans;

pub use child::Child;
pub use fork::{Fork, fork};
pub use fork_refused::ForkRefused;
pub use streampipe_sys::fork::fork_unchecked;
