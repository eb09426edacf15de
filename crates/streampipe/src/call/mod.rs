//! The call itself: `socketpair(2)` with the standard's errors for everything it does not do.

mod family;
mod socket_type;
mod socketpair;
mod unsupported;

pub use family::Family;
pub use socket_type::Type;
pub use socketpair::socketpair;
pub use unsupported::UnsupportedPair;
