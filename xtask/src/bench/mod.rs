//! What is measured, beside what, in one run.

mod bytes;
mod calls;
mod descriptors;
mod join;
mod measure;
mod pairs;

pub(crate) use calls::calls;
pub(crate) use join::join;
use measure::Done;
