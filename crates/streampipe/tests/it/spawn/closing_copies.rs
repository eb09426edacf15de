//! A program that is just being started has a copy of every end, and closes it when it executes: an end
//! that only such copies keep open has been closed, and is not held by another process.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use streampipe::Command;
use streampipe_sys::spawn::StartGuard;

use super::helpers::{HANG, LeftBehind, Sleeper, await_end, gone, line, path_of, sh};
use crate::support::{self, tests_alone};

/// Longer than the time after which somebody else counts as the holder of an end.
const LONGER: Duration = Duration::from_millis(500);

/// A child that has ended, and a process that keeps its end open until it is killed.
fn kept(on_stdio: bool) -> (streampipe::Child, LeftBehind) {
    let mut child = if on_stdio {
        sh("exec 5<&0; sleep 100 <&5 & echo $!").on_stdio().spawn().expect("it starts")
    } else {
        sh("sleep 100 & echo $! >&3").spawn().expect("it starts")
    };
    let keeper = LeftBehind::of(line(&*child.stream()).parse().expect("a number"));
    await_end(&child);
    (child, keeper)
}

tests_alone! {
    fn as_long_as_a_start_of_ours_is_under_way_nobody_else_holds_an_end() {
        for on_stdio in [false, true] {
            let start = StartGuard::begin();
            let (mut child, keeper) = kept(on_stdio);
            let (sleeper, (says, said)) = (Sleeper::default(), mpsc::channel());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    sleeper.is_me();
                    let _ = says.send(child.stream().read(&mut [0]));
                });
                sleeper.sleeps();
                said.recv_timeout(LONGER).expect_err("it may still be closing");
                // As the program that is being started does when it executes.
                drop(keeper);
                assert_eq!(said.recv_timeout(HANG).expect("in time").expect("the end"), 0);
            });
            drop(start);
            assert!(child.wait().expect("a status").success());
        }
    }

    /// However many starts follow each other: each is younger than the death.
    fn a_start_that_began_after_the_death_has_no_copy() {
        for on_stdio in [false, true] {
            let (mut child, _keeper) = kept(on_stdio);
            child.stream().set_nonblocking(true).expect("a flag");
            child.stream().read(&mut [0]).expect_err("seen to have ended");
            child.stream().set_nonblocking(false).expect("a flag");
            let start = StartGuard::begin();
            child.stream().set_read_timeout(Some(HANG)).expect("a timeout");
            let error = child.stream().read(&mut [0]).expect_err("another holds its end");
            assert_eq!(gone(&error), Some(child.id()), "{error}");
            drop(start);
            assert!(child.wait().expect("a status").success());
        }
    }

    fn when_the_start_is_over_the_holder_is_told_of() {
        let start = StartGuard::begin();
        let (mut child, _keeper) = kept(false);
        let sleeper = Sleeper::default();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                sleeper.is_me();
                child.stream().read(&mut [0]).expect_err("another holds its end")
            });
            sleeper.sleeps();
            drop(start);
            assert!(gone(&reader.join().expect("a thread")).is_some());
        });
        assert!(child.wait().expect("a status").success());
    }

    fn tasks_wait_for_a_start_of_ours_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let start = StartGuard::begin();
            let (mut child, keeper) = kept(false);
            let stream = child.take_stream().expect("an end");
            let mut stream = streampipe::tokio::Stream::try_from(stream).expect("a runtime");
            let mut buffer = [0];
            let mut read = Box::pin(tokio::io::AsyncReadExt::read(&mut stream, &mut buffer));
            tokio::time::timeout(LONGER, &mut read).await.expect_err("it may still be closing");
            drop(keeper);
            let ended = tokio::time::timeout(HANG, read).await.expect("in time");
            assert_eq!(ended.expect("the end"), 0);
            drop(start);
            assert!(child.wait().expect("a status").success());
        });
    }

    /// What it is about; it fails only where there is little time, as in a slow control group.
    fn an_orderly_end_is_told_while_other_threads_start_programs() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let mut child = Command::new("true").spawn().expect("it starts");
                        assert_eq!(child.stream().read(&mut [0]).expect("the end"), 0);
                        assert!(child.wait().expect("a status").success());
                    }
                });
            }
        });
    }
}

/// A script that cannot be executed, for its interpreter is not there: the next one is tried.
fn write_script(at: &Path) {
    fs::write(at, "#!/nonexistent/interpreter\n").expect("a file");
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// Where the programs are, of which each execution takes long.
const PLACES: &str = "STREAMPIPE_TEST_SLOW_PLACES";

/// A real start, slow to execute, while a program that was started at the same time ends.
#[test]
fn a_slow_start_keeps_an_end_open_and_does_not_hold_it() {
    let path = path_of!(a_slow_start_keeps_an_end_open_and_does_not_hold_it);
    if support::is_alone(path) {
        return support::checked(beside_a_slow_start);
    }
    if !support::has_program("strace", path) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let places: Vec<_> = (0..6).map(|place| directory.path().join(place.to_string())).collect();
    let mut paths = Vec::new();
    for place in &places {
        fs::create_dir(place).expect("a directory");
        write_script(&place.join("slow"));
        paths.push(place.join("slow"));
    }
    let quick = directory.path().join("quick");
    fs::write(&quick, "#!/bin/sh\nexit 0\n").expect("a file");
    fs::set_permissions(&quick, fs::Permissions::from_mode(0o755)).expect("it is ours");
    paths.push(quick);
    // Each try takes 0.2 s: the quick one succeeds with the first.
    let mut options = vec!["strace", "-f", "-qq", "-o", "/dev/null"];
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.iter().for_each(|path| options.extend(["-P", path.as_str()]));
    options.extend(["-e", "trace=execve", "-e", "inject=execve:delay_enter=200000"]);
    let variable = format!("{PLACES}={}", directory.path().display());
    let ran = support::rerun(path, &[&["env", variable.as_str()][..], &options].concat());
    assert!(ran.status.success(), "{}", ran.output);
}

fn beside_a_slow_start() {
    let directory = std::env::var(PLACES).expect("the places");
    let places = (0..6).map(|place| format!("{directory}/{place}")).collect::<Vec<_>>().join(":");
    let started = || support::has_children();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            // While the other one is being started, its end is open here, too.
            assert!(super::helpers::eventually(started));
            Command::new("slow").env("PATH", places).spawn().expect_err("no interpreter")
        });
        let mut child = Command::new(format!("{directory}/quick")).spawn().expect("it starts");
        let read = child.stream().read(&mut [0]);
        assert_eq!(read.expect("the end, and not a holder"), 0);
        assert!(child.wait().expect("a status").success());
        slow.join().expect("a thread");
    });
}
