use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ended::Ended;
use crate::support::{has_program, skip};
use crate::trial::{Trial, join, make_file, shells};

const DENIED: &str = "cannot be executed: Permission denied (os error 13)";
const NOT_A_PROGRAM: &str =
    "hint: the file is there, but it is a directory or has no execute permission";
const MISSING: &str = "was not found: No such file or directory (os error 2)";

/// A left program that would leave a file behind.
const LEAVES_A_TRACE: &str = "echo started >trace";

/// Joins `true` and this, on either side.
fn on_both_sides(program: &str, trial: impl Fn(Trial) -> Trial) -> [(Ended, &'static str); 2] {
    [
        (trial(join(["--", program, "::", "true"])).ends(), "left"),
        (trial(join(["--", "true", "::", program])).ends(), "right"),
    ]
}

fn assert_refused(program: &str, code: i32, what: &str, hint: Option<&str>) {
    for (ended, side) in on_both_sides(program, |trial| trial) {
        assert_eq!(ended.code(), code, "{ended:#?}");
        let mut lines = ended.stderr.lines();
        let expected = format!("streampipe: {program}: the {side} program {what}");
        assert_eq!(lines.next(), Some(expected.as_str()));
        assert_eq!(lines.next(), hint);
        assert_eq!(lines.next(), None);
    }
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().expect("a plain path").to_owned()
}

#[test]
fn a_directory_is_126() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_refused(&path(directory.path(), ""), 126, DENIED, Some(NOT_A_PROGRAM));
}

#[test]
fn a_file_without_execute_permission_is_126_by_path_and_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    make_file(&directory.path().join("plain-file"), "#!/bin/sh\n", "644");
    assert_refused(&path(directory.path(), "plain-file"), 126, DENIED, Some(NOT_A_PROGRAM));
    for (ended, side) in on_both_sides("plain-file", |trial| trial.searching(directory.path())) {
        assert_eq!(ended.code(), 126, "{ended:#?}");
        assert!(ended.has_line(&format!("streampipe: plain-file: the {side} program {DENIED}")));
        assert!(ended.has_line(NOT_A_PROGRAM));
    }
}

#[test]
fn a_script_whose_interpreter_is_missing_is_126() {
    let hint = "hint: the file is there: the interpreter in its first line (mind a carriage return at its end), or its loader, is not";
    let directory = tempfile::tempdir().expect("a directory");
    make_file(&directory.path().join("script"), "#!/no/such/interpreter\n", "755");
    let what = "cannot be executed: No such file or directory (os error 2)";
    assert_refused(&path(directory.path(), "script"), 126, what, Some(hint));
}

#[test]
fn an_executable_text_without_a_first_line_is_126() {
    let hint = "hint: a script needs a first line such as #!/bin/sh, or run it with sh FILE";
    let directory = tempfile::tempdir().expect("a directory");
    make_file(&directory.path().join("script"), "echo hello\n", "755");
    let what = "cannot be executed: Exec format error (os error 8)";
    assert_refused(&path(directory.path(), "script"), 126, what, Some(hint));
}

#[test]
fn a_program_that_is_nowhere_is_127() {
    assert_refused("no-such-program-anywhere", 127, MISSING, None);
    assert_refused("/no/such/program", 127, MISSING, None);
    assert_refused("./no-such-program", 127, MISSING, None);
    let below_a_file = "was not found: Not a directory (os error 20)";
    assert_refused("/etc/passwd/no-such-program", 127, below_a_file, None);
}

#[test]
fn an_empty_name_is_127() {
    for (ended, side) in on_both_sides("", |trial| trial) {
        assert_eq!(ended.code(), 127, "{ended:#?}");
        assert_eq!(ended.stderr, format!("streampipe: '': the {side} program {MISSING}\n"));
    }
}

#[test]
fn the_search_goes_on_past_a_file_that_cannot_be_executed() {
    let directory = tempfile::tempdir().expect("a directory");
    make_file(&directory.path().join("true"), "", "644");
    let ended = join(["--", "true", "::", "true"]).searching(directory.path()).ends();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
}

#[test]
fn the_left_program_is_never_started_if_the_right_one_is_not_found() {
    for (right, code) in [("no-such-program-anywhere", 127), ("/no/such/program", 127), ("/", 126)]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let words = ["--", "sh", "-c", LEAVES_A_TRACE, "::", right];
        let ended = join(words).within(directory.path()).ends();
        assert_eq!(ended.code(), code, "{ended:#?}");
        assert!(!directory.path().join("trace").exists(), "the left program was started");
    }
    // The trace is one that would have been seen.
    let directory = tempfile::tempdir().expect("a directory");
    let ended = shells(&[], LEAVES_A_TRACE, "true").within(directory.path()).ends();
    assert_eq!(ended.code(), 0);
    assert!(directory.path().join("trace").exists());
}

#[test]
fn the_left_program_is_ended_if_the_right_one_cannot_be_executed() {
    let directory = tempfile::tempdir().expect("a directory");
    make_file(&directory.path().join("script"), "echo hello\n", "755");
    let script = path(directory.path(), "script");
    for prefix in [":", "trap '' TERM"] {
        let words = ["--kill-after", "0.2", "--", "sleep", "1000", "::", &script];
        // The end of standard error, which is waited for, is the end of the left program.
        let ended = join(words).after_shell(prefix).start().ends();
        assert_eq!(ended.code(), 126, "{prefix}: {ended:#?}");
        assert!(ended.stderr.contains("the right program cannot be executed"), "{ended:#?}");
    }
}

#[test]
fn the_left_program_is_ended_if_nothing_can_be_watched() {
    let what = "a system without memory for an epoll";
    if !has_program("strace", what) {
        return;
    }
    for fault in ["epoll_create1:error=ENOMEM", "epoll_ctl:error=ENOMEM:when=1"] {
        let call = fault.split(':').next().expect("a name");
        let options = [format!("trace={call}"), format!("inject={fault}")];
        let script = "trap '' TERM; exec \"$0\" \"$@\"";
        let strace = ["strace", "-o", "/dev/null", "-e", &options[0], "-e", &options[1]];
        let words = ["--kill-after", "0.2", "--", "sleep", "1000", "::", "sleep", "1000"];
        let trial = join(words).behind(strace.iter().chain(&["sh", "-c", script]));
        // The end of standard error, which is waited for, is the end of the left program.
        let ended = trial.start().ends();
        if ended.stderr.contains("strace: ") {
            return skip(what, "strace does not work here");
        }
        assert_eq!(ended.code(), 125, "{fault}: {ended:#?}");
    }
}

#[test]
fn quiet_is_not_silent_about_a_program_that_was_not_started() {
    let ended = join(["--quiet", "--", "true", "::", "no-such-program-anywhere"]).ends();
    assert_eq!(ended.code(), 127);
    assert!(ended.stderr.contains("the right program was not found"), "{ended:#?}");
}

#[test]
fn json_tells_what_was_not_started_and_why() {
    for (program, code, errno) in [("no-such-program-anywhere", 127, 2), ("/", 126, 13)] {
        let ended = join(["--json", "--", "true", "::", program, "its", "arguments"]).ends();
        assert_eq!(ended.code(), code);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
        let report = ended.json();
        assert_eq!(report["exit_code"], code);
        assert_eq!(report["errno"], errno);
        assert_eq!(report["side"], "right");
        assert_eq!(report["command"], serde_json::json!([program, "its", "arguments"]));
        assert!(report["error"].as_str().is_some_and(|text| text.contains("the right program")));
    }
}

#[test]
fn a_program_behind_a_closed_directory_is_126() {
    let what = "a directory that may not be searched";
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !has_program("setpriv", what) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).expect("a directory");
    make_file(&closed.join("script"), "#!/bin/sh\n", "755");
    // Root searches every directory, and another user may not look into the build's one.
    let user = if is_root { "setpriv --reuid 65534 --clear-groups" } else { "" };
    let script = format!(
        "chmod 755 . && chmod 000 closed && cp \"$0\" . && exec {user} ./streampipe \"$@\""
    );
    let trial = join(["--", "closed/script", "::", "true"]).within(directory.path());
    let ended = trial.behind(["sh", "-c", script.as_str()]).ends();
    std::fs::set_permissions(&closed, Permissions::from_mode(0o755)).expect("it is ours");
    if ended.stderr.contains("setpriv: ") {
        return skip(what, "setpriv is not allowed to");
    }
    assert_eq!(ended.code(), 126, "{ended:#?}");
    assert!(ended.stderr.contains("Permission denied"), "{ended:#?}");
    assert!(ended.stderr.contains("hint: a directory on the way"), "{ended:#?}");
    assert!(!ended.stderr.contains("the file is there"), "nobody could see that: {ended:#?}");
}

#[test]
fn a_link_to_itself_is_126() {
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("loop", directory.path().join("loop")).expect("a link");
    let ended = join(["--", "./loop", "::", "true"]).within(directory.path()).ends();
    assert_eq!(ended.code(), 126, "{ended:#?}");
    assert!(ended.stderr.contains("os error 40"), "{ended:#?}");
}

/// As a list inherited from another user has them.
#[test]
fn a_name_that_is_nowhere_is_127_although_a_directory_of_the_list_is_strange() {
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("loop", directory.path().join("loop")).expect("a link");
    let shell = "PATH=$PWD/loop:$PATH";
    let trial = join(["--", "no-such-program", "::", "true"]).within(directory.path());
    let ended = trial.after_shell(shell).ends();
    assert_eq!(ended.code(), 127, "{ended:#?}");
}
