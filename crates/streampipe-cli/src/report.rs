//! How both programs ended, for people and for machines.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use streampipe::join::{AsleepIn, Ended, Ending, JoinError, Outcome, Side, SleepFile, Standstill};

use crate::exit_code::Code;
use crate::messages::printable;

/// What the two programs were called.
pub(crate) struct Names {
    left: Vec<String>,
    right: Vec<String>,
}

impl Names {
    pub(crate) fn of(left: &[OsString], right: &[OsString]) -> Self {
        let lossy = |words: &[OsString]| {
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        Self { left: lossy(left), right: lossy(right) }
    }

    pub(crate) fn of_side(&self, side: Side) -> &str {
        self.words(side).first().map_or("", String::as_str)
    }

    fn words(&self, side: Side) -> &[String] {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }
}

/// Lines for people, the program that ended first on top.
pub(crate) fn text(outcome: &Outcome, names: &Names) -> Vec<String> {
    let (order, places) = match outcome.first {
        Some(first) => ([first, first.other()], ["first", "second"]),
        None => ([Side::Left, Side::Right], ["first or second"; 2]),
    };
    let mut lines: Vec<String> = order
        .iter()
        .zip(places)
        .map(|(&side, place)| {
            let ended = outcome.of(side);
            let name = printable(names.of_side(side));
            let after = seconds(ended.after);
            format!("{side} ({name}) ended {place}: {} after {after}", how(ended.how))
        })
        .collect();
    if outcome.timed_out {
        lines.insert(0, time_is_up(outcome, names));
    }
    lines
}

/// One line for machines; the fields are described in README.md.
pub(crate) fn json(outcome: &Outcome, names: &Names, code: Code) -> String {
    let program = |side: Side| {
        let ended = outcome.of(side);
        let (exit, signal, core) = match ended.how {
            Ending::Exited(code) => (Some(code), None, false),
            Ending::Signaled { signal, core } => (None, Some(signal), core),
            _ => (None, None, false),
        };
        json!({
            "side": side.to_string(),
            "command": names.words(side),
            "pid": ended.pid,
            "ended": outcome.first.map(|it| if it == side { "first" } else { "second" }),
            "exit": exit,
            "signal": signal,
            "signal_name": signal.and_then(signal_name),
            "core": core,
            "seconds": ended.after.as_secs_f64(),
            "asleep_in": ended.asleep_in.map(|call| doing_json(call, ended.asleep_on)),
        })
    };
    json!({
        "exit_code": code.number(),
        "signal": code.signal(),
        "timed_out": outcome.timed_out,
        "standstill": outcome.standstill.and_then(standstill_json),
        "first": outcome.first.map(|side| side.to_string()),
        "left": program(Side::Left),
        "right": program(Side::Right),
    })
    .to_string()
}

/// One line for machines if the programs were not joined.
pub(crate) fn json_error(error: &JoinError, names: &Names, code: Code) -> String {
    json!({
        "exit_code": code.number(),
        "error": error.to_string(),
        "errno": error.cause().raw_os_error(),
        "hint": error.hint(),
        "side": error.side().map(|side| side.to_string()),
        "command": error.side().map(|side| names.words(side)),
    })
    .to_string()
}

/// The same if this command failed by itself, as by wrong arguments.
pub(crate) fn json_failure(text: &str, hint: Option<&str>, code: Code) -> String {
    json!({
        "exit_code": code.number(),
        "error": text,
        "errno": null,
        "hint": hint,
        "side": null,
        "command": null,
    })
    .to_string()
}

fn how(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exit {code}"),
        Ending::Signaled { signal, core } => {
            let name = signal_name(signal).map_or(String::new(), |name| format!(" ({name})"));
            let core = if core { ", core dumped" } else { "" };
            format!("signal {signal}{name}{core}")
        }
        _ => "status unknown".to_owned(),
    }
}

/// What both were waiting for: two that write and never read are told apart from a slow one.
fn time_is_up(outcome: &Outcome, names: &Names) -> String {
    let doing = |side: Side| {
        let name = printable(names.of_side(side));
        format!("{side} ({name}) was {}", doing(outcome.of(side)))
    };
    let verdict = match outcome.standstill {
        Some(Standstill::BothWrite) => "; both write and neither reads".to_owned(),
        Some(Standstill::SameFile) => {
            let file = match outcome.left.asleep_on {
                Some(SleepFile::Standard(number)) => standard(number),
                _ => "one file that is not joined",
            };
            format!("; both wait for {file}, not for each other")
        }
        _ => String::new(),
    };
    format!("the time is up: {}, {}{verdict}", doing(Side::Left), doing(Side::Right))
}

fn doing(ended: &Ended) -> String {
    let file = match ended.asleep_on {
        Some(SleepFile::Standard(number)) => format!(" ({})", standard(number)),
        Some(SleepFile::Other) => " (a file that is not joined)".to_owned(),
        Some(SleepFile::Unknown) => " (a file that could not be looked at)".to_owned(),
        _ => String::new(),
    };
    match ended.asleep_in {
        Some(AsleepIn::Read(fd)) => format!("waiting to read descriptor {fd}{file}"),
        Some(AsleepIn::Write(fd)) => format!("waiting to write descriptor {fd}{file}"),
        Some(AsleepIn::Wait) => "waiting for a child of its own".to_owned(),
        Some(AsleepIn::Stopped) => "stopped by a signal".to_owned(),
        Some(AsleepIn::Unknown) => "in an unknown state (it could not be looked at)".to_owned(),
        Some(_) => "asleep in another call".to_owned(),
        None if ended.in_time => "already over".to_owned(),
        None => "running".to_owned(),
    }
}

fn standard(number: i32) -> &'static str {
    match number {
        0 => "this command's standard input",
        1 => "this command's standard output",
        _ => "this command's standard error",
    }
}

fn doing_json(asleep: AsleepIn, file: Option<SleepFile>) -> Value {
    let mut doing = match asleep {
        AsleepIn::Read(fd) => json!({ "call": "read", "fd": fd }),
        AsleepIn::Write(fd) => json!({ "call": "write", "fd": fd }),
        AsleepIn::Wait => json!({ "call": "wait" }),
        AsleepIn::Stopped => json!({ "call": "stopped" }),
        AsleepIn::Unknown => json!({ "call": "unknown" }),
        _ => json!({ "call": "other" }),
    };
    let file = file.and_then(|file| match file {
        SleepFile::Joined => None,
        SleepFile::Standard(0) => Some("stdin"),
        SleepFile::Standard(1) => Some("stdout"),
        SleepFile::Standard(_) => Some("stderr"),
        SleepFile::Other => Some("other"),
        _ => Some("unknown"),
    });
    if let Some(file) = file {
        doing["file"] = file.into();
    }
    doing
}

fn standstill_json(standstill: Standstill) -> Option<&'static str> {
    match standstill {
        Standstill::BothWrite => Some("both_write"),
        Standstill::SameFile => Some("same_file"),
        _ => None,
    }
}

/// The name as std shows it: `signal: 13 (SIGPIPE)`.
fn signal_name(signal: i32) -> Option<String> {
    let text = ExitStatus::from_raw(signal).to_string();
    let (_, rest) = text.split_once('(')?;
    Some(rest.split_once(')')?.0.to_owned())
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
