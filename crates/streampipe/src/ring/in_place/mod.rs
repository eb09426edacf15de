//! Writing and reading where the bytes lie.

mod readable;
mod reserved;

pub use readable::Readable;
pub use reserved::Reserved;
