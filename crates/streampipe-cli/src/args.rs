//! What can be typed.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Stream pipes at the shell.
#[derive(Debug, Parser)]
#[command(name = "streampipe", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    Join(JoinOptions),
}

/// Join two programs both ways: what one writes, the other reads
///
/// The programs run unmodified, connected to each other alone: this command is not in the data
/// path and keeps no copy of any end, so a program that closes its output gives the other a true
/// end of input. By default a pipe for each direction becomes their standard input and output.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "streampipe join [OPTIONS] -- PROGRAM [ARG]... :: PROGRAM [ARG]...",
    after_help = EXIT_CODES,
    after_long_help = JOIN_NOTES
)]
pub(crate) struct JoinOptions {
    /// One full-duplex stream pipe instead, its ends as both descriptor 0 and 1 of the programs
    ///
    /// Closing one of the two descriptors is no half-close then: two programs that wait for the end
    /// of their input wait for ever. For programs that call shutdown(2).
    #[arg(long, conflicts_with = "fd")]
    pub(crate) socket: bool,

    /// One stream pipe on descriptor N of both; standard input and output are left alone
    ///
    /// For programs that speak both ways on a descriptor, or pass descriptors. N is 3 or more, and
    /// below the limit of open files (ulimit -n). Some shells redirect to 3 to 9 only.
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    pub(crate) fd: Option<i32>,

    /// Say how each program ended, on standard error, also when both succeeded
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) report: bool,

    /// Report as one line of JSON on standard error, for machines
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,

    /// No report, not even when a program failed
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Whose status to exit with when they did not both succeed
    #[arg(long, value_name = "RULE", value_enum, default_value_t = Rule::Worst)]
    pub(crate) exit: Rule,

    /// End both after this time (SIGTERM) and exit with 124; as 1.5, 90s or 500ms
    ///
    /// What the programs have started themselves goes on, and may hold their output open; a shell
    /// that says `exec program` leaves nothing behind. 0 ends them at once.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// How long after the SIGTERM of a timeout SIGKILL follows
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        default_value = "2s",
        allow_negative_numbers = true
    )]
    pub(crate) kill_after: Duration,

    /// The two programs with their arguments, with :: between them
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) programs: Vec<OsString>,
}

/// Whose status counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// The program that ended first
    First,
    /// The program that ended last
    Last,
    /// The larger of the two codes
    Worst,
    /// The left program
    Left,
    /// The right program
    Right,
}

const EXIT_CODES: &str = "\
Exit codes: 0 if both succeeded, else one program's by --exit (128+n for signal n); 124 for
--timeout, 125 for a failure of this command, 126 and 127 for a program that cannot be executed or
found.";

const JOIN_NOTES: &str = "\
Exit codes:
  0        both programs succeeded, or the one chosen by --exit did
  n        the status chosen by --exit; 128+n if signal n killed that program
  124      the timeout came first
  125      this command failed, or its arguments were wrong
  126      a program cannot be executed
  127      a program was not found

A program that writes after the other has closed its input gets SIGPIPE and counts as 141, as in any
pipe: normal if the answer was not wanted (--exit left). Programs that buffer what they read or
write keep each other waiting: sed -u, grep --line-buffered, python -u, mawk -W interactive, stdbuf.
To join more than two, or to pass :: itself, use a script.

Signals: SIGINT, SIGTERM and SIGHUP reach both programs. If this command is killed by SIGKILL, both
get SIGTERM; set-uid programs, and what the programs started themselves, do not.

Examples:
  streampipe join -- sh -c 'cat words; exec 1>&-; cat >sorted' :: sort
  streampipe join --timeout 10s --report -- ./solver :: ./judge
  streampipe join --fd 3 -- ./parent-of-fd-3 :: ./child-of-fd-3";

/// A number of seconds, or numbers with units.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let time = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.ok_or("a time is a number of seconds, or as 90s, 500ms or 2m")
}

/// The number of a descriptor that is not a standard one.
fn number(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|&number| number >= 3).ok_or("a descriptor's number is 3 or more")
}
