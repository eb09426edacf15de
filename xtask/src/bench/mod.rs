//! Our calls beside raw system calls, in one run, interleaved.

mod bytes;
mod descriptors;
mod join;
mod measure;
mod pairs;

pub(crate) use join::join;

type Done = Result<(), Box<dyn std::error::Error>>;

/// Pairs, bytes and descriptors.
pub(crate) fn calls() -> Done {
    measure::print_machine()?;
    measure::print_header("work", "raw", "ours");
    pairs::run()?;
    bytes::run()?;
    descriptors::run()
}
