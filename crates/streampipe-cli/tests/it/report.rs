use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::ended::Ended;
use crate::trial::{join, shells};

/// A name that would turn a terminal red, ring its bell, and begin a line of its own.
const NASTY: &str = "nasty\u{1b}[31m\u{7}\r\nname\u{9b}";

/// The same as a person is to see it.
const NASTY_SHOWN: &str = "nasty\\u{1b}[31m\\u{7}\\r\\nname\\u{9b}";

/// The text without its times.
fn timeless(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let Some((line, time)) = line.split_once(" after ") else { return line.to_owned() };
            let seconds = time.strip_suffix(" s").and_then(|seconds| seconds.parse::<f64>().ok());
            assert!(seconds.is_some_and(|seconds| seconds >= 0.0), "{time} is no time");
            line.to_owned()
        })
        .collect()
}

/// A directory with a shell of a nasty name.
fn with_nasty_shell() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("/bin/sh", directory.path().join(NASTY)).expect("a link");
    directory
}

fn assert_shown_safely(ended: &Ended) {
    let safe = |c: char| c == '\n' || !c.is_control();
    assert!(ended.stderr.chars().all(safe), "{ended:#?}");
    assert!(ended.stderr.contains(NASTY_SHOWN), "{ended:#?}");
}

#[test]
fn nothing_is_reported_of_two_successes() {
    assert_eq!(shells(&[], "exit 0", "exit 0").ends().stderr, "");
}

#[test]
fn a_failure_is_reported_without_being_asked() {
    let ended =
        shells(&[], "echo $$; exit 3", "read left; while kill -0 $left 2>&-; do :; done").ends();
    let expected = ["left (sh) ended first: exit 3", "right (sh) ended second: exit 0"];
    assert_eq!(timeless(&ended.stderr), expected.map(|line| format!("streampipe: {line}")));
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_success_is_reported_if_asked() {
    let ended =
        shells(&["--report"], "read right; while kill -0 $right 2>&-; do :; done", "echo $$")
            .ends();
    let expected = ["right (sh) ended first: exit 0", "left (sh) ended second: exit 0"];
    assert_eq!(timeless(&ended.stderr), expected.map(|line| format!("streampipe: {line}")));
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, ""));
}

/// As cron mails whatever is said.
#[test]
fn nothing_is_reported_if_the_command_succeeds_although_a_program_failed() {
    let chosen = ["--exit", "right"];
    let ended = shells(&chosen, "exit 3", "exit 0").ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let breaks = "exec head -n1 >/dev/null";
    let ended = shells(&chosen, "exec yes", breaks).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let ended = shells(&["--exit", "right", "--report"], "exit 3", "exit 0").ends();
    assert_eq!((ended.code(), ended.stderr.lines().count()), (0, 2), "{ended:#?}");
}

#[test]
fn quiet_reports_no_failure_and_no_timeout() {
    let ended = shells(&["--quiet"], "echo own words >&2; kill -9 $$", "exit 5").ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (137, "own words\n"));
    let ended = join(["--quiet", "--timeout", "0.2", "--", "cat", "::", "cat"]).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (124, ""));
}

#[test]
fn a_signal_is_reported_with_its_name() {
    let ended = shells(&[], "kill -9 $$", "kill -15 $$").ends();
    assert!(ended.stderr.contains("left (sh) ended "), "{ended:#?}");
    assert!(ended.stderr.contains(": signal 9 (SIGKILL) after "), "{ended:#?}");
    assert!(ended.stderr.contains(": signal 15 (SIGTERM) after "), "{ended:#?}");
}

#[test]
fn json_is_one_line_with_all_fields() {
    let left = "echo $$ >left; echo left; exit 3";
    let right = "echo $$ >right; read word; kill -9 $$";
    let directory = tempfile::tempdir().expect("a directory");
    let ended = shells(&["--json"], left, right).within(directory.path()).ends();
    assert_eq!(ended.code(), 137);
    assert_eq!((ended.stderr.lines().count(), ended.stdout.as_str()), (1, ""), "{ended:#?}");
    let mut report = ended.json();
    for side in ["left", "right"] {
        let pid = std::fs::read_to_string(directory.path().join(side)).expect("its own word");
        assert_eq!(report[side]["pid"].to_string(), pid.trim());
        let seconds = report[side]["seconds"].as_f64().expect("a number");
        assert!(seconds > 0.0 && seconds < crate::trial::LIMIT.as_secs_f64(), "{report}");
        for unforeseeable in ["pid", "seconds", "ended"] {
            report[side].as_object_mut().expect("an object").remove(unforeseeable);
        }
    }
    report.as_object_mut().expect("an object").remove("first");
    let expected = json!({
        "exit_code": 137,
        "signal": null,
        "timed_out": false,
        "standstill": null,
        "left": {
            "side": "left", "command": ["sh", "-c", left], "asleep_in": null,
            "exit": 3, "signal": null, "signal_name": null, "core": false,
        },
        "right": {
            "side": "right", "command": ["sh", "-c", right], "asleep_in": null,
            "exit": null, "signal": 9, "signal_name": "SIGKILL", "core": false,
        },
    });
    assert_eq!(report, expected);
}

#[test]
fn json_comes_for_a_success_too() {
    let report = join(["--json", "--", "true", "::", "true"]).ends().json();
    assert_eq!((&report["exit_code"], &report["timed_out"]), (&json!(0), &json!(false)));
    let places = [&report["left"]["ended"], &report["right"]["ended"]];
    let expected = match report["first"].as_str() {
        Some("left") => [json!("first"), json!("second")],
        Some("right") => [json!("second"), json!("first")],
        _ if report["first"].is_null() => [json!(null), json!(null)],
        _ => panic!("{report}"),
    };
    assert_eq!(places, [&expected[0], &expected[1]]);
}

#[test]
fn a_core_dump_is_reported_if_there_was_one() {
    let dies = "ulimit -c unlimited 2>&-; kill -ABRT $$";
    let directory = tempfile::tempdir().expect("a directory");
    let alone = Command::new("sh").args(["-c", dies]).current_dir(directory.path()).status();
    let dumps = alone.expect("sh runs").core_dumped();
    let trial = |options: &[&str]| shells(options, dies, "exit 0").within(directory.path()).ends();
    let left = &trial(&["--json"]).json()["left"];
    assert_eq!(left["signal_name"], "SIGABRT");
    assert_eq!(left["core"], dumps);
    let text = trial(&[]).stderr;
    let said =
        if dumps { "signal 6 (SIGABRT), core dumped after" } else { "signal 6 (SIGABRT) after" };
    assert!(text.contains(said), "{text}");
}

#[test]
fn control_characters_of_a_name_are_shown_not_obeyed() {
    let directory = with_nasty_shell();
    let path = directory.path().join(NASTY);
    let path = path.to_str().expect("a text");
    for exit in ["exit 0", "exit 1"] {
        let words = ["--report", "--", path, "-c", exit, "::", path, "-c", exit];
        let ended = join(words).ends();
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
        assert_shown_safely(&ended);
    }
}

#[test]
fn control_characters_are_shown_at_a_timeout_too() {
    let directory = with_nasty_shell();
    let words = ["--timeout", "0.2", "--", NASTY, "-c", "read x", "::", NASTY, "-c", "read x"];
    let ended = join(words).searching(directory.path()).ends();
    assert_eq!(ended.stderr.lines().count(), 3, "{ended:#?}");
    assert_shown_safely(&ended);
}

#[test]
fn control_characters_of_a_name_that_is_not_found_are_shown_not_obeyed() {
    for words in [["--", NASTY, "::", "true"], ["--", "true", "::", NASTY]] {
        let ended = join(words).ends();
        assert_eq!(ended.code(), 127);
        assert_shown_safely(&ended);
    }
}

#[test]
fn json_brings_control_characters_back_as_they_were() {
    let directory = with_nasty_shell();
    let words = ["--json", "--", NASTY, "-c", "exit 1", "::", "no-such-program-anywhere"];
    let ended = join(words).searching(directory.path()).ends();
    assert_eq!(ended.stderr.lines().count(), 1);
    let words = ["--json", "--", NASTY, "-c", "exit 1", "::", "true"];
    let ended = join(words).searching(directory.path()).ends();
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    assert_eq!(ended.json()["left"]["command"], json!([NASTY, "-c", "exit 1"]));
    let ended = join(["--json", "--", NASTY, "::", "true"]).ends();
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    assert_eq!(ended.json()["command"], json!([NASTY]));
}

#[test]
fn what_the_programs_say_themselves_comes_through_before_the_report() {
    let ended = shells(&["--json"], "echo words >&2; exit 3", "exit 0").ends();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "words"), "{ended:#?}");
    assert!(serde_json::from_str::<Value>(lines[1]).is_ok());
}
