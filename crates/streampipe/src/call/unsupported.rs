use std::error::Error;
use std::{fmt, io};

use streampipe_sys::open::numbers;

use super::{Family, Type};

/// A pair that was asked for and does not exist; inside the [`io::Error`] of
/// [`socketpair`](crate::socketpair).
///
/// An [`io::Error`] holds either a number or a message, and this one needs both: the number is
/// [`errno`](Self::errno).
///
/// # Examples
///
/// ```
/// use streampipe::{Family, Type, UnsupportedPair};
///
/// let inet = Family::from_raw(2);
/// let error = streampipe::socketpair(inet, Type::STREAM, 0).unwrap_err();
/// let refused = error.get_ref().unwrap().downcast_ref::<UnsupportedPair>().unwrap();
/// assert_eq!(refused.errno(), 95); // EOPNOTSUPP
/// assert!(error.to_string().contains("AF_INET"));
/// ```
#[derive(Debug)]
pub struct UnsupportedPair {
    family: Family,
    kind: Type,
    protocol: i32,
    cause: io::Error,
}

impl UnsupportedPair {
    pub(super) fn new(family: Family, kind: Type, protocol: i32, errno: i32) -> Self {
        Self { family, kind, protocol, cause: io::Error::from_raw_os_error(errno) }
    }

    /// The standard's error number, for example `EAFNOSUPPORT`.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.cause.raw_os_error().unwrap_or(0)
    }
}

impl fmt::Display for UnsupportedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, kind, protocol, cause } = self;
        let name = name_of(self.errno());
        write!(
            f,
            "socketpair({family}, {kind}, {protocol}): {name}: {cause}; a pair has the family \
             AF_LOCAL (AF_UNIX), the type SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, and protocol 0"
        )
    }
}

impl Error for UnsupportedPair {}

impl From<UnsupportedPair> for io::Error {
    fn from(refused: UnsupportedPair) -> Self {
        Self::new(refused.cause.kind(), refused)
    }
}

fn name_of(errno: i32) -> &'static str {
    match errno {
        numbers::EAFNOSUPPORT => "EAFNOSUPPORT",
        numbers::EOPNOTSUPP => "EOPNOTSUPP",
        numbers::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        numbers::EPROTOTYPE => "EPROTOTYPE",
        numbers::ESOCKTNOSUPPORT => "ESOCKTNOSUPPORT",
        numbers::EINVAL => "EINVAL",
        _ => "the kernel's answer",
    }
}
