//! The process group that a child leads: signalled and stopped as a whole, and never anybody else's.

use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, getpgrp, setpgid};
use streampipe::{Command, StopSchedule, Stream};

use super::helpers::{
    HANG, LeftBehind, alone_behind, await_end, eventually, line, path_of, sh, unavailable,
};
use super::system::rerun_behind;
use crate::support::{self, tests_alone};

/// No time for anything but `SIGTERM`.
const AT_ONCE: StopSchedule = StopSchedule::new().after_close(Duration::ZERO);

/// A shell that leads a group, and what it starts in the background, which announces its number.
fn shell(script: &str) -> Command {
    let mut command = sh(script);
    command.process_group(0);
    command
}

fn announced(stream: &Stream) -> LeftBehind {
    LeftBehind::announced_on(stream)
}

fn ends(process: &LeftBehind) {
    assert!(eventually(|| !process.runs()), "it goes on");
}

fn is_about_no_group(error: &io::Error) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

/// The kernel reaps the child itself then, and its number is anybody's.
#[test]
fn with_an_ignored_sigchld_a_group_is_stopped_as_long_as_its_leader_runs() {
    let path = path_of!(with_an_ignored_sigchld_a_group_is_stopped_as_long_as_its_leader_runs);
    alone_behind(path, &["env", "--ignore-signal=CHLD"], || {
        let mut child = shell("sleep 100 & echo $! >&3; wait").spawn().expect("it starts");
        let grandchild = announced(child.stream());
        let error = child.stop_group_with(AT_ONCE).expect_err("the status is thrown away");
        assert_eq!(unavailable(&error), Some(child.id()), "{error}");
        ends(&grandchild);
        assert_eq!(child.signal_group(9).expect_err("reaped").raw_os_error(), Some(3));

        let child = shell("exit").spawn().expect("it starts");
        await_end(&child);
        assert_eq!(child.signal_group(9).expect_err("reaped").raw_os_error(), Some(3));
    });
}

/// The shell ends with the signal at once; what it has started needs longer, and gets it.
fn a_member_that_needs_longer_has_the_time(after_term: Duration) {
    let script = "sh -c 'trap \"sleep 0.3; echo late >&3; exit\" TERM; echo ready >&3; \
                         while :; do sleep 0.1; done' & wait";
    let mut child = shell(script).spawn().expect("it starts");
    assert_eq!(line(&*child.stream()), "ready");
    let stream = child.take_stream().expect("an end");
    let schedule = AT_ONCE.after_term(after_term);
    assert_eq!(child.stop_group_with(schedule).expect("a status").signal(), Some(15));
    assert_eq!(line(&stream), "late");
}

/// An inherited `/proc` has other processes under the numbers of these, so nobody can tell who is left.
#[test]
fn each_member_has_the_time_to_end_under_the_proc_of_another_pid_namespace() {
    let path = path_of!(each_member_has_the_time_to_end_under_the_proc_of_another_pid_namespace);
    if support::is_alone(path) {
        return support::checked(|| {
            let shown = std::fs::read_link("/proc/self").expect("/proc is mounted");
            assert_ne!(shown.to_str(), Some(&*std::process::id().to_string()), "the control");
            a_member_that_needs_longer_has_the_time(Duration::from_secs(3));
        });
    }
    let space = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    if !support::has_program("unshare", path) {
        return;
    }
    let works = std::process::Command::new("unshare").args(&space[1..]).arg("true").status();
    if !works.is_ok_and(|status| status.success()) {
        return support::skip(path, "there are no PID namespaces to be had");
    }
    // The shell is process 1, which takes in what the group leaves.
    let first = ["sh", "-c", "\"$@\"; exit $?", "sh"];
    rerun_behind(path, &[&space[..], &first].concat());
}

tests_alone! {
    fn a_signal_reaches_the_whole_group() {
        let mut child = shell("sleep 100 & echo $! >&3; wait").spawn().expect("it starts");
        let grandchild = announced(child.stream());
        child.signal_group(0).expect("there is a group");
        child.signal_group(15).expect("there is a group");
        assert_eq!(child.wait().expect("a status").signal(), Some(15));
        ends(&grandchild);
    }

    fn a_session_is_a_group_too() {
        let mut child = sh("sleep 100 & echo $! >&3; wait").session().spawn().expect("it starts");
        let grandchild = announced(child.stream());
        child.kill_group().expect("there is a group");
        assert_eq!(child.wait().expect("a status").signal(), Some(9));
        ends(&grandchild);
    }

    /// The number is the group's until the child is reaped, and perhaps another's afterwards.
    fn the_group_of_a_child_that_has_ended_is_signalled_until_the_child_is_reaped() {
        let mut child = shell("sleep 100 & echo $! >&3").spawn().expect("it starts");
        let grandchild = announced(child.stream());
        await_end(&child);
        child.signal_group(0).expect("the child is not reaped");
        assert!(child.wait().expect("a status").success());
        assert!(grandchild.runs());
        let error = child.signal_group(9).expect_err("reaped");
        assert_eq!(error.raw_os_error(), Some(3));
        assert_eq!(child.stop_group().expect_err("reaped").raw_os_error(), Some(3));
        assert!(grandchild.runs());
    }

    fn a_child_without_a_group_is_an_error_and_keeps_its_input() {
        let mut child = sh("read line <&3; test \"$line\" = go").spawn().expect("it starts");
        is_about_no_group(&child.signal_group(9).expect_err("it is in our group"));
        is_about_no_group(&child.kill_group().expect_err("it is in our group"));
        is_about_no_group(&child.stop_group().expect_err("it is in our group"));
        io::Write::write_all(child.stream(), b"go\n").expect("it listens");
        assert!(child.wait().expect("a status").success(), "it was signalled");
    }

    fn our_own_group_is_never_signalled() {
        let mut child = shell("read line <&3").spawn().expect("it starts");
        let group = Pid::from_raw(i32::try_from(child.id()).expect("small")).expect("an id");
        let before = getpgrp();
        setpgid(None, Some(group)).expect("a group of our session");
        is_about_no_group(&child.signal_group(9).expect_err("we are a member"));
        is_about_no_group(&child.stop_group().expect_err("we are a member"));
        setpgid(None, Some(before)).expect("back to where we were");
        child.kill_group().expect("we are no member any more");
        assert_eq!(child.wait().expect("a status").signal(), Some(9));
    }

    fn a_stop_ends_who_ignores_sigterm_and_who_was_stopped() {
        let script = "trap '' TERM; sh -c 'while :; do sleep 100; done' & \
                      sh -c 'kill -STOP $$' & echo $! >&3; wait; while :; do sleep 100; done";
        let mut child = shell(script).spawn().expect("it starts");
        let stopped = announced(child.stream());
        let schedule = AT_ONCE.after_term(Duration::from_millis(100));
        assert_eq!(child.stop_group_with(schedule).expect("a status").signal(), Some(9));
        assert!(!stopped.runs(), "the group was left before it was reaped");
    }

    fn each_member_has_the_time_to_end() {
        a_member_that_needs_longer_has_the_time(HANG);
    }

    fn a_group_that_ends_with_its_input_is_not_signalled() {
        let mut child = shell("cat <&3 >/dev/null & wait").spawn().expect("it starts");
        assert!(child.stop_group().expect("a status").success());
    }

    fn what_a_child_that_has_ended_left_in_its_group_is_stopped() {
        let mut child = shell("sleep 100 & echo $! >&3").spawn().expect("it starts");
        let grandchild = announced(child.stream());
        await_end(&child);
        assert!(child.stop_group_with(AT_ONCE).expect("a status").success());
        assert!(!grandchild.runs());
    }

    /// The stated rule: who has left the group is not reached.
    fn who_has_left_the_group_goes_on() {
        let script = "setsid sh -c 'echo $$ >&3; exec sleep 100' & wait";
        let mut child = shell(script).spawn().expect("it starts");
        let daemon = announced(child.stream());
        let schedule = AT_ONCE.after_term(HANG);
        assert_eq!(child.stop_group_with(schedule).expect("a status").signal(), Some(15));
        assert!(daemon.runs());
    }
}
