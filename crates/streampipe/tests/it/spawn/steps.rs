//! Each step that can fail is told as that step, with the system's number.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::process::geteuid;
use streampipe::{Command, Engine, SpawnStep, Stdio};

use super::helpers::{Traces, path_of};
use super::system::{on_system, rerun_behind};
use crate::support::{self, tests_alone};

/// In a file system without `/dev/null`.
#[test]
fn a_missing_dev_null_is_no_missing_program() {
    const PATH: &str = path_of!(a_missing_dev_null_is_no_missing_program);
    if support::is_alone(PATH) {
        return support::checked(|| {
            let before = Traces::before();
            for stdio in [Command::stdin, Command::stdout, Command::stderr] {
                let mut command = Command::new("true");
                let error = stdio(&mut command, Stdio::null()).spawn().expect_err("there is none");
                assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Null, Some(2)));
                assert!(error.to_string().contains("opening /dev/null"), "{error}");
            }
            assert!(Command::new("true").status().expect("it needs none").success());
            assert_eq!(before.left(), None);
        });
    }
    let what = "starts without /dev/null";
    if !geteuid().is_root() {
        return support::skip(what, "this is not root, who could mount something over it");
    }
    let mounts = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !mounts.is_ok_and(|status| status.success()) {
        return support::skip(what, "there are no mount namespaces to be had");
    }
    let script = "mount --make-rprivate / && mount -t tmpfs none /dev && exec \"$@\"";
    rerun_behind(PATH, &["unshare", "-m", "sh", "-c", script, "sh"]);
}

#[test]
fn a_ring_without_memory_files_is_told_as_a_ring() {
    for error in ["ENOSYS", "EPERM"] {
        let refused = format!("TEST_REFUSED=memfd_create={error}");
        on_system(path_of!(a_ring_without_memory_files_is_told_as_a_ring), &[&refused], || {
            let before = Traces::before();
            let mut command = Command::new("true");
            let error = command.engine(Engine::Ring).spawn().expect_err("no memory files");
            assert_eq!(error.step(), SpawnStep::Ring, "{error}");
            assert!([1, 38].contains(&error.raw_os_error().expect("a number")), "{error}");
            assert!(error.to_string().contains("memfd_create"), "{error}");
            assert_eq!(before.left(), None);
        });
    }
}

#[test]
fn an_option_that_is_refused_is_told_as_an_option() {
    let refused = ["TEST_REFUSED=setsockopt=EPERM"];
    on_system(path_of!(an_option_that_is_refused_is_told_as_an_option), &refused, || {
        let mut command = Command::new("true");
        let error = command.expect_hello().spawn().expect_err("it may not be set");
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Options, Some(1)), "{error}");
    });
}

/// A script that anybody may execute.
fn script(content: &str) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content.as_bytes()).expect("room");
    file.as_file().set_permissions(PermissionsExt::from_mode(0o755)).expect("our own");
    file.into_temp_path()
}

tests_alone! {
    /// Somebody who keeps a file open for writing is told of, after a while.
    fn a_program_that_is_being_written_is_told() {
        let path = script("#!/bin/sh\nexit 7\n");
        let writer = std::fs::File::options().append(true).open(&path).expect("our own");
        let error = Command::new(&path).spawn().expect_err("it is open for writing");
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Exec, Some(26)), "{error}");
        drop(writer);
        assert_eq!(Command::new(&path).status().expect("it starts").code(), Some(7));
    }
}

/// Another thread's child has a copy of the descriptor until it has its program.
#[test]
fn a_program_that_was_being_written_just_now_is_tried_again() {
    const PATH: &str = path_of!(a_program_that_was_being_written_just_now_is_tried_again);
    const SCRIPT: &str = "STREAMPIPE_TEST_SCRIPT";
    if support::is_alone(PATH) {
        return support::checked(|| {
            let path = std::env::var_os(SCRIPT).expect("who started this says which");
            for _ in 0..3 {
                assert_eq!(Command::new(&path).status().expect("it starts").code(), Some(7));
            }
        });
    }
    if !support::has_program("strace", "a program that is busy") {
        return;
    }
    let path = script("#!/bin/sh\nexit 7\n");
    let path = path.to_str().expect("text");
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let variable = format!("{SCRIPT}={path}");
    let to = log.path().to_str().expect("text");
    // The first three tries of each process fail, whatever the file.
    let busy = "inject=execve:error=ETXTBSY:when=1..3";
    let strace = ["strace", "-f", "-qq", "-o", to, "-P", path, "-e", busy, "-E", &variable];
    rerun_behind(PATH, &strace);
    let log = std::fs::read_to_string(log.path()).expect("strace wrote it");
    let tries = log.lines().filter(|line| line.contains("ETXTBSY")).count();
    assert_eq!(tries, 9, "three tries for each of three starts: {log}");
}
