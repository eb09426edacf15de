//! The child's side: finding the end that the parent prepared.

mod inherited;
mod not_inherited;
mod variable;

pub use inherited::inherited;
pub use not_inherited::NotInherited;

pub(crate) use variable::{VARIABLE, value};
