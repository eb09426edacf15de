use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;

/// How the command ended, and what came out of it and its programs.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The command's exit code.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("the command did not exit: {self:#?}"))
    }

    /// The signal that the command died of.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The report of `--json`, which is the last line.
    pub(crate) fn json(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The exit codes of both programs, by the report of `--json`.
    pub(crate) fn exits(&self) -> [Option<i64>; 2] {
        self.both("exit")
    }

    /// The signals that killed the programs, by the report of `--json`.
    pub(crate) fn signals(&self) -> [Option<i64>; 2] {
        self.both("signal")
    }

    /// Whether one of the lines is this.
    pub(crate) fn has_line(&self, line: &str) -> bool {
        self.stderr.lines().any(|it| it == line)
    }

    /// Whether one of the lines has this in it.
    pub(crate) fn has_line_with(&self, text: &str) -> bool {
        self.stderr.lines().any(|it| it.contains(text))
    }

    fn both(&self, field: &str) -> [Option<i64>; 2] {
        let report = self.json();
        ["left", "right"].map(|side| report[side][field].as_i64())
    }
}
