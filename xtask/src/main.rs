//! Chores of the workspace: `cargo xtask bench`, `cargo xtask bench join`, `cargo xtask ci`.

#![forbid(unsafe_code)]

mod bench;

use std::io::Write;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["bench"] => bench::calls(),
        ["bench", "join"] => bench::join(),
        ["ci"] => ci(),
        _ => Err("cargo xtask bench | bench join | ci".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the script that every change must pass.
fn ci() -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new("bash").arg(".ci/run").status()?;
    if status.success() { Ok(()) } else { Err(format!(".ci/run: {status}").into()) }
}
