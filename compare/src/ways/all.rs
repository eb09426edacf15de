//! All ways there are.

use super::{Way, std_stream, tokio_stream};

/// All ways, in the order of the tables.
pub const ALL: &[&dyn Way] = &[&std_stream::POSTCARD, &std_stream::RAW, &tokio_stream::TokioStream];

/// What the ratios of all are to: a stream, a length, postcard, by hand.
pub const BASE: &str = "std-postcard";

/// The way of this name.
pub fn named(name: &str) -> Option<&'static dyn Way> {
    ALL.iter().copied().find(|way| way.name() == name)
}
