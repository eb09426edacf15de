use std::{error, fmt};

/// A value that cannot be encoded, or bytes that are no such value.
///
/// A message that is not a value of the receiver's type was received whole, and dropped with its descriptors; the
/// channel goes on with the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    why: String,
}

impl Undecodable {
    pub(crate) fn new(why: String) -> Self {
        Self { why }
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl error::Error for Undecodable {}
