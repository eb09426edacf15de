use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use streampipe_sys::describe::seal_bits;

/// Which seals a memory file has, or must have: what nobody can do to it any more.
///
/// Whoever maps a file of somebody else's memory, or trusts its length, wants [`Seals::SHRINK`]:
/// without it, touching what was cut off is a `SIGBUS`. Whoever reads something twice wants
/// [`Seals::WRITE`], too: with [`Seals::FUTURE_WRITE`] alone, who mapped it before can go on writing.
///
/// # Examples
///
/// ```
/// use streampipe::Seals;
///
/// let seals = Seals::SHRINK | Seals::GROW;
/// assert!(seals.contains(Seals::SHRINK) && !seals.contains(Seals::WRITE));
/// assert_eq!(seals.to_string(), "SHRINK | GROW");
/// assert_eq!(Seals::default(), Seals::NONE);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[doc(alias = "F_GET_SEALS")]
#[doc(alias = "F_ADD_SEALS")]
pub struct Seals(u32);

impl Seals {
    /// No seal.
    pub const NONE: Self = Self(0);

    /// No seal can be added any more. What the kernel says of a file that never could have one.
    #[doc(alias = "F_SEAL_SEAL")]
    pub const SEAL: Self = Self(seal_bits::SEAL);

    /// The file cannot become shorter.
    #[doc(alias = "F_SEAL_SHRINK")]
    pub const SHRINK: Self = Self(seal_bits::SHRINK);

    /// The file cannot become longer.
    #[doc(alias = "F_SEAL_GROW")]
    pub const GROW: Self = Self(seal_bits::GROW);

    /// Nobody can write, nor could when the seal was set: the content is final.
    #[doc(alias = "F_SEAL_WRITE")]
    pub const WRITE: Self = Self(seal_bits::WRITE);

    /// Nobody can write, except through mappings made before the seal was set.
    #[doc(alias = "F_SEAL_FUTURE_WRITE")]
    pub const FUTURE_WRITE: Self = Self(seal_bits::FUTURE_WRITE);

    /// The file cannot become executable, or stop being so.
    ///
    /// # Platform
    ///
    /// Linux 6.3 and later.
    #[doc(alias = "F_SEAL_EXEC")]
    pub const EXEC: Self = Self(seal_bits::EXEC);

    /// The seals with these bits of `fcntl.h`, known or not.
    #[must_use]
    pub const fn from_raw(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits of `fcntl.h`.
    #[must_use]
    pub const fn as_raw(self) -> u32 {
        self.0
    }

    /// Whether all of these are among them.
    #[must_use]
    pub const fn contains(self, seals: Self) -> bool {
        self.0 & seals.0 == seals.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// All seals of both.
impl BitOr for Seals {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Seals {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Writes the names with `|` between them, a number for unknown bits, or "no seals".
impl fmt::Display for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no seals");
        }
        let mut rest = self.0;
        let mut between = "";
        for (name, seal) in NAMES {
            if self.contains(seal) {
                write!(f, "{between}{name}")?;
                between = " | ";
                rest &= !seal.0;
            }
        }
        if rest != 0 {
            write!(f, "{between}{rest:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seals({self})")
    }
}

const NAMES: [(&str, Seals); 6] = [
    ("SEAL", Seals::SEAL),
    ("SHRINK", Seals::SHRINK),
    ("GROW", Seals::GROW),
    ("WRITE", Seals::WRITE),
    ("FUTURE_WRITE", Seals::FUTURE_WRITE),
    ("EXEC", Seals::EXEC),
];
