//! Tests of the command: the real binary joins real programs.

/// What the library's tests stand on too: skips that are seen, waits that end.
#[path = "../../../streampipe/tests/it/support.rs"]
mod support;

/// The command under a limit: it ends in time, or it is killed and the test fails.
mod trial;

/// How it ended: code, words, report.
mod ended;

/// The command while it runs: lines from its programs, signals to it.
mod running;

/// A closed output is an end of input, and the answer still comes.
mod half_close;

/// What the programs get, and that nobody else keeps it.
mod wiring;

/// `--socket` and `--fd`, and a descriptor passed between two programs.
mod stream;

/// Every number the command ends with.
mod exit_codes;

/// Programs that cannot be executed or found: 126, 127, and hints.
mod not_started;

/// How both ended: for people, and as JSON.
mod report;

/// Which of the two ended first.
mod order;

/// Signals to the command reach both programs.
mod signals;

/// The command dies of the signal that killed its programs, and a shell's loop stops.
mod shell_loops;

/// What the programs inherit of signals, and what they do not.
mod dispositions;

/// The time is up.
mod timeouts;

/// What the programs have started ends with them at the timeout.
mod trees;

/// What two programs waited for when the time was up, where it could be seen.
mod causes;

/// Where reports go: a file, a descriptor, a line of their own, and nobody who reads.
mod report_places;

/// Calls that a kernel or a filter refuses.
mod refused;

/// Standard descriptors that are closed when the command starts.
mod closed;

/// Many bytes in both directions at once.
mod bulk;

/// Programs that everybody has.
mod programs;

/// Strange arguments, and few descriptors.
mod bad_input;

/// The help, as a snapshot.
mod help;

/// The README's commands, as they stand.
mod readme;
