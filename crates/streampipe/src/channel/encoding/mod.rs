//! Values as bytes, and what goes beside them.

mod bounds;
mod codec;
pub mod passed;
mod passing;
mod travellers;
mod undecodable;

pub use undecodable::Undecodable;

pub(crate) use codec::Encoded;
pub(super) use codec::{decode, encode};
