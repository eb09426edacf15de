use std::fmt;

use super::Access;

/// For what a descriptor may have been opened; each word leaves less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Opened(u8);

const READ: u8 = 1;
const WRITE: u8 = 2;
const BOTH: u8 = 4;

impl Opened {
    /// Nothing was said, so it may be something that is not opened for anything.
    pub(super) const ANYHOW: Self = Self(READ | WRITE | BOTH);
    pub(super) const READ_ONLY: Self = Self(READ);
    pub(super) const WRITE_ONLY: Self = Self(WRITE);
    pub(super) const READABLE: Self = Self(READ | BOTH);
    pub(super) const WRITABLE: Self = Self(WRITE | BOTH);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn allows(self, access: Option<Access>) -> bool {
        let bit = match access {
            None => return self == Self::ANYHOW,
            Some(Access::ReadOnly) => READ,
            Some(Access::WriteOnly) => WRITE,
            Some(Access::ReadWrite) => BOTH,
        };
        self.0 & bit != 0
    }
}

/// Continues the name of what is opened: " open for reading alone".
impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ANYHOW => "",
            Self::READ_ONLY => " open for reading alone",
            Self::WRITE_ONLY => " open for writing alone",
            Self::READABLE => " open for reading",
            Self::WRITABLE => " open for writing",
            Self(BOTH) => " open for reading and writing",
            _ => " open for nothing",
        })
    }
}
