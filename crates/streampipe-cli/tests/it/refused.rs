use crate::ended::Ended;
use crate::support::{has_program, skip};
use crate::trial::{Trial, join, shells};

/// Runs the command, and only it, with these calls refused.
fn refusing(calls: &str, error: &str, what: &str, trial: Trial) -> Option<Ended> {
    if !has_program("strace", what) {
        return None;
    }
    let options = [format!("trace={calls}"), format!("inject={calls}:error={error}")];
    let strace = ["strace", "-o", "/dev/null", "-e", &options[0], "-e", &options[1]];
    // The end of standard error, which is waited for, is the end of all.
    let ended = trial.behind(strace).start().ends();
    if ended.stderr.contains("strace: ") {
        skip(what, "strace does not work here");
        return None;
    }
    Some(ended)
}

#[test]
fn a_timeout_ends_the_programs_where_pidfds_cannot_be_signalled() {
    for error in ["ENOSYS", "EPERM"] {
        let words = ["--json", "--timeout", "0.3", "--", "sleep", "1000", "::", "sleep", "1000"];
        let what = "a timeout without pidfd_send_signal";
        let Some(ended) = refusing("pidfd_send_signal", error, what, join(words)) else { return };
        assert_eq!((ended.code(), ended.signals()), (124, [Some(15); 2]), "{error}: {ended:#?}");
    }
}

#[test]
fn what_the_programs_started_ends_where_pidfds_cannot_be_had_or_signalled() {
    for (calls, error) in
        [("pidfd_send_signal", "EPERM"), ("pidfd_open,pidfd_send_signal", "ENOSYS")]
    {
        let trial = shells(&["--timeout", "0.5"], "exec cat", "sleep 1000; echo over");
        let Some(ended) = refusing(calls, error, "a tree without pidfds", trial) else { return };
        assert_eq!(ended.code(), 124, "{ended:#?}");
    }
}

#[test]
fn calls_without_which_nothing_can_be_watched_are_125_and_start_nothing() {
    for (call, error) in [
        ("signalfd4", "ENOSYS"),
        ("signalfd4", "EPERM"),
        ("epoll_create1", "ENOSYS"),
        ("epoll_create1", "EPERM"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let trial = shells(&["--json"], "echo started >trace", "true").within(directory.path());
        let Some(ended) = refusing(call, error, "calls that are refused", trial) else { return };
        assert_eq!(ended.code(), 125, "{call} {error}: {ended:#?}");
        assert!(ended.json()["errno"].is_i64(), "{ended:#?}");
        assert!(!directory.path().join("trace").exists(), "{call}: a program was started");
    }
}

#[test]
fn who_ended_first_is_told_without_proc() {
    let what = "a command without /proc";
    if !has_program("unshare", what) {
        return;
    }
    let hides = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hides];
    let takes = "exec head -n1 >/dev/null";
    for (left, right, first) in [("exec yes", takes, "right"), (takes, "exec yes", "left")] {
        let ended = shells(&["--json"], left, right).behind(before).ends();
        if ended.status.code() != Some(141) {
            return skip(what, &format!("not allowed here: {}", ended.stderr.trim()));
        }
        assert_eq!(ended.json()["first"], first, "{ended:#?}");
    }
}

#[test]
fn without_proc_the_group_ends_at_the_timeout() {
    let what = "a command without /proc and without a terminal";
    if !has_program("unshare", what) || !has_program("setsid", what) {
        return;
    }
    let hides = "mount -t tmpfs none /proc && exec setsid --wait \"$0\" \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hides];
    let trial = shells(&["--timeout", "0.5"], "exec cat", "sleep 1000; echo over").behind(before);
    let ended = trial.start().ends();
    if ended.status.code() != Some(124) {
        skip(what, &format!("not allowed here: {}", ended.stderr.trim()));
    }
}
