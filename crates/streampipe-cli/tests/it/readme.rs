//! The README's commands, as they stand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of the README's shell blocks, comments left out.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(""));
    let lines = blocks.flat_map(str::lines).filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Types a line, with this build's command in the place of the one that would be built first.
fn type_in(line: &str) -> Output {
    let command = Path::new(env!("CARGO_BIN_EXE_streampipe"));
    let line = line.replace("cargo run --release --", "streampipe");
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", command.parent().expect("a directory").display());
    let mut sh = Command::new("sh");
    sh.args(["-c", &line]).env("PATH", path).stdin(Stdio::null());
    sh.output().expect("there is a shell")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_first_command_sorts_three_words_and_reports() {
    let first = &commands()[0];
    assert!(first.starts_with("cargo run --release -- join "), "{first}");
    let output = type_in(first);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("apple\nfig\npear\n"), "{said}");
    // Either may be first: `sort` closes its output before it ends.
    for name in ["sort", "sh"] {
        let ended =
            ["first", "second", "first or second"].map(|it| format!("({name}) ended {it}: exit 0"));
        assert!(ended.iter().any(|it| said.contains(it)), "{said}");
    }
}

#[test]
fn the_second_command_is_the_gate_of_ci() {
    let second = &commands()[1];
    let script = std::fs::read_to_string(root().join(".ci/run")).expect("there is a script");
    assert!(script.lines().any(|line| line == second), "{second} is not in .ci/run");
}

#[test]
fn the_other_commands_do_what_is_said_of_them() {
    let all = commands();
    let [calculator, endless, greeting] = &all[2..] else { panic!("others than tested: {all:?}") };
    if crate::support::has_program("bc", "the README's calculator") {
        let output = type_in(calculator);
        assert_eq!((output.status.code(), stderr(&output).trim()), (Some(0), "42"));
    }
    let output = type_in(endless);
    assert_eq!(output.status.code(), Some(124));
    assert!(stderr(&output).contains("both write and neither reads"), "{}", stderr(&output));
    let output = type_in(greeting);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello yourself\n");
    assert_eq!(output.status.code(), Some(0));
}
