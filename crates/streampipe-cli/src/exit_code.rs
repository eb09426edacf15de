//! The command's exit codes, all of them.

use std::process::ExitCode;

use streampipe::join::{JoinError, Outcome, Side};

use crate::args::Rule;

/// What the command exits with; the table is in `streampipe join --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Both succeeded, or help was asked for.
    Success,
    /// The status of one of the programs.
    Program(u8),
    /// The timeout came first.
    TimedOut,
    /// The command itself failed.
    OwnFailure,
    /// A program cannot be executed.
    NotExecutable,
    /// A program was not found.
    NotFound,
}

impl Code {
    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Program(code) => code,
            Self::TimedOut => 124,
            Self::OwnFailure => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    /// What to exit with after both programs have ended.
    pub(crate) fn of_outcome(outcome: &Outcome, rule: Rule) -> Self {
        if outcome.timed_out {
            return Self::TimedOut;
        }
        let code = |side: Side| outcome.of(side).how.shell_code();
        let (Some(left), Some(right)) = (code(Side::Left), code(Side::Right)) else {
            return Self::OwnFailure;
        };
        let chosen = match (rule, outcome.first) {
            (Rule::Worst, _) => left.max(right),
            (Rule::Left, _) | (Rule::First, Side::Left) | (Rule::Last, Side::Right) => left,
            (Rule::Right, _) | (Rule::First, Side::Right) | (Rule::Last, Side::Left) => right,
        };
        match u8::try_from(chosen) {
            Ok(0) => Self::Success,
            Ok(code) => Self::Program(code),
            Err(_) => Self::OwnFailure,
        }
    }

    /// What to exit with if the programs were not joined.
    pub(crate) fn of_error(error: &JoinError) -> Self {
        if error.is_not_found() {
            Self::NotFound
        } else if error.is_not_executable() {
            Self::NotExecutable
        } else {
            Self::OwnFailure
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}
