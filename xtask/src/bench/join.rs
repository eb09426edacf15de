//! `streampipe join` beside the shell's own pipe: 1 GiB from one program to another.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::Done;
use super::measure::{median, print_header, print_machine, print_row};

const GIVE: &str = "exec head -c 1073741824 /dev/zero";
const TAKE: &str = "exec wc -c >/dev/null";
const ROUNDS: usize = 9;

pub(crate) fn join() -> Done {
    let built = Command::new("cargo").args(["build", "--release", "--quiet"]).status()?;
    if !built.success() {
        return Err("the command does not build".into());
    }
    print_machine()?;
    print_header("1 GiB from `head` to `wc`", "the shell's pipe", "streampipe join");
    for (name, options) in [("default: two pipes", &[][..]), ("--socket", &["--socket"][..])] {
        let (mut shells, mut joins, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (shell, join) = if round % 2 == 0 {
                let shell = time(&mut shell_pipe())?;
                (shell, time(&mut joined(options))?)
            } else {
                let join = time(&mut joined(options))?;
                (time(&mut shell_pipe())?, join)
            };
            shells.push(shell);
            joins.push(join);
            ratios.push(join / shell);
        }
        let seconds = |times| format!("{:.3} s", median(times));
        print_row(name, &seconds(shells), &seconds(joins), median(ratios))?;
    }
    Ok(())
}

fn shell_pipe() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("({GIVE}) | ({TAKE})")]);
    command
}

fn joined(options: &[&str]) -> Command {
    let mut command = Command::new("target/release/streampipe");
    command.arg("join").args(options).args(["--", "sh", "-c", GIVE, "::", "sh", "-c", TAKE]);
    command
}

fn time(command: &mut Command) -> Result<f64, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(start.elapsed().as_secs_f64())
}
