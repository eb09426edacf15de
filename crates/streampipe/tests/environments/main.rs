//! Everything that the library does, in worlds that are smaller or stranger than a developer's machine.
//!
//! One probe ([`steps`]) runs in each environment ([`worlds`]): behind filters of system calls, without `/proc`, under a
//! debugger, with a descriptor closed, with signals that interrupt it. Of each step it is written down what must come of it:
//! it works, or it fails with an error that says why. In all of them, nothing hangs, panics, or leaves a signal blocked, a
//! child or a descriptor behind.
//!
//! `cargo test -p streampipe --test environments NAME` runs those whose name has `NAME` in it; `PROBE_WORDS=1` in the
//! environment prints what the probe said. The harness is this target's own, for `fork` wants a process with one thread.

#[path = "../../../streampipe-sys/tests/shared/confine.rs"]
mod confine;

/// The calls that the library makes, and what happens without each.
mod calls;
/// What children of the probe do.
mod parts;
/// The program that makes the steps.
mod probe;
/// Runs the probe in an environment, and compares.
mod run;
/// What is done in each environment.
mod steps;
/// The environments.
mod worlds;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Ok(part) = std::env::var(parts::PART) {
        return ExitCode::from(parts::play(&part));
    }
    if std::env::args().nth(1).is_some_and(|it| it == run::LAUNCH) {
        return run::launch();
    }
    if std::env::var_os(probe::PROGRAM).is_some() {
        probe::run();
        return ExitCode::SUCCESS;
    }
    run::all()
}
