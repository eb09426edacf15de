use std::fmt;

use streampipe_sys::open::numbers;

/// An address family: where a socket's names would come from.
///
/// Pairs exist in one family only, [`Family::LOCAL`]. Others can be given by number, so that what
/// the standard says of them can be seen.
///
/// # Examples
///
/// ```
/// use streampipe::Family;
///
/// assert_eq!(Family::LOCAL, Family::UNIX);
/// assert_eq!(Family::from_raw(1), Family::LOCAL);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "domain")]
#[doc(alias = "PF_UNIX")]
pub struct Family(i32);

impl Family {
    /// `AF_LOCAL`: processes of one machine. The family of every pair.
    #[doc(alias = "AF_LOCAL")]
    pub const LOCAL: Self = Self(numbers::AF_UNIX);

    /// `AF_UNIX`, the older name of [`Family::LOCAL`].
    #[doc(alias = "AF_UNIX")]
    pub const UNIX: Self = Self::LOCAL;

    /// The family with this number of `sys/socket.h`, known or not.
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// The number of `sys/socket.h`.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Writes the name of `sys/socket.h`, or `AF_` and the number.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            numbers::AF_UNIX => f.write_str("AF_LOCAL"),
            numbers::AF_INET => f.write_str("AF_INET"),
            numbers::AF_INET6 => f.write_str("AF_INET6"),
            other => write!(f, "AF_{other}"),
        }
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family({self})")
    }
}
