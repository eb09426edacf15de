//! Tests of `fork`, each in a process of its own that has one thread.
//!
//! The std harness runs even a single test in a second thread, so this target has its own: it runs
//! itself again for each test and speaks as the std harness does.

#[path = "../../../streampipe-sys/tests/shared/mapping.rs"]
mod mapping;
/// A process of its own for each test, and a look at what it leaves behind.
#[path = "../../../streampipe-sys/tests/shared/stepping.rs"]
mod stepping;
#[path = "../it/support.rs"]
mod support;
#[path = "../../../streampipe-sys/tests/shared/unbacked.rs"]
mod unbacked;

/// What each side holds, and what the parent learns of the child.
mod child;
/// A peer of a ring that dies between two steps.
mod dying;
/// A ring whose peer keeps to no rule.
mod hostile;
/// The longest timeouts, and no descriptor to open.
mod long_timeouts;
/// A sender of messages killed at any moment.
mod messages;
/// An end that is two pipes, across a fork.
mod pipes;
/// Calls about processes that a kernel or a filter refuses.
mod refused;
/// What reviews found.
mod reviewed;
/// Rings across a fork.
mod ring;
/// A peer of a ring killed behind each instruction.
mod stepped;
/// A peer killed at any moment.
mod storm;
/// A process that goes on for one that was killed.
mod takeover;
/// A caller's buffer that cannot be had.
mod unbacked_memory;
/// A fork server and its workers.
mod zygote;
/// Everybody who waits for a zygote is told when it is gone.
mod zygote_end;
/// What a zygote is sent, and what its workers do with signals.
mod zygote_signals;

use std::io::Write;
use std::process::ExitCode;

/// A test's name and its body.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let tests: Vec<Test> = child::TESTS
        .iter()
        .chain(storm::TESTS)
        .chain(messages::TESTS)
        .chain(zygote::TESTS)
        .chain(zygote_end::TESTS)
        .chain(refused::TESTS)
        .chain(pipes::TESTS)
        .chain(long_timeouts::TESTS)
        .chain(zygote_signals::TESTS)
        .chain(reviewed::TESTS)
        .chain(ring::TESTS)
        .chain(hostile::TESTS.iter().copied().flatten())
        .chain(dying::TESTS)
        .chain(stepped::TESTS)
        .chain(takeover::TESTS)
        .chain(unbacked_memory::TESTS)
        .copied()
        .collect();
    for (name, body) in &tests {
        if support::is_alone(&format!("forks::{name}")) {
            support::checked(body);
            return ExitCode::SUCCESS;
        }
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let chosen: Vec<Test> = tests.into_iter().filter(|(name, _)| name.contains(filter)).collect();
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|(name, _)| say(&format!("{name}: test\n")));
        return ExitCode::SUCCESS;
    }
    let long = hostile::LONG.iter().chain(stepped::LONG).chain(takeover::LONG).copied();
    let long: Vec<Test> = long.filter(|(name, _)| name.contains(filter)).collect();
    let has = |option: &str| args.iter().any(|arg| arg == option);
    match (has("--ignored"), has("--include-ignored")) {
        (true, _) => run(&[], &long, 0),
        (false, true) => run(&chosen, &long, 0),
        (false, false) => run(&chosen, &[], long.len()),
    }
}

fn run(tests: &[Test], long: &[Test], ignored: usize) -> ExitCode {
    say(&format!("\nrunning {} tests\n", tests.len() + long.len()));
    let mut failed = 0;
    for (name, _) in tests {
        let ran = support::rerun(&format!("forks::{name}"), &[]);
        support::pass_on_skips(&ran.output);
        if ran.status.success() {
            say(&format!("test {name} ... ok\n"));
        } else {
            failed += 1;
            say(&format!("test {name} ... FAILED\n{}\n{}\n", ran.status, ran.output));
        }
    }
    for (name, body) in long {
        // In this process, for longer than one of its own may take: one that fails ends it.
        support::checked(body);
        say(&format!("test {name} ... ok\n"));
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let passed = tests.len() + long.len() - failed;
    say(&format!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out\n\n"
    ));
    ExitCode::from(u8::from(failed > 0))
}

fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
