//! Both directions at once: the loop that cannot deadlock.

mod copy_both;
mod copy_error;
mod flow;

pub use copy_both::{copy_both, copy_both_timeout};
pub use copy_error::CopyError;
