use std::fmt;

use super::Ended;

/// How two joined programs ended.
///
/// # Examples
///
/// See [`Join`](super::Join).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// How the left program ended.
    pub left: Ended,
    /// How the right program ended.
    pub right: Ended,
    /// Which of the two ended first, in the order the kernel saw them end.
    ///
    /// Without [`relay_signals`](super::Join::relay_signals), a right program that ends in the
    /// microseconds before it is watched may come second.
    pub first: Side,
    /// Whether the timeout came before both had ended.
    pub timed_out: bool,
}

impl Outcome {
    /// Whether both exited with code 0, in time.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !self.timed_out && self.left.how.is_success() && self.right.how.is_success()
    }

    /// How the program on this side ended.
    #[must_use]
    pub fn of(&self, side: Side) -> &Ended {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

/// One of two joined programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first of the two as they were given.
    Left,
    /// The second.
    Right,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}
