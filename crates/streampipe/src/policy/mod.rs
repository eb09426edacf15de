//! What kind of descriptor may come and go.
//!
//! 1. The kernel is asked, of the descriptor itself; what its sender says counts for nothing.
//! 2. No question waits for anybody: see `streampipe_sys::describe`.
//! 3. A rule is checked once, when the descriptor comes. What its sender can change afterwards (a
//!    length that is not sealed, flags of the description) is not held by it.

mod access;
mod fd_kind;
mod fd_policy;
mod fd_rule;
mod found;
mod opened;
mod refused_fd;
mod seals;
mod wrong_fd;

pub use access::Access;
pub use fd_kind::FdKind;
pub use fd_policy::FdPolicy;
pub use fd_rule::FdRule;
pub use refused_fd::RefusedFd;
pub use seals::Seals;
pub use wrong_fd::WrongFd;
