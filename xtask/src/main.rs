//! Chores of the workspace: `cargo xtask bench`, `bench join`, `bench spawn`, `cargo xtask ci`.

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
        ["bench", "spawn"] => bench_spawn(),
        ["ci"] => ci(),
        _ => Err("cargo xtask bench | bench join | bench spawn | ci".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the comparison with other ways to start a child, which lives outside of the workspace.
fn bench_spawn() -> Result<(), Box<dyn std::error::Error>> {
    let args = ["run", "--release", "--locked", "--manifest-path", "compare/Cargo.toml", "--bin"];
    let status = Command::new(env!("CARGO")).args(args).arg("spawn").status()?;
    if status.success() { Ok(()) } else { Err(format!("compare: {status}").into()) }
}

/// Runs the script that every change must pass.
fn ci() -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new("bash").arg(".ci/run").status()?;
    if status.success() { Ok(()) } else { Err(format!(".ci/run: {status}").into()) }
}
