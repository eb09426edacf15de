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
    /// Which of the two ended first; `None` if it cannot be told.
    ///
    /// - One that died of `SIGPIPE` is the second if the other was exiting, or exited within a second: a
    ///   program closes its input before it ends. If both died of it within a second, nobody can tell.
    /// - Else, one that ended while the other was not exiting was first.
    /// - Else, one that another signal killed, and the kernel reported first, was first.
    /// - Else nobody can tell: an exit may be the answer to the other's, and be reported before it.
    ///
    /// # Platform
    ///
    /// Without `/proc`, a program counts as exiting only when the kernel has reported its end.
    pub first: Option<Side>,
    /// Whether the timeout came before both had ended.
    pub timed_out: bool,
    /// Why neither went on when the timeout came, as far as it can be told.
    pub standstill: Option<Standstill>,
    /// With [`relay_signals`](super::Join::relay_signals): a signal to the calling process that was passed
    /// on, and killed a program.
    ///
    /// `SIGTERM` counts as the killer, too, if [`kill_after`](super::Join::kill_after) made it `SIGKILL`.
    pub killed_by: Option<i32>,
    /// With [`relay_signals`](super::Join::relay_signals): a signal that came when no program was left to
    /// get it, and that the calling process has to act on ([`die_of`](super::die_of)).
    pub unhandled: Option<i32>,
}

/// Why two programs waited for each other, or for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standstill {
    /// Both were writing to each other, and each has one thread and no child that could read.
    BothWrite,
    /// Both were reading, or writing, one and the same file that is not a joined end.
    SameFile,
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
