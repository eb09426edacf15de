//! Where a child does not get its parent's memory but a copy: under valgrind and qemu-user.
//!
//! Each test here is one of another file, run again there.

use streampipe::{Command, SpawnStep};

use super::helpers::{Traces, path_of, sh};
use super::system::{System, rerun_behind};
use crate::support;

/// What a start is, can fail by, and leaves.
const TESTS: &[&str] = &[
    "it::spawn::truth::a_failed_start_is_told_whatever_the_number_of_the_end",
    "it::spawn::truth::a_failed_start_leaves_nothing_when_everything_is_piped",
    "it::spawn::truth::a_failed_start_is_told_whatever_the_number_of_a_pipe_and_writes_nothing_into_it",
    "it::spawn::truth::a_program_that_starts_finds_what_it_inherits_under_every_number",
    "it::spawn::std_like::user_and_groups_are_as_in_std",
    "it::spawn::std_like::limits_are_those_of_the_child_alone",
    "it::spawn::std_like::a_process_group_and_a_session_are_as_asked",
    "it::spawn::std_like::a_change_of_identity_leaves_the_parent_as_dumpable_as_it_was",
    "it::spawn::std_like::new_privileges_are_given_up_when_asked",
    "it::spawn::emulated::starts_and_failures_are_told",
];

/// The same in short, for what is slow.
const SHORT: &str = "it::spawn::emulated::starts_and_failures_are_told";

#[test]
fn a_start_works_where_a_clone_copies_the_memory() {
    let Some(system) = System::build("starts on a copy of the memory") else { return };
    let variables = ["TEST_CLONE=copies-memory", "TEST_REFUSED=clone3=ENOSYS"];
    for test in TESTS {
        rerun_behind(test, &system.prefix(&variables));
    }
}

#[test]
fn a_start_works_under_valgrind() {
    if support::has_program("valgrind", "starts under valgrind") {
        rerun_behind(SHORT, &["valgrind", "-q"]);
    }
}

#[test]
fn a_start_works_under_qemu_user() {
    let qemu = format!("qemu-{}", std::env::consts::ARCH);
    if support::has_program(&qemu, "starts under qemu-user") {
        rerun_behind(SHORT, &[&qemu]);
        rerun_behind(
            "it::spawn::emulated::an_emulators_own_thread_is_none_of_the_programs",
            &[&qemu],
        );
    }
}

#[test]
fn starts_and_failures_are_told() {
    support::alone(path_of!(starts_and_failures_are_told), || {
        let before = Traces::before();
        assert_eq!(Command::new("echo").arg("runs").output().unwrap().stdout, b"runs\n");
        assert_eq!(sh("exit 7").status().unwrap().code(), Some(7));
        // The number of the pipe that the child reports over is among these.
        for number in 3..24 {
            let mut readlink = Command::new("readlink");
            let link = readlink.arg(format!("/proc/self/fd/{number}")).fd(number).output().unwrap();
            assert!(link.stdout.starts_with(b"socket:"), "end at {number}: {link:?}");
            let error = sh("").fd(number).current_dir("/no/such/place").spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Directory, Some(2)));
        }
        let fails = |command: &mut Command| {
            let error = command.spawn().unwrap_err();
            (error.step(), error.raw_os_error())
        };
        let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        // Valgrind ends a process whose `execve` fails for such a reason, and std says `Ok` there, too.
        match std::process::Command::new(&script).spawn() {
            Ok(mut child) => drop(child.wait()),
            Err(_) => assert_eq!(fails(&mut Command::new(&script)), (SpawnStep::Exec, Some(2))),
        }
        assert_eq!(fails(&mut Command::new("no-such-program")), (SpawnStep::Find, Some(2)));
        assert_eq!(fails(sh("").process_group(-1)), (SpawnStep::Group, Some(22)));
        assert_eq!(fails(sh("").fd(i32::MAX)), (SpawnStep::Descriptors, Some(9)));
        assert_eq!(fails(sh("").parent_death_signal(99)), (SpawnStep::DeathSignal, Some(22)));
        let same = rustix::process::getuid().as_raw();
        assert_eq!(sh("id -u").uid(same).output().unwrap().stdout, format!("{same}\n").as_bytes());
        assert_eq!(fails(Command::new("no-such-program").uid(same)), (SpawnStep::Find, Some(2)));
        drop(script);
        assert_eq!(before.left(), None);
    });
}

#[test]
fn an_emulators_own_thread_is_none_of_the_programs() {
    support::alone(path_of!(an_emulators_own_thread_is_none_of_the_programs), || {
        // The harness of this test has a thread besides this one: that one alone is counted.
        let refused = streampipe::fork().map(drop).expect_err("there are two threads");
        let inside = refused.get_ref().and_then(|it| it.downcast_ref::<streampipe::ForkRefused>());
        let threads = inside.expect("our own kind").other_threads;
        assert!(threads.is_none() || threads == Some(1), "{threads:?}");
    });
}
