use crate::ended::Ended;
use crate::trial::{join, shells, streampipe};

/// Exits with 3, and with 5; the second one only when the first one is gone.
const GOES_FIRST: &str = "echo $$; exit 3";
const GOES_SECOND: &str = "read first; while kill -0 $first 2>&-; do :; done; exit 5";

/// The codes of the rules `first`, `last`, `worst`, `left`, `right`.
fn codes_by_rule(left: &str, right: &str) -> [i32; 5] {
    ["first", "last", "worst", "left", "right"]
        .map(|rule| shells(&["--quiet", "--exit", rule], left, right).ends().code())
}

#[test]
fn two_successes_are_a_silent_0() {
    let ended = join(["--", "true", "::", "true"]).ends();
    assert_eq!(ended.code(), 0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

#[test]
fn the_double_dash_may_be_left_out() {
    let ended = join(["true", "::", "sh", "-c", "exit 4"]).ends();
    assert_eq!(ended.code(), 4, "{ended:#?}");
}

#[test]
fn each_rule_chooses_when_the_left_one_ends_first() {
    assert_eq!(codes_by_rule(GOES_FIRST, GOES_SECOND), [3, 5, 5, 3, 5]);
    let second = GOES_SECOND.replace("exit 5", "exit 2");
    assert_eq!(codes_by_rule(GOES_FIRST, &second), [3, 2, 3, 3, 2]);
}

#[test]
fn each_rule_chooses_when_the_right_one_ends_first() {
    // The left one has 3, the right one 5.
    let left = GOES_SECOND.replace("exit 5", "exit 3");
    let right = GOES_FIRST.replace("exit 3", "exit 5");
    assert_eq!(codes_by_rule(&left, &right), [5, 3, 5, 3, 5]);
}

#[test]
fn a_success_that_the_rule_chooses_is_a_success() {
    let second = GOES_SECOND.replace("exit 5", "exit 0");
    assert_eq!(codes_by_rule(GOES_FIRST, &second), [3, 0, 3, 3, 0]);
}

#[test]
fn the_worst_is_the_rule_unless_another_is_named() {
    assert_eq!(shells(&[], "exit 3", "exit 5").ends().code(), 5);
    assert_eq!(shells(&[], "exit 5", "exit 3").ends().code(), 5);
    assert_eq!(shells(&[], "exit 255", "kill -9 $$").ends().code(), 255);
}

#[test]
fn a_program_killed_by_a_signal_counts_as_128_and_the_signal() {
    for (signal, code) in [(9, 137), (15, 143), (10, 138), (13, 141)] {
        let kills_itself = format!("kill -{signal} $$");
        assert_eq!(shells(&[], &kills_itself, "exit 5").ends().code(), code);
        assert_eq!(shells(&[], "exit 5", &kills_itself).ends().code(), code);
        assert_eq!(shells(&["--exit", "left"], "exit 5", &kills_itself).ends().code(), 5);
    }
}

#[test]
fn a_failure_of_either_side_is_a_failure() {
    assert_eq!(join(["false", "::", "true"]).ends().code(), 1);
    assert_eq!(join(["true", "::", "false"]).ends().code(), 1);
}

#[test]
fn the_codes_of_the_command_itself_pass_through_from_a_program() {
    for code in [124, 125, 126, 127, 128, 255] {
        let ended = shells(&["--json"], &format!("exit {code}"), "exit 0").ends();
        assert_eq!(ended.code(), code);
        assert_eq!(ended.exits(), [Some(i64::from(code)), Some(0)]);
        assert_eq!(ended.json()["timed_out"], false);
    }
}

#[test]
fn a_timeout_is_124_also_if_both_then_exit_with_0() {
    let ends_well = "trap 'exit 0' TERM; while :; do :; done";
    let ended = shells(&["--json", "--timeout", "0.3"], ends_well, ends_well).ends();
    assert_eq!(ended.code(), 124, "{ended:#?}");
    assert_eq!(ended.json()["timed_out"], true);
}

fn assert_usage_error(ended: &Ended) {
    assert_eq!(ended.code(), 125, "{ended:#?}");
    assert_eq!(ended.stdout, "", "an error is no data");
    assert_ne!(ended.stderr, "", "an error is told");
}

#[test]
fn a_missing_separator_is_125_with_a_hint() {
    for words in [
        &["true"] as &[&str],
        &["--", "true", "false"],
        &["--", "::"],
        &["--", "true", "::"],
        &["--", "::", "true"],
        &["--", "true", "::", "true", "::", "true"],
        &["--", "true", "::", "::", "true"],
        &["--", "true::true"],
    ] {
        let ended = join(words.iter().copied()).ends();
        assert_usage_error(&ended);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(lines[0], "streampipe: join takes two programs with one :: between them");
        assert!(lines[1].starts_with("hint: streampipe join -- PROGRAM"), "{words:?}: {lines:?}");
    }
}

#[test]
fn wrong_options_are_125() {
    for options in [
        &["--fd", "2"] as &[&str],
        &["--fd", "0"],
        &["--fd", "-1"],
        &["--fd", "x"],
        &["--fd", ""],
        &["--fd", "2147483648"],
        &["--socket", "--fd", "3"],
        &["--fd", "3", "--socket"],
        &["--fd", "3", "--fd", "4"],
        &["--exit", "sum"],
        &["--report", "--quiet"],
        &["--json", "--quiet"],
        &["--timeout", "soon"],
        &["--timeout", "-1"],
        &["--timeout", "nan"],
        &["--timeout", "1e300"],
        &["--timeout", ""],
        &["--kill-after", "soon"],
    ] {
        let programs = ["--", "true", "::", "true"];
        assert_usage_error(&join(options.iter().copied().chain(programs)).ends());
    }
}

#[test]
fn no_programs_and_no_task_are_125() {
    assert_usage_error(&join([] as [&str; 0]).ends());
    assert_usage_error(&join(["--"]).ends());
    assert_usage_error(&join(["--report"]).ends());
    assert_usage_error(&streampipe([] as [&str; 0]).ends());
    assert_usage_error(&streampipe(["part"]).ends());
}

#[test]
fn an_unknown_option_is_125() {
    for option in ["--bogus", "--repor", "-x"] {
        assert_usage_error(&join([option, "--", "true", "::", "true"]).ends());
        assert_usage_error(&join([option, "true", "::", "true"]).ends());
        assert_usage_error(&join(["--report", option, "--", "true", "::", "true"]).ends());
    }
    assert_usage_error(&streampipe(["--bogus"]).ends());
}

#[test]
fn a_number_above_the_limit_of_descriptors_is_125() {
    for number in ["1000000000", "2147483647"] {
        let ended = join(["--fd", number, "--", "true", "::", "true"]).ends();
        assert_usage_error(&ended);
        assert!(ended.stderr.contains("cannot be started"), "{ended:#?}");
    }
}

#[test]
fn options_after_the_first_program_are_its_own() {
    let script = "test \"$*\" = '--json --quiet'";
    let words = ["sh", "-c", script, "sh", "--json", "--quiet", "::", "true"];
    let ended = join(words).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
}
