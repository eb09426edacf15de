//! Calls about processes that a kernel is too old for, or that a filter refuses.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use streampipe::join::{Ending, Join};
use streampipe::os::linux::ChildExt;
use streampipe::{Command, StopSchedule};

use super::helpers::{LeftBehind, await_end, eventually, path_of, sh};
use crate::support;

/// Runs the body with this injected by `strace`, in a process of its own.
fn injected(path: &str, faults: &[&str], body: fn()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    if !support::has_program("strace", path) {
        return;
    }
    for fault in faults {
        let inject = format!("inject={fault}");
        let ran = support::rerun(path, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject]);
        assert!(ran.status.success(), "{fault}: {}", ran.output);
        support::pass_on_skips(&ran.output);
    }
}

const NO_PIDFD_SIGNALS: [&str; 2] =
    ["pidfd_send_signal:error=EPERM", "pidfd_send_signal:error=ENOSYS"];

#[test]
fn a_child_is_signalled_where_pidfd_send_signal_is_refused() {
    injected(
        path_of!(a_child_is_signalled_where_pidfd_send_signal_is_refused),
        &NO_PIDFD_SIGNALS,
        || {
            let mut child = sh("read line <&3").spawn().expect("it starts");
            child.signal(0).expect("it is there");
            assert_eq!(child.signal(1000).expect_err("no signal").raw_os_error(), Some(22));
            child.signal(15).expect("kill(2) sends it");
            await_end(&child);
            child.signal(15).expect("it has ended, and is not reaped");
            assert_eq!(child.wait().expect("a status").signal(), Some(15));
            // Its number may be another's now.
            assert_eq!(child.signal(15).expect_err("reaped").raw_os_error(), Some(3));
            child.kill().expect("one that has ended is no error");

            let mut child = sh("read line <&3").spawn().expect("it starts");
            child.kill().expect("kill(2) sends it");
            assert_eq!(child.wait().expect("a status").signal(), Some(9));

            let mut child = Command::new("sleep").arg("100").spawn().expect("it starts");
            let schedule = StopSchedule::new().after_close(Duration::ZERO);
            assert_eq!(child.stop_with(schedule).expect("a status").signal(), Some(15));
        },
    );
}

#[test]
fn one_that_somebody_else_reaped_is_not_signalled_by_its_number() {
    let path = path_of!(one_that_somebody_else_reaped_is_not_signalled_by_its_number);
    injected(path, &NO_PIDFD_SIGNALS, || {
        let mut child = Command::new("true").spawn().expect("it starts");
        waitid(WaitId::PidFd(child.pidfd()), WaitIdOptions::EXITED).expect("it is ours");
        // The refusal, and not what `kill` would say: that was not asked.
        let error = child.signal(15).expect_err("nobody knows whose number it is");
        assert!(matches!(error.raw_os_error(), Some(1 | 38)), "{error}");
        child.wait().expect_err("its status was taken");
    });
}

#[test]
fn joined_programs_are_ended_in_time_where_pidfd_send_signal_is_refused() {
    let path = path_of!(joined_programs_are_ended_in_time_where_pidfd_send_signal_is_refused);
    injected(path, &NO_PIDFD_SIGNALS, || {
        let sleeps = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("100");
            command
        };
        let joined = Join::new(sleeps(), sleeps()).timeout(Duration::from_millis(10)).run();
        let outcome = joined.expect("both end");
        assert!(outcome.timed_out);
        for ended in [outcome.left, outcome.right] {
            assert!(matches!(ended.how, Ending::Signaled { signal: 15, .. }), "{ended:?}");
        }
    });
}

/// What is in a group is found in `/proc`.
#[test]
fn a_group_is_stopped_without_proc() {
    let path = path_of!(a_group_is_stopped_without_proc);
    let body = || {
        let script = "sh -c 'trap \"\" TERM; echo $$ >&3; exec sleep 100' & wait";
        let mut child = sh(script).process_group(0).spawn().expect("it starts");
        let grandchild = LeftBehind::announced_on(&*child.stream());
        let moment = Duration::from_millis(10);
        let schedule = StopSchedule::new().after_close(moment).after_term(moment);
        assert_eq!(child.stop_group_with(schedule).expect("a status").signal(), Some(15));
        assert!(eventually(|| !grandchild.runs()));
    };
    if support::is_alone(path) {
        return support::checked(body);
    }
    if support::has_program("strace", path) {
        let quiet = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/proc"];
        let hidden = ["-e", "inject=openat:error=ENOENT"];
        let ran = support::rerun(path, &[&quiet[..], &hidden].concat());
        assert!(ran.status.success(), "{}", ran.output);
    }
}
