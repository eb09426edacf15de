//! Adopting the end that the parent prepared (promise P13): the very socket, or the reason why not.
//!
//! The children are this test binary again. Each plays the part that a variable names, and answers on
//! its standard error.

use std::io::Write;
use std::path::PathBuf;
use std::process::Output;

use streampipe::Command;

/// What is adopted, and what adopting leaves alone.
mod adopted;
/// What a child does; each part ends with an answer.
mod parts;
/// What is not adopted: each cause has its own error, and the other file stays as it was.
mod refused;
/// Ends of a ring, whose memory comes over them, or something else does.
mod rings;
/// Sockets that have no cookie.
mod without_cookies;

/// Says which part a child plays.
const PART: &str = "STREAMPIPE_TEST_PART";

/// What leads a child to its end.
const VARIABLE: &str = "STREAMPIPE_END";

/// Stands in front of a child's answer.
const MARK: &str = "the answer is: ";

/// How this binary is told to play a part.
const ARGUMENTS: [&str; 5] = [
    "inherit::the_part_of_a_child",
    "--exact",
    "--include-ignored",
    "--test-threads=1",
    "--nocapture",
];

#[test]
#[ignore = "what a child does, which other tests start"]
fn the_part_of_a_child() {
    let Ok(part) = std::env::var(PART) else { return };
    let answer = parts::play(&part);
    writeln!(std::io::stderr(), "{MARK}{answer}").expect("somebody listens");
}

fn binary() -> PathBuf {
    std::env::current_exe().expect("the test binary")
}

/// A child with an end, that plays this part.
fn worker(part: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(ARGUMENTS).env(PART, part);
    command
}

/// A child of a program that knows nothing of this library.
fn foreign_worker(part: &str) -> std::process::Command {
    let mut command = std::process::Command::new(binary());
    command.args(ARGUMENTS).env(PART, part);
    command
}

/// What the child answered, which must have ended well.
fn answer(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let found = text.lines().find_map(|line| line.strip_prefix(MARK));
    match found {
        Some(found) if output.status.success() => found.to_owned(),
        _ => panic!("a child answered nothing: {}\n{text}", output.status),
    }
}

fn answer_of(command: &mut Command) -> String {
    answer(&command.output().expect("it starts"))
}

fn answer_of_foreign(command: &mut std::process::Command) -> String {
    answer(&command.output().expect("it starts"))
}
