use serde_json::Value;

use crate::ended::Ended;
use crate::support::has_program;
use crate::trial::{join, python, shells, streampipe};

/// The one line of JSON in a file of this directory.
fn json_in(directory: &std::path::Path, name: &str) -> Value {
    let text = std::fs::read_to_string(directory.join(name)).expect("a report");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[test]
fn json_goes_to_a_file_and_words_go_on() {
    for (exit, options) in [(3, &[] as &[&str]), (0, &[]), (0, &["--report"]), (3, &["--quiet"])] {
        let directory = tempfile::tempdir().expect("a directory");
        let words: Vec<&str> = ["--json=report"].iter().chain(options).copied().collect();
        let says = format!("printf 'own words\\n' >&2; exit {exit}");
        let ended = shells(&words, &says, "exit 0").within(directory.path()).ends();
        assert_eq!(ended.code(), exit, "{ended:#?}");
        let report = json_in(directory.path(), "report");
        assert_eq!((&report["exit_code"], &report["left"]["exit"]), (&exit.into(), &exit.into()));
        let reports = (exit != 0 && options.is_empty()) || options == ["--report"];
        let expected = if reports { 3 } else { 1 };
        assert_eq!(ended.stderr.lines().count(), expected, "{options:?}: {ended:#?}");
    }
}

#[test]
fn a_file_is_emptied_first_and_a_second_run_replaces_the_first() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("report"), "x".repeat(100_000)).expect("written");
    let run =
        || join(["--json=report", "--", "true", "::", "true"]).within(directory.path()).ends();
    for _ in 0..2 {
        assert_eq!(run().code(), 0);
        assert_eq!(json_in(directory.path(), "report")["exit_code"], 0);
    }
}

#[test]
fn a_descriptor_gets_the_report_and_the_programs_do_not_get_the_descriptor() {
    let looks = "test -e /proc/$$/fd/5 && exit 9; exit 3";
    for (option, is_json) in [("--json", true), ("--report", false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let trial = shells(&[option, "--report-fd", "5"], looks, "echo own words >&2; exit 0");
        let ended = trial.within(directory.path()).redirected("5>report").ends();
        assert_eq!((ended.code(), ended.stderr.as_str()), (3, "own words\n"), "{ended:#?}");
        if is_json {
            assert_eq!(json_in(directory.path(), "report")["exit_code"], 3);
        } else {
            let text = std::fs::read_to_string(directory.path().join("report")).expect("a report");
            assert!(text.starts_with("streampipe: ") && text.lines().count() == 2, "{text:?}");
        }
    }
}

#[test]
fn a_descriptor_for_reports_and_one_for_the_stream_may_have_one_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = ["--json", "--report-fd", "5", "--fd", "5"];
    let trial = shells(&options, "echo hello >&5", "read word <&5; test \"$word\" = hello");
    let ended = trial.within(directory.path()).redirected("5>report").ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    assert_eq!(json_in(directory.path(), "report")["exit_code"], 0);
}

#[test]
fn a_place_that_cannot_be_written_to_is_125_before_anything_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    for (options, redirections, what) in [
        (&["--report-fd", "5"] as &[&str], "", "--report-fd 5: Bad file descriptor"),
        (&["--report-fd", "5", "--json"], "5</dev/null", "--report-fd 5: Bad file descriptor"),
        (&["--json=no/such/directory"], "", "--json=no/such/directory: No such file"),
        (&["--json=."], "", "--json=.: Is a directory"),
    ] {
        let trial = shells(options, "echo started >trace", "true").within(directory.path());
        let ended = trial.redirected(redirections).ends();
        assert_eq!(ended.code(), 125, "{ended:#?}");
        // Where nothing else can be written to, it is said on standard error.
        let begins = if options.contains(&"--json") { "\"error\":\"" } else { "streampipe: " };
        assert!(ended.has_line_with(&format!("{begins}{what}")), "{ended:#?}");
        assert!(!directory.path().join("trace").exists(), "a program was started");
    }
    if has_program("mkfifo", "a report into a named pipe that nobody reads") {
        let trial = join(["--json=pipe", "--", "true", "::", "true"]).within(directory.path());
        assert_eq!(trial.after_shell("mkfifo pipe").ends().code(), 125);
    }
}

#[test]
fn numbers_below_1_and_other_nonsense_are_no_descriptors() {
    for number in ["0", "-1", "x", "", "2147483648"] {
        let ended = join(["--report-fd", number, "--", "true", "::", "true"]).ends();
        assert_eq!(ended.code(), 125, "{number}: {ended:#?}");
    }
}

#[test]
fn a_report_that_was_asked_for_and_is_lost_is_no_success() {
    for (exit, code) in [("exit 0", 125), ("exit 3", 3)] {
        let trial = shells(&["--json", "--report-fd", "5"], exit, "exit 0");
        let ended = trial.redirected("5>/dev/full").ends();
        assert_eq!(ended.code(), code, "{ended:#?}");
        assert!(
            ended.has_line_with("the report could not be written: descriptor 5: "),
            "{ended:#?}"
        );
    }
}

fn assert_failure(report: &Value) {
    assert_eq!(report["exit_code"], 125, "{report}");
    assert!(report["error"].as_str().is_some_and(|text| !text.is_empty()), "{report}");
    for field in ["errno", "side", "command"] {
        assert!(report[field].is_null(), "{report}");
    }
}

/// Wrong arguments, with the words for JSON in front of what is wrong, or behind it.
const WRONG: [&[&str]; 8] = [
    &["--bogus", "JSON", "--", "true", "::", "true"],
    &["JSON", "--bogus", "--", "true", "::", "true"],
    &["JSON", "--fd", "2", "--", "true", "::", "true"],
    &["--timeout", "soon", "JSON", "true", "::", "true"],
    &["JSON", "--", "true"],
    &["JSON"],
    &["JSON", "--exit"],
    &["--report", "JSON", "--quiet", "--", "true", "::", "true"],
];

fn with_json(words: &[&'static str], option: &[&'static str]) -> Vec<&'static str> {
    let places =
        words.iter().map(|word| if *word == "JSON" { option } else { std::slice::from_ref(word) });
    places.flatten().copied().collect()
}

#[test]
fn wrong_arguments_are_json_where_json_was_asked_for() {
    for wrong in WRONG {
        let ended = join(with_json(wrong, &["--json"])).ends();
        assert_eq!((ended.code(), ended.stdout.as_str()), (125, ""), "{ended:#?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{wrong:?}: {ended:#?}");
        assert_failure(&ended.json());
    }
}

#[test]
fn wrong_arguments_are_json_in_the_same_place() {
    for wrong in WRONG {
        let directory = tempfile::tempdir().expect("a directory");
        let words = with_json(wrong, &["--json=report"]);
        let ended = join(words).within(directory.path()).ends();
        assert_eq!(ended.code(), 125, "{ended:#?}");
        assert!(ended.stderr.starts_with("streampipe: "), "words go on: {ended:#?}");
        assert_failure(&json_in(directory.path(), "report"));
        let words = with_json(wrong, &["--report-fd", "5", "--json"]);
        let ended = join(words).within(directory.path()).redirected("5>numbered").ends();
        assert_eq!((ended.code(), ended.stderr.as_str()), (125, ""), "{ended:#?}");
        assert_failure(&json_in(directory.path(), "numbered"));
    }
}

#[test]
fn json_that_a_program_asks_for_is_not_the_commands() {
    for words in [&["--bogus", "--", "echo", "--json", "::", "cat"] as &[&str], &["true", "--json"]]
    {
        let ended = join(words.iter().copied()).ends();
        assert!(ended.stderr.starts_with("streampipe: "), "{ended:#?}");
    }
    let ended = streampipe(["--json", "join"]).ends();
    assert!(ended.stderr.starts_with("streampipe: "), "{ended:#?}");
}

#[test]
fn a_program_that_was_not_started_is_json_in_the_same_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let words = ["--json=report", "--", "true", "::", "no-such-program-anywhere"];
    let ended = join(words).within(directory.path()).ends();
    assert_eq!(ended.code(), 127, "{ended:#?}");
    assert!(ended.has_line_with("the right program was not found"), "{ended:#?}");
    assert_eq!(json_in(directory.path(), "report")["side"], "right");
}

/// A line that a program leaves unfinished, and what comes behind it.
fn behind_half_a_line(options: &[&str], redirections: &str) -> Ended {
    let trial = shells(options, "printf half >&2; exit 3", "read x; exit 0");
    trial.redirected(redirections).ends()
}

#[test]
fn a_report_begins_a_line_of_its_own() {
    // To a file, whose last byte can be read or not, and to a pipe, of which nobody knows.
    for redirections in ["", "2>err; cat err >&2", "2>&1 >/dev/null | cat >&2"] {
        for option in ["--report", "--json"] {
            let directory = tempfile::tempdir().expect("a directory");
            let trial = shells(&[option], "printf half >&2; exit 3", "read x; exit 0");
            let script = format!("\"$0\" \"$@\" {redirections}; exit 0");
            let ended = trial.within(directory.path()).behind(["sh", "-c", script.as_str()]).ends();
            let lines: Vec<&str> = ended.stderr.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(lines[0], "half", "{redirections} {ended:#?}");
            let begins = if option == "--json" { "{" } else { "streampipe: " };
            assert!(
                lines.len() > 1 && lines[1..].iter().all(|it| it.starts_with(begins)),
                "{ended:#?}"
            );
        }
    }
    // Words in a place of their own stand behind nobody's.
    let ended = behind_half_a_line(&["--report", "--report-fd", "5"], "5>/dev/null");
    assert_eq!(ended.stderr, "half");
    // A descriptor that is the same file is no place of its own.
    let ended = behind_half_a_line(&["--report", "--report-fd", "5"], "5>&2");
    assert!(ended.has_line("half"), "{ended:#?}");
}

#[test]
fn a_file_in_which_no_line_is_unfinished_gets_no_empty_line() {
    let ended = shells(&["--report"], "echo whole >&2; exit 3", "read x; exit 0").ends();
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "whole"), "{ended:#?}");
    let ended = join(["--report", "--", "true", "::", "true"]).ends();
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
}

/// Standard error is a full pipe that nobody reads.
fn with_blocked_stderr(options: &[&str], left: &str) -> Option<i32> {
    if !has_program("mkfifo", "a standard error that nobody reads") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let trial = shells(options, left, "exec sleep 1000").within(directory.path());
    let blocks = "mkfifo full; exec 9<>full; dd if=/dev/zero of=full bs=65536 count=1 2>/dev/null; \
                  exec 2>full";
    Some(trial.after_shell(blocks).ends().code())
}

#[test]
fn a_report_that_nobody_takes_is_given_up_after_a_timeout() {
    for option in ["--report", "--json", "--quiet"] {
        let Some(code) = with_blocked_stderr(&[option, "--timeout", "0.3"], "exec sleep 1000")
        else {
            return;
        };
        assert_eq!(code, 124);
    }
    // A program that is stuck in its own words ends, too.
    let talks = "while :; do echo words >&2; done";
    assert_eq!(with_blocked_stderr(&["--timeout", "0.3"], talks), Some(124));
}

/// Runs the command with a standard error that is a non-blocking pipe, too small for the report, and
/// reads it to its end.
const NONBLOCKING: &str = "
import os, subprocess, sys
reader, writer = os.pipe()
os.set_blocking(writer, False)
command = subprocess.Popen(sys.argv[1:], stderr=writer)
os.close(writer)
with open(reader, 'rb') as pipe:
    sys.stdout.buffer.write(pipe.read())
sys.exit(command.wait())
";

#[test]
fn a_report_arrives_whole_on_a_pipe_that_somebody_made_nonblocking() {
    let Some(python) = python("a non-blocking standard error") else { return };
    let python = python.to_str().expect("a plain path");
    let long = "x".repeat(100_000);
    for options in [&["--json"] as &[&str], &["--json", "--timeout", "25"]] {
        let words = ["--", "true", &long, "::", "true", &long];
        let trial = join(options.iter().copied().chain(words));
        let ended = trial.behind([python, "-I", "-S", "-c", NONBLOCKING]).ends();
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let report: Value = serde_json::from_str(ended.stdout.trim()).expect("all of it");
        assert_eq!(report["right"]["command"], serde_json::json!(["true", long]));
    }
}

#[test]
fn a_file_beyond_the_limit_on_sizes_is_an_error_and_kills_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let trial = join(["--json=report", "--", "true", "::", "true"]).within(directory.path());
    let ended = trial.after_shell("ulimit -f 0; exec 2>/dev/null").ends();
    assert_eq!(ended.code(), 125, "{ended:#?}");
    let ended = join(["--report", "--", "true", "::", "false"]).after_shell("ulimit -f 0").ends();
    assert_eq!(ended.code(), 1, "{ended:#?}");
}

#[test]
fn reports_arrive_whatever_is_closed() {
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let directory = tempfile::tempdir().expect("a directory");
        let words = ["--json=report", "--report", "--report-fd", "5", "--", "true", "::", "false"];
        let trial = join(words).within(directory.path());
        let ended = trial.redirected(&format!("{redirections} 5>words")).ends();
        assert_eq!(ended.code(), 1, "{redirections}: {ended:#?}");
        assert_eq!(json_in(directory.path(), "report")["exit_code"], 1);
        let words = std::fs::read_to_string(directory.path().join("words")).expect("words");
        assert_eq!(words.lines().count(), 2, "{redirections}: {words:?}");
    }
}
