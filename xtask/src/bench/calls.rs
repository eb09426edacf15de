//! Our calls beside raw system calls, in one run, interleaved.

use super::{Done, bytes, descriptors, measure, pairs};

/// Pairs, bytes and descriptors.
pub(crate) fn calls() -> Done {
    measure::print_machine()?;
    measure::print_header("work", "raw", "ours");
    pairs::run()?;
    bytes::run()?;
    descriptors::run()
}
