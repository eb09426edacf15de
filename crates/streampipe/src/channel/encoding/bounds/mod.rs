//! Bounds on what a value may ask for: how deep it is, how many parts without bytes it has, and what postcard can say.
//!
//! A few bytes can describe a value that is nested a million times, or a list of 2⁶⁰ nothings. Both directions have
//! the same bounds, so a sender learns of them first.
//!
//! The encoding does not describe itself. A sender is refused what its receiver could not notice: a field that is left
//! out, a length that is not known or not true. What only the receiver's type asks for (`deserialize_any`) is refused
//! there.

mod de;
mod ser;
mod tally;

pub(super) use de::Bounded as BoundedDe;
pub(super) use ser::Bounded as BoundedSer;
pub(super) use tally::Tally;
