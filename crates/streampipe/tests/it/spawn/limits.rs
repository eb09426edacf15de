//! Too few descriptors, too few processes, and a parent that throws exit statuses away.

use std::io::{self, Read};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use streampipe::os::linux::ChildExt;
use streampipe::{Command, SpawnError, SpawnStep, Stdio, StopSchedule};

use super::helpers::{
    HANG, LeftBehind, Traces, alone_behind, await_end, eventually, gone, path_of, settles_to, sh,
    unavailable,
};
use crate::support::{self, Descriptors, FreeDescriptors, tests_alone};

const EMFILE: i32 = 24;
const EAGAIN: i32 = 11;

/// A user that runs nothing else.
const USER: &str = "54321";

/// `env` with an ignored `SIGCHLD` for the program behind it.
const IGNORES_SIGCHLD: [&str; 2] = ["env", "--ignore-signal=CHLD"];

/// Tries it with 0 to 11 free descriptors; returns with how many it worked.
fn with_few_descriptors(command: &mut Command) -> Vec<usize> {
    let before = Traces::before();
    let tries = (0..12).filter(|&free| {
        let limit = FreeDescriptors::exactly(free);
        let spawned = command.spawn();
        drop(limit);
        match spawned {
            Ok(mut child) => assert!(child.wait().expect("a status").success(), "{free} free"),
            Err(error) => {
                let steps =
                    [SpawnStep::Null, SpawnStep::Pair, SpawnStep::Clone, SpawnStep::Descriptors];
                assert!(steps.contains(&error.step()), "{free} free: {error}");
                assert_eq!(error.raw_os_error(), Some(EMFILE), "{free} free: {error}");
                assert_eq!(before.left(), None, "{free} free: {error}");
                return false;
            }
        }
        assert_eq!(before.left(), None, "{free} free");
        true
    });
    tries.collect()
}

/// It works from some number of free descriptors on, and did not with fewer.
fn works_from_some_number_on(command: &mut Command) {
    let worked = with_few_descriptors(command);
    let least = *worked.first().expect("11 are enough");
    assert!(least > 0, "it worked with none");
    assert_eq!(worked, (least..12).collect::<Vec<_>>());
}

tests_alone! {
    fn with_too_few_descriptors_a_start_works_or_leaves_nothing() {
        works_from_some_number_on(&mut sh("exit 0"));
        works_from_some_number_on(sh("exit 0").on_stdio());
        works_from_some_number_on(sh("exit 0").on_stdio_socket());
        let mut all_piped = sh("exit 0");
        all_piped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        works_from_some_number_on(&mut all_piped);
    }

    /// Whoever must get out of another's way needs a free number in the child.
    fn with_too_few_descriptors_a_cycle_works_or_leaves_nothing() {
        use std::os::fd::AsRawFd;

        let files = [0; 3].map(|_| support::file_with(b""));
        let numbers = files.each_ref().map(AsRawFd::as_raw_fd);
        let before = Traces::before();
        let mut outcomes = Vec::new();
        for free in 0..12 {
            let mut command = sh("exit 0");
            command.fd(2);
            for (at, file) in files.iter().enumerate() {
                // A duplicate under a new number, which is the next one's target.
                let given = file.try_clone().unwrap();
                command.inherit(given, numbers[(at + 1) % 3] + 3);
            }
            let limit = FreeDescriptors::exactly(free);
            let spawned = command.spawn();
            drop((limit, command));
            outcomes.push(spawned.is_ok());
            match spawned {
                Ok(mut child) => assert!(child.wait().unwrap().success()),
                Err(error) => assert_eq!(error.raw_os_error(), Some(EMFILE), "{free}: {error}"),
            }
            assert_eq!(before.left(), None, "{free} free");
        }
        assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
    }

    fn what_was_lent_without_a_free_descriptor_is_an_error_of_the_start() {
        let file = support::file_with(b"");
        let before = Traces::before();
        let mut command = Command::new("true");
        let limit = FreeDescriptors::exactly(0);
        command.inherit(&file, 9);
        drop(limit);
        for _ in 0..2 {
            let error = command.spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Descriptors, Some(EMFILE)));
        }
        assert_eq!(before.left(), None);
    }
}

fn spawn_error(error: &io::Error) -> &SpawnError {
    error.get_ref().and_then(|inside| inside.downcast_ref()).expect("our own kind")
}

#[test]
fn a_user_with_too_many_processes_gets_an_error_and_nothing_else() {
    const PATH: &str = path_of!(a_user_with_too_many_processes_gets_an_error_and_nothing_else);
    let what = "a limit of processes";
    if support::is_alone(PATH) {
        return support::checked(without_processes);
    }
    if !getuid().is_root() {
        return support::skip(what, "this is not root, who could be somebody else");
    }
    if !support::has_program("setpriv", what) {
        return;
    }
    let prefix = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"];
    let ran = support::rerun(PATH, &prefix);
    if ran.output.contains("failed to execute") {
        return support::skip(what, "another user may not execute this binary");
    }
    assert!(ran.status.success(), "{}", ran.output);
}

fn without_processes() {
    assert!(!getuid().is_root());
    let before = Traces::before();
    let limit = getrlimit(Resource::Nproc);
    setrlimit(Resource::Nproc, Rlimit { current: Some(1), ..limit }).expect("a lower limit");
    for _ in 0..20 {
        let error = Command::new("true").spawn().unwrap_err();
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Clone, Some(EAGAIN)));
        assert_eq!(before.left(), None);
        let error = Command::new("true").on_stdio().output().unwrap_err();
        assert_eq!(spawn_error(&error).step(), SpawnStep::Clone);
        assert_eq!(before.left(), None);
    }
    let control = std::process::Command::new("true").spawn().unwrap_err();
    assert_eq!(control.raw_os_error(), Some(EAGAIN), "the limit holds");
    setrlimit(Resource::Nproc, limit).expect("what it was");
    assert!(Command::new("true").status().expect("it starts again").success());
}

/// Tests of a process whose exit statuses nobody keeps.
macro_rules! without_sigchld {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        #[test]
        $(#[$meta])*
        fn $name() {
            alone_behind(path_of!($name), &IGNORES_SIGCHLD, || {
                let status = std::fs::read_to_string("/proc/self/status").unwrap();
                let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
                let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
                assert!(ignored & 1 << 16 != 0, "SIGCHLD is not ignored");
                $body
            });
        }
    )*};
}

without_sigchld! {
    /// The control: std's own wait has no status to give either.
    fn an_ignored_sigchld_costs_std_the_status_too() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(10));
    }

    fn an_ignored_sigchld_makes_no_wait_hang() {
        for _ in 0..20 {
            let mut child = sh("exit 3").spawn().unwrap();
            let id = child.id();
            assert_eq!(unavailable(&child.wait().unwrap_err()), Some(id));
            assert_eq!(unavailable(&child.wait().unwrap_err()), Some(id), "and says so again");
            assert_eq!(unavailable(&child.try_wait().unwrap_err()), Some(id));
            child.kill().expect("one that has ended is no error");
            assert_eq!(child.signal(15).unwrap_err().raw_os_error(), Some(3));
        }
    }

    fn an_ignored_sigchld_makes_no_other_wait_hang() {
        let mut child = sh("read x <&3").spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
        drop(child.take_stream());
        await_end(&child);
        assert_eq!(unavailable(&child.try_wait().unwrap_err()), Some(child.id()));
        let mut child = sh("exit 3").spawn().unwrap();
        assert_eq!(unavailable(&child.wait_timeout(HANG).unwrap_err()), Some(child.id()));
        let child = sh("exit 3").spawn().unwrap();
        let id = child.id();
        assert_eq!(unavailable(&child.wait_with_output().unwrap_err()), Some(id));
    }

    fn an_ignored_sigchld_makes_output_and_status_say_so() {
        for _ in 0..20 {
            assert!(unavailable(&sh("echo x; exit 3").output().unwrap_err()).is_some());
            assert!(unavailable(&sh("echo x >&3").status().unwrap_err()).is_some());
        }
    }

    /// Each step of the schedule may find that the child is gone without a trace.
    fn an_ignored_sigchld_makes_no_stop_fail_otherwise() {
        let at_once = StopSchedule::new().after_close(Duration::ZERO);
        let no_patience = at_once.after_term(Duration::ZERO);
        let scripts = ["exit 0", "read x <&3", "exec sleep 100", "trap '' TERM; exec sleep 100"];
        for round in 0..400 {
            let script = scripts[round % scripts.len()];
            let mut child = sh(script).spawn().unwrap();
            let schedule = if round % 8 < 4 { no_patience } else { at_once };
            if round % 8 == 7 {
                // It would take the whole patience.
                child.kill().unwrap();
            }
            let error = child.stop_with(schedule).unwrap_err();
            assert_eq!(unavailable(&error), Some(child.id()), "round {round}, {script}: {error}");
        }
    }

    fn an_ignored_sigchld_keeps_no_death_from_being_noticed() {
        for _ in 0..20 {
            let mut child = sh("sleep 100 & echo $! >&3; wait").spawn().unwrap();
            let grandchild = LeftBehind::announced_on(child.stream());
            child.kill().unwrap();
            let error = child.stream().read(&mut [0]).unwrap_err();
            assert_eq!(gone(&error), Some(child.id()));
            assert!(grandchild.runs());
            assert_eq!(unavailable(&child.wait().unwrap_err()), Some(child.id()));
        }
    }

    fn an_ignored_sigchld_leaves_nothing_of_a_failed_start() {
        let before = Traces::before();
        for _ in 0..50 {
            let error = Command::new("true").current_dir("/no/such/directory").spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Directory, Some(2)));
            assert_eq!(before.left(), None);
        }
    }

    fn an_ignored_sigchld_leaves_nothing_of_a_dropped_child() {
        let before = Descriptors::now();
        let child = sh("read x <&3").spawn().unwrap();
        let pidfd = child.pidfd().try_clone_to_owned().unwrap();
        drop(child);
        assert!(support::readable_within(std::os::fd::AsFd::as_fd(&pidfd), HANG), "it ends");
        drop(pidfd);
        settles_to(&before);
    }
}

/// The same where each signal takes its time, so that the child is gone before the next one.
#[test]
fn a_child_that_is_gone_between_two_signals_is_stopped() {
    const PATH: &str = path_of!(a_child_that_is_gone_between_two_signals_is_stopped);
    if !support::is_alone(PATH) && !support::has_program("strace", "slow signals") {
        return;
    }
    let slow = "inject=pidfd_send_signal:delay_exit=100000";
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", slow];
    alone_behind(PATH, &[&strace[..], &IGNORES_SIGCHLD].concat(), || {
        let at_once = StopSchedule::new().after_close(Duration::ZERO);
        let mut child = sh("exec sleep 100").spawn().unwrap();
        let error = child.stop_with(at_once).unwrap_err();
        assert_eq!(unavailable(&error), Some(child.id()), "{error}");
    });
}

/// Somebody else's `wait` for any child takes the status.
#[test]
fn a_status_that_another_waiter_took_is_not_made_up() {
    support::alone(path_of!(a_status_that_another_waiter_took_is_not_made_up), || {
        let mut child = sh("exit 3").spawn().unwrap();
        await_end(&child);
        let options = rustix::process::WaitIdOptions::EXITED;
        let taken = rustix::process::waitid(rustix::process::WaitId::All, options).unwrap();
        assert_eq!(taken.and_then(|it| it.exit_status()), Some(3));
        assert_eq!(unavailable(&child.wait().unwrap_err()), Some(child.id()));
        assert_eq!(unavailable(&child.stop().unwrap_err()), Some(child.id()));
        let dropped = sh("exit 3").spawn().unwrap();
        await_end(&dropped);
        rustix::process::waitid(rustix::process::WaitId::All, options).unwrap();
        drop(dropped);
        assert!(eventually(|| !support::has_children()));
    });
}
