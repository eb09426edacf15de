//! What the comparisons share: interleaved rounds, medians, and the machine they belong to.

pub mod measure;
