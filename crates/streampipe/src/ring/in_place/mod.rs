//! Writing and reading where the bytes lie.

mod lending;
mod readable;
mod reserved;

pub use readable::Readable;
pub use reserved::Reserved;

pub(in crate::ring) use lending::{Lending, Lent, wait_until_back};
