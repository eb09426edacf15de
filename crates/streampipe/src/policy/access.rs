use std::fmt;

/// What a descriptor was opened for (`O_ACCMODE`).
///
/// # Examples
///
/// ```
/// use streampipe::{Access, FdKind};
///
/// let file = std::fs::File::open("/etc/passwd")?;
/// assert_eq!(FdKind::of(&file)?, FdKind::File { access: Access::ReadOnly });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "O_ACCMODE")]
pub enum Access {
    /// Opened for reading; see [`FdRule::read_only`](crate::FdRule::read_only) for what that is worth.
    #[doc(alias = "O_RDONLY")]
    ReadOnly,
    /// Opened for writing.
    #[doc(alias = "O_WRONLY")]
    WriteOnly,
    /// Opened for both.
    #[doc(alias = "O_RDWR")]
    ReadWrite,
}

impl Access {
    /// Whether bytes can be written through the descriptor.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::WriteOnly | Self::ReadWrite)
    }
}

/// Writes "reading", "writing" or "reading and writing".
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "reading",
            Self::WriteOnly => "writing",
            Self::ReadWrite => "reading and writing",
        })
    }
}
