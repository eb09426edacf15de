use serde_json::json;

use crate::ended::Ended;
use crate::support::{has_program, skip};
use crate::trial::{Trial, join, shells};

fn sleep_is_seen(what: &str) -> bool {
    let seen = std::path::Path::new("/proc/self/syscall").exists();
    if !seen {
        skip(what, "there is no /proc/PID/syscall");
    }
    seen
}

/// Two that write or read one file, which is a named pipe that this shell keeps open.
fn on_one_file(options: &[&str], program: &str, prepared: &str) -> Option<Ended> {
    if !sleep_is_seen("what both wait for") || !has_program("mkfifo", "what both wait for") {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let trial = shells(options, program, program).within(directory.path());
    Some(trial.after_shell(&format!("mkfifo shared; exec 9<>shared; {prepared}")).ends())
}

#[test]
fn two_that_write_the_commands_own_output_do_not_wait_for_each_other() {
    let options = ["--fd", "3", "--timeout", "1", "--json=report", "--report"];
    let Some(ended) = on_one_file(&options, "exec yes", "exec >shared") else { return };
    let diagnosis = "streampipe: the time is up: \
        left (sh) was waiting to write descriptor 1 (this command's standard output), \
        right (sh) was waiting to write descriptor 1 (this command's standard output); \
        both wait for this command's standard output, not for each other";
    assert!(ended.has_line(diagnosis), "{ended:#?}");
}

#[test]
fn json_says_that_both_write_one_file() {
    let options = ["--fd", "3", "--timeout", "1", "--json"];
    let Some(ended) = on_one_file(&options, "exec yes", "exec >shared") else { return };
    let report = ended.json();
    let writes = json!({ "call": "write", "fd": 1, "file": "stdout" });
    assert_eq!((&report["left"]["asleep_in"], &report["right"]["asleep_in"]), (&writes, &writes));
    assert_eq!(report["standstill"], "same_file");
}

#[test]
fn two_that_write_another_file_do_not_wait_for_each_other() {
    for wiring in [&[] as &[&str], &["--socket"]] {
        let options: Vec<&str> = ["--timeout", "1"].iter().chain(wiring).copied().collect();
        let Some(ended) = on_one_file(&options, "exec yes >shared", ":") else { return };
        assert!(ended.has_line_with("(a file that is not joined)"), "{ended:#?}");
        assert!(
            ended.has_line_with("; both wait for one file that is not joined, not for each other"),
            "{ended:#?}"
        );
        assert!(!ended.has_line_with("neither reads"), "{ended:#?}");
    }
}

#[test]
fn two_that_read_the_commands_own_input_do_not_wait_for_each_other() {
    let options = ["--fd", "3", "--timeout", "1"];
    let Some(ended) = on_one_file(&options, "exec cat", "exec <shared") else { return };
    let verdict = "; both wait for this command's standard input, not for each other";
    assert!(ended.has_line_with(verdict), "{ended:#?}");
}

#[test]
fn two_that_write_to_each_other_are_said_to() {
    if !sleep_is_seen("two that write") {
        return;
    }
    for wiring in [&[] as &[&str], &["--socket"]] {
        let options = ["--json", "--timeout", "1"].iter().chain(wiring).copied();
        let ended = join(options.chain(["--", "yes", "::", "yes"])).ends();
        let report = ended.json();
        let writes = json!({ "call": "write", "fd": 1 });
        assert_eq!(report["left"]["asleep_in"], writes, "{ended:#?}");
        assert_eq!(report["right"]["asleep_in"], writes, "{ended:#?}");
        assert_eq!(report["standstill"], "both_write");
    }
}

/// A child of the writer's could be the one that reads.
#[test]
fn a_writer_with_a_child_is_not_said_not_to_read() {
    if !sleep_is_seen("a writer with a child") {
        return;
    }
    let writes = "sleep 1000 & while :; do echo x; done";
    let ended = shells(&["--json", "--timeout", "1"], writes, "exec yes").ends();
    let report = ended.json();
    assert_eq!(report["left"]["asleep_in"], json!({ "call": "write", "fd": 1 }), "{ended:#?}");
    assert!(report["standstill"].is_null(), "{ended:#?}");
}

fn assert_unknown(trial: impl Fn(&str) -> Trial, what: &str) {
    let ended = trial("--json").ends();
    if ended.status.code() != Some(124) {
        return skip(what, &format!("not allowed here: {}", ended.stderr.trim()));
    }
    let report = ended.json();
    assert_eq!(report["left"]["asleep_in"], json!({ "call": "unknown" }), "{ended:#?}");
    assert!(report["standstill"].is_null());
    let ended = trial("--report").ends();
    let said = "left (sleep) was in an unknown state (it could not be looked at)";
    assert!(ended.has_line_with(said) || ended.has_line_with(&said.replace("sleep", "./sleep")));
    assert!(!ended.has_line_with("was running"), "{ended:#?}");
}

#[test]
fn without_proc_it_is_unknown_what_a_program_was_doing() {
    let what = "a command without /proc";
    if !has_program("unshare", what) {
        return;
    }
    let hides = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hides];
    let words = |option: &str| {
        let words = [option, "--timeout", "0.3", "--", "sleep", "1000", "::", "sleep", "1000"];
        join(words).behind(before)
    };
    assert_unknown(words, what);
}

/// A `/proc` of another PID namespace has strangers under the programs' numbers.
#[test]
fn a_proc_of_others_is_not_believed() {
    let what = "a /proc of another PID namespace";
    if !has_program("unshare", what) {
        return;
    }
    let before = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
    let words = |option: &str| {
        let words = [option, "--timeout", "0.3", "--", "sleep", "1000", "::", "sleep", "1000"];
        join(words).behind(before)
    };
    assert_unknown(words, what);
}

#[test]
fn what_another_users_program_was_doing_is_unknown() {
    let what = "a program of another user";
    if !rustix::process::geteuid().is_root() {
        return skip(what, "the tests do not run as root");
    }
    if !has_program("setpriv", what) {
        return;
    }
    let prepares = "chmod 755 . && cp \"$0\" streampipe && cp \"$(command -v sleep)\" sleep && \
                    chmod 4755 sleep && exec setpriv --reuid 65534 --clear-groups ./streampipe \"$@\"";
    let directory = tempfile::tempdir().expect("a directory");
    let words = |option: &str| {
        let words = [option, "--timeout", "0.3", "--", "./sleep", "1000", "::", "sleep", "1000"];
        join(words).within(directory.path()).behind(["sh", "-c", prepares])
    };
    assert_unknown(words, what);
}
