//! Making the child: which ways this system offers, and the clone itself.

mod child_process;
mod raw;
mod report;
mod request;
mod support;

pub(super) use child_process::{ChildProcess, clone_child};
pub(super) use report::{Report, ReportReader, Verdict};
pub(super) use support::{CloneSupport, Memory};
