use std::fmt;

use streampipe_sys::open::numbers;

/// How a pair carries what is written: as a stream of bytes, or packet by packet.
///
/// # Examples
///
/// ```
/// use streampipe::{Family, Type};
///
/// let (a, b) = streampipe::socketpair(Family::LOCAL, Type::SEQPACKET, 0)?;
/// # drop((a, b));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type(i32);

impl Type {
    /// A stream of bytes in order: what a pipe carries, in both directions.
    #[doc(alias = "SOCK_STREAM")]
    pub const STREAM: Self = Self(numbers::SOCK_STREAM);

    /// Packets without an end: the hang-up of the peer is not told to a reader.
    #[doc(alias = "SOCK_DGRAM")]
    pub const DGRAM: Self = Self(numbers::SOCK_DGRAM);

    /// Packets in order, whole, with an end: what messages want.
    #[doc(alias = "SOCK_SEQPACKET")]
    pub const SEQPACKET: Self = Self(numbers::SOCK_SEQPACKET);

    /// The type with this number of `sys/socket.h`, known or not.
    ///
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` may be or-ed to it, as in C; the second changes nothing.
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// The number of `sys/socket.h`, with the flags that were or-ed to it.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The number without the two flags.
    pub(crate) const fn base(self) -> i32 {
        self.0 & !(numbers::SOCK_NONBLOCK | numbers::SOCK_CLOEXEC)
    }
}

/// Writes the name of `sys/socket.h`, or `SOCK_` and the number.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base() {
            numbers::SOCK_STREAM => f.write_str("SOCK_STREAM"),
            numbers::SOCK_DGRAM => f.write_str("SOCK_DGRAM"),
            numbers::SOCK_SEQPACKET => f.write_str("SOCK_SEQPACKET"),
            numbers::SOCK_RAW => f.write_str("SOCK_RAW"),
            other => write!(f, "SOCK_{other}"),
        }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Type({self})")
    }
}
