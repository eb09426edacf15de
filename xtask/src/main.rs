//! Chores of the workspace: `cargo xtask bench`, `bench join`, `bench spawn`, `bench messages`, `bench ring`, `cargo xtask ci`.

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
        ["bench", "spawn"] => bench_beside("spawn", &[]),
        ["bench", "messages", ref options @ ..] => bench_beside("messages", options),
        ["bench", "ring", ref options @ ..] => bench_beside("ring", options),
        ["ci"] => ci(),
        _ => {
            Err("cargo xtask bench | bench join | bench spawn | bench messages [options] | bench ring [options] | ci"
                .into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a comparison with other people's ways, which lives outside of the workspace.
fn bench_beside(program: &str, options: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let args = ["run", "--release", "--locked", "--manifest-path", "compare/Cargo.toml", "--bin"];
    let mut cargo = Command::new(env!("CARGO"));
    let status = cargo.args(args).args([program, "--"]).args(options).status()?;
    if status.success() { Ok(()) } else { Err(format!("compare: {status}").into()) }
}

/// Runs the script that every change must pass.
fn ci() -> Result<(), Box<dyn std::error::Error>> {
    let status = Command::new("bash").arg(".ci/run").status()?;
    if status.success() { Ok(()) } else { Err(format!(".ci/run: {status}").into()) }
}
