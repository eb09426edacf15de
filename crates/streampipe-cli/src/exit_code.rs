//! The command's exit codes, all of them.

use std::process::ExitCode;

use streampipe::join::{JoinError, Outcome, Side, die_of};

use crate::args::Rule;

/// What the command exits with; the table is in `streampipe join --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Both succeeded, or help was asked for.
    Success,
    /// The status of one of the programs.
    Program(u8),
    /// A signal to the command, of which it dies when all is said.
    Killed(i32),
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
    /// The number, as a shell shows it.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Program(code) => code,
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::TimedOut => 124,
            Self::OwnFailure => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    /// The signal of which the command dies.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Killed(signal) => Some(signal),
            _ => None,
        }
    }

    /// Ends the command: by the signal if there is one, else by the returned code.
    pub(crate) fn end(self) -> ExitCode {
        if let Self::Killed(signal) = self {
            // Comes back in the first process of a container.
            die_of(signal);
        }
        ExitCode::from(self.number())
    }

    /// What to end with after both programs have ended.
    ///
    /// If a signal killed a program, and that counts, the command dies of it, for whoever pressed the key
    /// meant all three. If a program handled it, that program's status counts.
    pub(crate) fn of_outcome(outcome: &Outcome, rule: Rule) -> Self {
        let code = Self::of_statuses(outcome, rule);
        let killed_by = outcome.killed_by.filter(|_| code != Self::Success);
        outcome.unhandled.or(killed_by).map_or(code, Self::Killed)
    }

    fn of_statuses(outcome: &Outcome, rule: Rule) -> Self {
        if outcome.timed_out {
            return Self::TimedOut;
        }
        let code = |side: Side| outcome.of(side).how.shell_code();
        let (Some(left), Some(right)) = (code(Side::Left), code(Side::Right)) else {
            return Self::OwnFailure;
        };
        let chosen = match (rule, outcome.first) {
            (Rule::Worst, _) | (Rule::First | Rule::Last, None) => left.max(right),
            (Rule::Left, _) | (Rule::First, Some(Side::Left)) | (Rule::Last, Some(Side::Right)) => {
                left
            }
            (Rule::Right, _)
            | (Rule::First, Some(Side::Right))
            | (Rule::Last, Some(Side::Left)) => right,
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
