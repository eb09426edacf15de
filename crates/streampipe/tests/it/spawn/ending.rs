//! The four ways a child ends: it is stopped, waited for, dropped, or sent a signal.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use streampipe::os::linux::ChildExt;
use streampipe::{Child, Command, Stdio, StopSchedule};

use super::helpers::{
    HANG, LeftBehind, PROMPTLY, all_of, await_end, eventually, line, settles_to, sh, state_of,
};
use crate::support::{self, Descriptors, tests_alone};

/// Little patience, for children that are known to need none or to deserve none.
const HASTY: StopSchedule = StopSchedule::new()
    .after_close(Duration::from_millis(20))
    .after_term(Duration::from_millis(20));

/// Patience without end, for a step that is to be enough.
const AGES: Duration = Duration::from_secs(100);

/// A child that does this once it has said that it is ready.
fn ready(setup: &str, then: &str) -> Child {
    let mut child = sh(&format!("{setup} echo ready >&3; {then}")).spawn().expect("it starts");
    assert_eq!(line(child.stream()), "ready");
    child
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a small number")).expect("a process id")
}

fn pidfd_of(child: &Child) -> OwnedFd {
    child.pidfd().try_clone_to_owned().expect("a duplicate")
}

tests_alone! {
    fn a_polite_child_is_stopped_by_the_end_of_its_input() {
        for _ in 0..20 {
            let mut child = ready("", "cat <&3 >/dev/null; exit 5");
            let schedule = HASTY.after_close(AGES);
            assert_eq!(child.stop_with(schedule).unwrap().code(), Some(5));
        }
        let mut child = sh("cat").on_stdio().spawn().unwrap();
        assert!(child.stop_with(HASTY.after_close(AGES)).unwrap().success());
        let mut child = sh("cat <&3 >/dev/null").spawn().unwrap();
        assert!(child.stop().unwrap().success(), "the default is patient enough");
    }

    fn a_deaf_child_is_stopped_by_sigterm() {
        let mut child = ready("", "exec sleep 100");
        let schedule = HASTY.after_term(AGES);
        assert_eq!(child.stop_with(schedule).unwrap().signal(), Some(15));
        // One that handles it decides how it ends.
        let mut child = ready("trap 'exit 6' TERM;", "while :; do read x <&3 || sleep 1; done");
        assert_eq!(child.stop_with(schedule).unwrap().code(), Some(6));
    }

    fn a_stubborn_child_is_stopped_by_sigkill() {
        let mut child = ready("trap '' TERM;", "exec sleep 100");
        let began = Instant::now();
        assert_eq!(child.stop_with(HASTY).unwrap().signal(), Some(9));
        assert!(began.elapsed() < HANG);
    }

    fn a_child_that_a_signal_stopped_is_stopped_all_the_same() {
        let mut child = ready("", "exec sleep 100");
        child.signal(19).unwrap();
        assert!(eventually(|| state_of(child.id()) == Some('T')));
        let schedule = HASTY.after_term(AGES);
        assert_eq!(child.stop_with(schedule).unwrap().signal(), Some(15));
        // The control of SIGCONT: SIGTERM alone does not reach such a child.
        let mut child = ready("", "exec sleep 100");
        child.signal(19).unwrap();
        assert!(eventually(|| state_of(child.id()) == Some('T')));
        child.signal(15).unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(100)).unwrap(), None);
        assert_eq!(child.stop_with(HASTY).unwrap().signal(), Some(15));
    }

    fn a_child_that_has_ended_is_stopped_at_once_and_says_how_it_ended() {
        let mut child = sh("exit 4").spawn().unwrap();
        await_end(&child);
        let patient = StopSchedule::new().after_close(AGES).after_term(AGES);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(child.stop_with(patient).unwrap().code(), Some(4));
        }
        assert!(began.elapsed() < HANG);
        assert_eq!(child.wait().unwrap().code(), Some(4));
        let impatient = StopSchedule::new().after_close(Duration::ZERO).after_term(Duration::ZERO);
        let mut child = sh("exit 4").spawn().unwrap();
        await_end(&child);
        assert_eq!(child.stop_with(impatient).unwrap().code(), Some(4), "it is looked at first");
    }

    fn a_stop_reaches_the_child_and_not_what_the_child_started() {
        let mut child = sh("sleep 100 & echo $! >&3; wait").spawn().unwrap();
        let grandchild = LeftBehind::announced_on(child.stream());
        let schedule = HASTY.after_term(AGES);
        assert_eq!(child.stop_with(schedule).unwrap().signal(), Some(15));
        assert!(grandchild.runs());
    }

    fn a_stop_leaves_to_be_read_what_the_child_said_last() {
        let mut child = ready("", "cat <&3 >/dev/null; echo bye >&3");
        assert!(child.stop_with(HASTY.after_close(AGES)).unwrap().success());
        assert_eq!(all_of(child.stream()), b"bye\n");
    }

    fn wait_ends_our_direction_and_wait_timeout_does_not() {
        let mut child = ready("", "cat <&3 >/dev/null; exit 3");
        assert_eq!(child.wait_timeout(Duration::from_millis(30)).unwrap(), None);
        assert_eq!(child.wait_deadline(Instant::now()).unwrap(), None);
        assert_eq!(child.try_wait().unwrap(), None);
        child.stream().write_all(b"still open").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_eq!(child.stream().write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(child.wait_timeout(Duration::ZERO).unwrap().unwrap().code(), Some(3));
        let mut child = sh("cat >/dev/null; exit 3").on_stdio().spawn().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(30)).unwrap(), None);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        // And so does wait with a piped standard input.
        let mut child = sh("cat >/dev/null; exit 3").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_millis(30)).unwrap(), None);
        assert!(child.stdin.is_some());
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }

    fn an_end_that_was_taken_is_not_ended_by_a_wait() {
        let mut child = ready("", "exec cat <&3 >&3");
        let mut stream = child.take_stream().unwrap();
        assert!(child.take_stream().is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| child.wait().unwrap());
            for _ in 0..100 {
                stream.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).unwrap();
            }
            assert!(!waiter.is_finished());
            drop(stream);
            assert!(waiter.join().unwrap().success());
        });
    }

    fn wait_with_output_reads_from_all_places_at_once() {
        let script = "head -c 1000000 /dev/zero >&3; head -c 1000000 /dev/zero; \
                      head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero >&3; exit 2";
        let output = sh(script).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1_000_000, 1_000_000));
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(sh(script).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code(), Some(2));
    }

    fn wait_with_output_does_not_wait_for_what_the_child_left_behind() {
        let began = Instant::now();
        let output = sh("sleep 100 & echo $!; echo err >&2; exit 2").output().unwrap();
        let left = LeftBehind::announced_on(&output.stdout[..]);
        assert!(left.runs(), "the control: the pipes are still held");
        assert_eq!((output.stderr, output.status.code()), (b"err\n".to_vec(), Some(2)));
        let mut said = support::file_with(b"");
        let status = sh("sleep 100 & echo $!; exit 2").stdout(&said).status().unwrap();
        assert_eq!(status.code(), Some(2));
        said.seek(SeekFrom::Start(0)).unwrap();
        assert!(LeftBehind::announced_on(&said).runs(), "the control: the end is still held");
        assert!(began.elapsed() < HANG);
    }

    fn a_child_dropped_while_it_runs_goes_on_and_leaves_no_zombie() {
        let before = Descriptors::now();
        let (mut ours, theirs) = streampipe::pair().unwrap();
        let mut command = sh("cat <&3 >/dev/null; read x <&4; echo after >&4");
        let child = command.inherit(theirs, 4).spawn().unwrap();
        let pidfd = pidfd_of(&child);
        drop(child);
        assert!(!support::readable_within(pidfd.as_fd(), Duration::from_millis(20)), "it goes on");
        ours.write_all(b"go\n").unwrap();
        assert_eq!(line(&ours), "after");
        assert!(support::readable_within(pidfd.as_fd(), HANG), "it ends");
        drop((ours, command, pidfd));
        settles_to(&before);
    }

    fn fifty_children_dropped_while_they_run_leave_nothing() {
        let before = Descriptors::now();
        let children: Vec<Child> = (0..50).map(|_| ready("", "read x <&3")).collect();
        assert!(Descriptors::now().count() >= before.count() + 100, "the control");
        let began = Instant::now();
        drop(children);
        assert!(began.elapsed() < PROMPTLY, "a drop blocked");
        // Their input has ended: that is what the drop told them.
        settles_to(&before);
    }

    fn children_dropped_on_many_threads_leave_nothing() {
        let before = Descriptors::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..40 {
                        let script = if round % 2 == 0 { "exit 0" } else { "read x <&3" };
                        drop(sh(script).spawn().expect("it starts"));
                    }
                });
            }
        });
        settles_to(&before);
    }

    fn dropping_a_child_that_listens_to_nothing_does_not_block() {
        let before = Descriptors::now();
        let child = ready("trap '' TERM HUP INT PIPE;", "exec 3>&-; exec sleep 100");
        let pid = pid_of(&child);
        let began = Instant::now();
        drop(child);
        assert!(began.elapsed() < PROMPTLY, "the drop took {:?}", began.elapsed());
        test_kill_process(pid).expect("neither killed nor reaped");
        assert!(support::has_children(), "the control");
        kill_process(pid, Signal::KILL).unwrap();
        settles_to(&before);
    }

    fn a_child_dropped_after_its_end_is_reaped_there_and_then() {
        for _ in 0..20 {
            let child = sh("exit 0").spawn().unwrap();
            await_end(&child);
            assert!(support::has_children(), "the control");
            drop(child);
            assert!(!support::has_children(), "a zombie");
        }
    }

    fn the_status_of_one_child_is_not_lost_to_the_thread_that_reaps_others() {
        let before = Descriptors::now();
        for code in 0..100 {
            drop(sh("exit 9").spawn().unwrap());
            let mut child = sh(&format!("exit {code}")).spawn().unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(code));
        }
        settles_to(&before);
    }

    fn any_signal_can_be_sent_and_no_other_number() {
        // What is ignored here, as by `nohup`, is ignored by a program that is started.
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = u64::from_str_radix(ignored.expect("a line").trim(), 16).expect("a set");
        for signal in [1, 2, 10, 15, 34, 40, 64] {
            if ignored & 1 << (signal - 1) != 0 {
                continue;
            }
            let mut child = ready("", "exec sleep 100");
            child.signal(0).expect("it is there");
            assert_eq!(child.try_wait().unwrap(), None, "0 is only a question");
            for bad in [-1, 65, 1000, i32::MAX, i32::MIN] {
                assert_eq!(child.signal(bad).unwrap_err().raw_os_error(), Some(22), "{bad}");
            }
            child.signal(signal).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal));
            assert_eq!(child.signal(0).unwrap_err().raw_os_error(), Some(3), "it was reaped");
        }
    }

    fn a_child_can_be_killed_twice() {
        let mut child = ready("", "exec sleep 100");
        child.kill().unwrap();
        child.kill().unwrap();
        await_end(&child);
        child.kill().expect("not reaped yet");
        child.signal(15).expect("not reaped yet");
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        child.kill().expect("one that has ended is no error");
        assert_eq!(child.signal(9).unwrap_err().raw_os_error(), Some(3));
    }

    fn the_statuses_are_those_of_std() {
        for script in ["exit 0", "exit 1", "exit 255", "kill -9 $$", "kill -15 $$", "kill -34 $$"] {
            let theirs = std::process::Command::new("sh").args(["-c", script]).status().unwrap();
            assert_eq!(sh(script).status().unwrap(), theirs, "{script}");
            let mut child = sh(script).spawn().unwrap();
            await_end(&child);
            assert_eq!(child.try_wait().unwrap(), Some(theirs), "{script}");
        }
    }

    /// A child that was replaced by its own `exec` is the same child.
    fn a_child_that_executes_another_program_is_still_the_child() {
        let mut child = Command::new("sh").args(["-c", "exec sh -c 'echo $$ >&3'"]).spawn().unwrap();
        let mut said = String::new();
        child.stream().read_to_string(&mut said).unwrap();
        assert_eq!(said.trim(), child.id().to_string());
        assert!(child.wait().unwrap().success());
    }
}
