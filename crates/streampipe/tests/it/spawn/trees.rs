//! A child and everything that descends from it, killed whatever groups and sessions they made for themselves.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use super::helpers::{HANG, LeftBehind, all_of, await_end, eventually, line, path_of, sh};
use super::system::rerun_behind;
use crate::support::{self, tests_alone};

/// Kills the tree; the child must have died of it.
fn killed(mut child: streampipe::Child) {
    child.kill_tree().expect("all can be reached");
    assert_eq!(child.wait().expect("a status").signal(), Some(9));
}

fn ends(process: &LeftBehind) {
    assert!(eventually(|| !process.runs()), "it goes on");
}

/// As below `sudo`: it cannot be stopped, and nobody waits for that.
#[test]
fn a_descendant_of_another_user_does_not_delay_the_kill_of_the_others() {
    let path = path_of!(a_descendant_of_another_user_does_not_delay_the_kill_of_the_others);
    if support::is_alone(path) {
        return support::checked(|| {
            let script = "sleep 100 & echo $! >&3; \
                          setpriv --reuid=54325 sh -c 'echo ready >&3; read line <&3' & wait";
            let mut child = sh(script).spawn().expect("it starts");
            let grandchild = LeftBehind::announced_on(child.stream());
            assert_eq!(line(child.stream()), "ready");
            let began = Instant::now();
            let error = child.kill_tree().expect_err("one has another identity");
            assert_eq!(error.raw_os_error(), Some(1), "{error}");
            assert!(began.elapsed() < HANG, "{:?}", began.elapsed());
            ends(&grandchild);
            assert_eq!(child.wait().expect("a status").signal(), Some(9));
        });
    }
    if !rustix::process::geteuid().is_root() {
        return support::skip(path, "this is not root, who could give other rights");
    }
    if support::has_program("setpriv", path) {
        let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
        let rights = ["--inh-caps=-all,+setuid", "--ambient-caps=-all,+setuid"];
        rerun_behind(path, &[&user[..], &rights].concat());
    }
}

tests_alone! {
    fn what_has_left_group_and_session_is_killed_with_the_child() {
        let script = "setsid sh -c 'sh -c \"echo \\$\\$ >&3; exec sleep 100\"; :' & wait";
        let mut child = sh(script).spawn().expect("it starts");
        let grandchild = LeftBehind::announced_on(child.stream());
        // The control: nothing else that we have started is reached.
        let mut stranger = sh("echo $$ >&3; exec sleep 100").spawn().expect("it starts");
        let other = LeftBehind::announced_on(stranger.stream());
        killed(child);
        ends(&grandchild);
        assert!(other.runs());
        killed(stranger);
    }

    fn who_starts_others_without_end_is_killed_with_all_of_them() {
        let script = "while :; do sleep 100 & echo $! >&3; done";
        let mut child = sh(script).spawn().expect("it starts");
        let mut started = vec![LeftBehind::announced_on(child.stream())];
        for _ in 0..20 {
            started.push(LeftBehind::announced_on(child.stream()));
        }
        let stream = child.take_stream().expect("an end");
        killed(child);
        // The last number may be cut off: its process was started and not announced whole.
        let rest = String::from_utf8(all_of(&stream)).expect("text");
        let whole = rest.rfind('\n').map_or("", |at| &rest[..at]);
        started.extend(whole.lines().map(|pid| LeftBehind::of(pid.parse().expect("a number"))));
        started.iter().for_each(ends);
        assert!(support::is_childless_within(HANG));
    }

    fn one_that_was_stopped_before_is_killed() {
        let script = "sh -c 'kill -STOP $$; exec sleep 100' & echo $! >&3; wait";
        let mut child = sh(script).spawn().expect("it starts");
        let stopped = LeftBehind::announced_on(child.stream());
        killed(child);
        ends(&stopped);
    }

    fn of_a_child_that_has_ended_its_group_is_left() {
        let mut command = sh("sleep 100 & echo $! >&3");
        let mut child = command.process_group(0).spawn().expect("it starts");
        let grandchild = LeftBehind::announced_on(child.stream());
        await_end(&child);
        child.kill_tree().expect("its number is its own");
        ends(&grandchild);
        assert!(child.wait().expect("a status").success());
        assert_eq!(child.kill_tree().expect_err("reaped").raw_os_error(), Some(3));
    }

    fn a_daemon_is_not_reached() {
        let script = "sh -c 'setsid sleep 100 & echo $! >&3'; echo done >&3; exec sleep 100";
        let mut child = sh(script).spawn().expect("it starts");
        let daemon = LeftBehind::announced_on(child.stream());
        assert_eq!(line(child.stream()), "done");
        killed(child);
        assert!(daemon.runs(), "the stated rule");
    }
}
