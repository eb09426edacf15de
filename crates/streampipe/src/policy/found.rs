use std::io;
use std::os::fd::BorrowedFd;

use streampipe_sys::describe;

use super::FdKind;

/// What was found where a rule was to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: FdKind,
    /// How long it is, if the rule asks, of what has a length.
    pub(super) bytes: Option<u64>,
}

/// Whether a rule asks how long a file is, which costs a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Asked,
    Ignored,
}

impl Found {
    pub(super) fn of(fd: BorrowedFd<'_>, length: Length) -> io::Result<Self> {
        let kind = FdKind::of(fd)?;
        let has_length =
            matches!(kind, FdKind::File { .. } | FdKind::Memfd { .. } | FdKind::HugePages { .. });
        // Only now that the seals are known: what was longer before a seal was set proves nothing.
        let bytes = match length {
            Length::Asked if has_length => Some(describe::facts(fd)?.size),
            _ => None,
        };
        Ok(Self { kind, bytes })
    }
}
