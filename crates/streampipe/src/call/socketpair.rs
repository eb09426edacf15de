use std::io;
use std::os::fd::OwnedFd;

use streampipe_sys::open::{self, numbers};

use super::{Family, Type, UnsupportedPair};

/// The highest type number that is a type at all: `SOCK_PACKET` on Linux.
const LAST_TYPE: i32 = 10;

/// Makes two connected sockets: the call itself.
///
/// Both descriptors are close-on-exec from their first instant, whatever the flags, and neither is
/// 0, 1 or 2, even if those are closed. The caller owns both. [`Stream::pair`](crate::Stream::pair)
/// and its siblings are this call with ends that read and write.
///
/// # Errors
///
/// An [`UnsupportedPair`] inside the error, with no descriptor made, for
///
/// - a family other than [`Family::LOCAL`]: what the kernel says of it, `EAFNOSUPPORT` where it
///   does not know the family, `EOPNOTSUPP` where it knows it without pairs (`AF_INET`),
///   `EPROTONOSUPPORT` or `EINVAL` where the type or protocol is wrong there too;
/// - a type other than the three: `ESOCKTNOSUPPORT`, or `EINVAL` if it is no type at all;
/// - a protocol other than 0: `EPROTONOSUPPORT`, before the kernel is asked (Linux would take 1).
///
/// Else `EMFILE` or `ENFILE` if there are no two free descriptors (one that was free stays free),
/// `ENOBUFS`, `ENOMEM`.
///
/// # Platform
///
/// `SOCK_RAW` is refused, where Linux would make it a synonym of `SOCK_DGRAM`.
///
/// # Examples
///
/// ```
/// use streampipe::{Family, Type};
///
/// let (a, b) = streampipe::socketpair(Family::LOCAL, Type::STREAM, 0)?;
/// assert!(streampipe::socketpair(Family::LOCAL, Type::STREAM, 6).is_err());
/// # drop((a, b));
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socketpair(2)")]
pub fn socketpair(family: Family, kind: Type, protocol: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    let refuse = |errno| Err(UnsupportedPair::new(family, kind, protocol, errno).into());
    if family != Family::LOCAL {
        return match open::socketpair(family.as_raw(), kind.as_raw(), protocol) {
            // A family that has pairs of its own (TIPC): not what this library is for.
            Ok(_closed_here) => refuse(numbers::EOPNOTSUPP),
            Err(error) => match error.raw_os_error() {
                Some(errno) if is_about_the_arguments(errno) => refuse(errno),
                _ => Err(error),
            },
        };
    }
    match kind.base() {
        numbers::SOCK_STREAM | numbers::SOCK_DGRAM | numbers::SOCK_SEQPACKET => {}
        0..=LAST_TYPE => return refuse(numbers::ESOCKTNOSUPPORT),
        _ => return refuse(numbers::EINVAL),
    }
    if protocol != 0 {
        return refuse(numbers::EPROTONOSUPPORT);
    }
    open::socketpair(family.as_raw(), kind.as_raw(), protocol)
}

/// Whether the kernel refused what was asked for, rather than ran out of something.
fn is_about_the_arguments(errno: i32) -> bool {
    matches!(
        errno,
        numbers::EAFNOSUPPORT
            | numbers::EOPNOTSUPP
            | numbers::EPROTONOSUPPORT
            | numbers::EPROTOTYPE
            | numbers::ESOCKTNOSUPPORT
            | numbers::EINVAL
    )
}
