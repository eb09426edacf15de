use std::fmt;

/// Why memory from a peer is not mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is no memory file (`memfd_create(2)`) of ordinary pages.
    Kind,
    /// It can still change its size: `SIGBUS` for who reads.
    Seals {
        /// The seals it has (`F_GET_SEALS`).
        seals: u32,
    },
    /// It is not exactly as large as its rings need.
    Size {
        /// How large it is, in bytes.
        found: u64,
        /// How large it must be.
        needed: u64,
    },
    /// It is not laid out as this library does.
    Layout,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("it is no memory file of ordinary pages"),
            Self::Seals { seals } => write!(f, "its size is not sealed (seals {seals:#x})"),
            Self::Size { found, needed } => {
                write!(f, "it is of {found} bytes, not {needed}")
            }
            Self::Layout => f.write_str("it is laid out in another way"),
        }
    }
}
