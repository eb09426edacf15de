//! Bounds on what a value may ask for: how deep it is, and how many parts without bytes it has.
//!
//! A few bytes can describe a value that is nested a million times, or a list of 2⁶⁰ nothings. Both directions have
//! the same bounds, so a sender learns of them first.

mod de;
mod ser;
mod tally;

pub(super) use de::Bounded as BoundedDe;
pub(super) use ser::Bounded as BoundedSer;
pub(super) use tally::Tally;
