//! Children that take long to their program, or are kept from it by a signal.
//!
//! A child that changes its user can be signalled by that user before it has its program.

use std::io::ErrorKind;
use std::time::Instant;

use rustix::process::{Pid, Signal, geteuid, getuid, kill_process};
use streampipe::{Command, SpawnStep};

use super::helpers::{HANG, Traces, eventually, path_of, state_of};
use super::system::{System, on_system, rerun_behind};
use crate::support;

/// A user that runs nothing else.
const USER: u32 = 54_324;

/// This process's own user, which anybody may take; one path, and so one `execve`.
fn as_same_user() -> Command {
    let mut command = Command::new("/bin/true");
    command.uid(getuid().as_raw());
    command
}

/// The children of this process, whoever of its threads started them.
fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children"));
    let lists = tasks.filter_map(|task| of(task.ok()?).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|id| id.parse().expect("a number"))
        .collect()
}

/// `execve` may have to fetch the program over a network.
#[test]
fn a_slow_exec_is_waited_for() {
    on_system(path_of!(a_slow_exec_is_waited_for), &["TEST_EXEC=sleeps"], || {
        let began = Instant::now();
        let status = as_same_user().status().expect("it is only slow");
        assert!(status.success());
        assert!(began.elapsed().as_secs() >= 6, "the control: {:?}", began.elapsed());
    });
}

#[test]
fn a_child_that_is_kept_stopped_is_given_up() {
    on_system(path_of!(a_child_that_is_kept_stopped_is_given_up), &["TEST_EXEC=stops"], || {
        let before = Traces::before();
        let began = Instant::now();
        let error = as_same_user().spawn().expect_err("nobody lets it go");
        assert_eq!((error.step(), error.kind()), (SpawnStep::Exec, ErrorKind::TimedOut), "{error}");
        assert!(error.to_string().contains("stopped"), "{error}");
        assert!(began.elapsed() < HANG, "{:?}", began.elapsed());
        assert_eq!(before.left(), None);
    });
}

#[test]
fn a_child_that_is_stopped_and_let_go_starts() {
    on_system(path_of!(a_child_that_is_stopped_and_let_go_starts), &["TEST_EXEC=stops"], || {
        let started = std::thread::scope(|scope| {
            let starting = scope.spawn(|| as_same_user().status());
            let stopped = || children().into_iter().find(|id| state_of(*id) == Some('T'));
            assert!(eventually(|| stopped().is_some()), "the control: it is stopped");
            let id = i32::try_from(stopped().expect("it stays so")).expect("a small number");
            kill_process(Pid::from_raw(id).expect("a process"), Signal::CONT).expect("our child");
            starting.join().expect("no panic")
        });
        assert!(started.expect("it was let go").success());
    });
}

/// A service user may have the right to change users, and not that to signal others' processes.
#[test]
fn a_stopped_child_that_its_parent_may_not_kill_is_let_go() {
    const PATH: &str = path_of!(a_stopped_child_that_its_parent_may_not_kill_is_let_go);
    if support::is_alone(PATH) {
        return support::checked(|| {
            let mut child = Command::new("/bin/true").uid(USER).spawn().expect("it is let go");
            assert!(child.wait().expect("a status").success());
        });
    }
    if !geteuid().is_root() {
        return support::skip(PATH, "this is not root, who could give other rights");
    }
    if !support::has_program("setpriv", PATH) {
        return;
    }
    let Some(system) = System::build(PATH) else { return };
    let rights = ["--inh-caps=-all,+setuid,+setgid", "--ambient-caps=-all,+setuid,+setgid"];
    let service = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let prefix = service.into_iter().chain(rights).map(str::to_owned);
    let prefix: Vec<_> = prefix.chain(system.prefix(&["TEST_EXEC=stops"])).collect();
    rerun_behind(PATH, &prefix);
}

#[test]
fn a_child_that_is_killed_while_it_is_stopped_says_so() {
    const PATH: &str = path_of!(a_child_that_is_killed_while_it_is_stopped_says_so);
    on_system(PATH, &["TEST_EXEC=stops"], || {
        let before = Traces::before();
        let started = std::thread::scope(|scope| {
            let starting = scope.spawn(|| as_same_user().spawn());
            let stopped = || children().into_iter().find(|id| state_of(*id) == Some('T'));
            assert!(eventually(|| stopped().is_some()), "the control: it is stopped");
            let id = i32::try_from(stopped().expect("it stays so")).expect("a small number");
            kill_process(Pid::from_raw(id).expect("a process"), Signal::KILL).expect("our child");
            starting.join().expect("no panic")
        });
        // It came as far as `execve`, so its status says what became of it.
        let mut child = started.expect("its program was about to run");
        let status = child.wait().expect("our child");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        drop(child);
        assert_eq!(before.left(), None);
    });
}
