use serde_json::json;

use crate::ended::Ended;
use crate::support::skip;
use crate::trial::{join, shells};

/// Two that mind neither an end of input nor a broken pipe, so that each must be ended.
const SLEEPERS: [&str; 6] = ["--", "sleep", "1000", "::", "sleep", "1000"];

/// Whether it can be seen what a process sleeps in.
fn sleep_is_seen() -> bool {
    let seen = std::path::Path::new("/proc/self/syscall").exists();
    if !seen {
        skip("what a program sleeps in", "there is no /proc/PID/syscall");
    }
    seen
}

fn assert_both_write(ended: &Ended, name: &str) {
    assert_eq!(ended.code(), 124, "{ended:#?}");
    if sleep_is_seen() {
        let diagnosis = format!(
            "streampipe: the time is up: left ({name}) was waiting to write descriptor 1, \
             right ({name}) was waiting to write descriptor 1; both write and neither reads"
        );
        assert!(ended.has_line(&diagnosis), "{ended:#?}");
    }
    // Once one is dead the pipe of the other one is broken, and that may be faster.
    let count = |signal: &str| ended.stderr.matches(signal).count();
    let (by_term, by_pipe) = (count("signal 15 (SIGTERM)"), count("signal 13 (SIGPIPE)"));
    assert!(by_term >= 1 && by_term + by_pipe == 2, "{ended:#?}");
}

#[test]
fn two_that_only_write_are_ended_and_told_apart() {
    assert_both_write(&join(["--timeout", "1", "--", "yes", "::", "yes"]).ends(), "yes");
    let writes = "while :; do echo x; done";
    assert_both_write(&shells(&["--timeout", "1s"], writes, writes).ends(), "sh");
}

#[test]
fn json_says_what_both_were_asleep_in() {
    if !sleep_is_seen() {
        return;
    }
    let ended = join(["--json", "--timeout", "1", "--", "cat", "::", "cat"]).ends();
    let report = ended.json();
    assert_eq!((&report["exit_code"], &report["timed_out"]), (&json!(124), &json!(true)));
    assert_eq!(report["left"]["asleep_in"], json!({ "call": "read", "fd": 0 }));
    assert_eq!(report["right"]["asleep_in"], json!({ "call": "read", "fd": 0 }));
    // The shell waits for a child, and the other one neither reads nor writes.
    let ended = shells(&["--json", "--timeout", "1"], "cat; exit 0", "exec sleep 1000").ends();
    let report = ended.json();
    assert_eq!(report["left"]["asleep_in"], json!({ "call": "wait" }));
    assert_eq!(report["right"]["asleep_in"], json!({ "call": "other" }));
    let ended = shells(&["--json", "--timeout", "1"], "exit 0", "kill -STOP $$").ends();
    let report = ended.json();
    assert_eq!(report["left"]["asleep_in"], json!(null), "it had ended");
    assert_eq!(report["right"]["asleep_in"], json!({ "call": "stopped" }));
    let words = ["--json", "--timeout", "1", "--", "sleep", "1000", "::", "yes"];
    let report = join(words).ends().json();
    assert_eq!(report["right"]["asleep_in"], json!({ "call": "write", "fd": 1 }));
}

#[test]
fn a_diagnosis_speaks_of_reading_too() {
    let ended = join(["--timeout", "1", "--", "cat", "::", "cat"]).ends();
    if sleep_is_seen() {
        let diagnosis = "streampipe: the time is up: left (cat) was waiting to read descriptor 0, \
                         right (cat) was waiting to read descriptor 0";
        assert!(ended.has_line(diagnosis), "{ended:#?}");
    }
}

#[test]
fn programs_that_ignore_sigterm_are_killed_after_a_while() {
    // Ignored from their first instant on: the timeout cannot come before that.
    let options = ["--json", "--timeout", "0.2", "--kill-after", "0.2"];
    let ended = join(options.iter().chain(&SLEEPERS).copied()).after_shell("trap '' TERM").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.signals(), [Some(9), Some(9)]);
    for side in ["left", "right"] {
        let seconds = ended.json()[side]["seconds"].as_f64().expect("a number");
        assert!(seconds >= 0.4, "it was killed before its time: {seconds}");
    }
}

#[test]
fn one_that_ends_at_sigterm_and_one_that_must_be_killed() {
    let options = ["--json", "--timeout", "1", "--kill-after", "200ms"];
    let ended = shells(&options, "trap '' TERM; exec sleep 1000", "exec sleep 1000").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.signals(), [Some(9), Some(15)]);
    assert_eq!(ended.json()["first"], "right");
}

#[test]
fn no_patience_at_all_is_patience_enough() {
    let options = ["--json", "--timeout", "0", "--kill-after", "0"];
    let ended = join(options.iter().chain(&SLEEPERS).copied()).after_shell("trap '' TERM").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.signals(), [Some(9), Some(9)]);
}

#[test]
fn a_stopped_program_ends_too() {
    let options = ["--json", "--timeout", "0.5"];
    let stops = "kill -STOP $$; echo went on >&2; read nothing";
    let ended = shells(&options, stops, stops).ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.signals(), [Some(15), Some(15)]);
    assert!(!ended.has_line("went on"), "{ended:#?}");
}

#[test]
fn a_stopped_program_that_ignores_sigterm_is_killed() {
    let options = ["--json", "--timeout", "0.2", "--kill-after", "0.2"];
    let stops = "kill -STOP $$; kill -STOP $$; exec cat";
    let ended = shells(&options, stops, stops).after_shell("trap '' TERM").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.signals(), [Some(9), Some(9)]);
}

#[test]
fn one_that_ended_in_time_keeps_its_status() {
    let ended = shells(&["--json", "--timeout", "1"], "exit 3", "exec sleep 1000").ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!((ended.exits()[0], ended.signals()[1]), (Some(3), Some(15)));
    assert_eq!(ended.json()["first"], "left");
    assert_eq!(ended.json()["left"]["asleep_in"], json!(null));
}

#[test]
fn a_timeout_that_does_not_come_changes_nothing() {
    for time in ["25", "25s", "1m", "1e18", "1000000days"] {
        let ended = shells(&["--json", "--timeout", time], "exit 3", "exit 0").ends();
        assert_eq!((ended.code(), ended.exits()), (3, [Some(3), Some(0)]), "{time}: {ended:#?}");
        assert_eq!(ended.json()["timed_out"], false);
    }
}
