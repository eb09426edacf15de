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

    /// Say how each program ended, also if this command succeeds
    ///
    /// Without it, a report is written only if this command does not exit with 0. It goes to standard
    /// error, and begins a line there: behind an empty line if nobody can know whether a program left
    /// one unfinished, as on a pipe and a terminal.
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) report: bool,

    /// Report as one line of JSON, to FILE, or in place of the words
    ///
    /// Always, and of wrong arguments, too. FILE is created or emptied before the programs start; the
    /// words are written as without --json then.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) json: Option<OsString>,

    /// Write to descriptor N, not to standard error, all that this command says
    ///
    /// The programs do not get the descriptor. If a report that was to go there, or to the FILE of
    /// --json, cannot be written, this command exits with 125 where it would with 0.
    #[arg(long, value_name = "N", value_parser = report_number, allow_negative_numbers = true)]
    pub(crate) report_fd: Option<i32>,

    /// No report, not even when a program failed
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Whose status to exit with when they did not both succeed
    #[arg(long, value_name = "RULE", value_enum, default_value_t = Rule::Worst)]
    pub(crate) exit: Rule,

    /// End both after this time (SIGTERM) and exit with 124; as 1.5, 90s or 500ms
    ///
    /// What they have started ends with them: all whose parents lead to one of the two and, where there
    /// is no terminal, all of their process group. At a terminal, what has lost its parent goes on.
    /// 0 ends them at once.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// How long after SIGTERM SIGKILL follows
    ///
    /// After the SIGTERM of a timeout 2s if this is not given; after a SIGTERM to this command, which
    /// is passed on, only if this is given.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_negative_numbers = true)]
    pub(crate) kill_after: Option<Duration>,

    /// The two programs with their arguments, with :: between them
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) programs: Vec<OsString>,
}

/// Whose status counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rule {
    /// The program that ended first; as worst if it cannot be told
    First,
    /// The program that ended last; as worst if it cannot be told
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
found. If a signal to this command killed a program, this command dies of it, too.";

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

Who ended first: one that died of SIGPIPE is second if the other was exiting, or exited within 1 s:
head closes its input before it ends. If both died of it, it cannot be told. Else the one that ended
while the other was not exiting. Else the one that another signal killed, if the kernel reported it
first. Else it cannot be told: a program can end because the other exits, and be reported before it.

Signals: SIGINT, SIGTERM, SIGHUP and SIGQUIT reach both programs (their whole process group where
--timeout gives them one), unless this command was started with them ignored. If one killed a
program, and the status is not 0, this command reports and then dies of the same signal, so that a
shell's loop stops at Ctrl-C; a program that handles it and exits decides by its status. If this
command is killed by SIGKILL, both get SIGTERM; set-uid programs, and what the programs started
themselves, do not.

Bounds: with --timeout, the programs are over after --timeout and --kill-after; one that hangs in the
kernel is given up 10 s later. A report that nobody takes is given up after 1 s, but not before the
timeout.

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

/// The number of a descriptor that can be written to.
fn report_number(text: &str) -> Result<i32, &'static str> {
    text.parse().ok().filter(|&number| number >= 1).ok_or("a descriptor's number is 1 or more here")
}
