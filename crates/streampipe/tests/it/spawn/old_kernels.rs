//! Starts on kernels, behind filters and with C libraries that lack something: they work by another way, or are
//! refused before anything has run.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};

use streampipe::{Command, SpawnStep};

use super::helpers::{Traces, path_of, sh};
use super::system::{System, on_system, rerun_behind};
use crate::support;

/// A user that runs nothing else.
const USER: u32 = 54_325;

/// The signals that this thread blocks.
fn blocked() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    status.lines().find(|line| line.starts_with("SigBlk:")).expect("a field").to_owned()
}

/// A start, a failed one, and one with another user: told, and nothing is left.
fn starts_as_usual() {
    let (before, mask) = (Traces::before(), blocked());
    for _ in 0..3 {
        let mut child = sh("read x <&3; exit 7").spawn().expect("it starts");
        assert_eq!(child.try_wait().expect("a child"), None);
        drop(child.take_stream());
        assert_eq!(child.wait().expect("a child").code(), Some(7));
        assert_eq!(sh("echo out").output().expect("it starts").stdout, b"out\n");
        let error = sh("").current_dir("/no/such/directory").spawn().expect_err("no directory");
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Directory, Some(2)));
        let mut other = sh("id -u");
        if rustix::process::getuid().is_root() {
            let output = other.uid(USER).gid(USER).output().expect("it starts");
            assert_eq!(output.stdout, format!("{USER}\n").as_bytes());
        }
        let error = Command::new("no-such-program").uid(0).spawn().expect_err("no program");
        assert!([SpawnStep::Find, SpawnStep::Identity].contains(&error.step()), "{error}");
    }
    assert_eq!(before.left(), None);
    assert_eq!(blocked(), mask);
}

/// Defines tests of this start on a system with these variables of `system.c`.
macro_rules! as_usual {
    ($($(#[$meta:meta])* $name:ident on $variables:expr;)*) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            on_system(path_of!($name), &$variables, starts_as_usual);
        }
    )*};
}

as_usual! {
    without_clone3_programs_start on ["TEST_REFUSED=clone3=ENOSYS"];
    /// Linux before 5.2, some sandboxes.
    where_clone_ignores_the_pidfd_it_is_opened_by_number
        on ["TEST_CLONE=ignores-pidfd", "TEST_REFUSED=clone3=ENOSYS"];
    where_clone_refuses_the_pidfd_it_is_opened_by_number
        on ["TEST_CLONE=refuses-pidfd", "TEST_REFUSED=clone3=ENOSYS"];
    /// As qemu-user's older versions, and all of them at once.
    where_clone_copies_the_memory_programs_start
        on ["TEST_CLONE=copies-memory", "TEST_REFUSED=clone3=ENOSYS,close_range=ENOSYS"];
    /// musl, where there is no clone3.
    where_the_c_library_refuses_a_word_to_clear_other_users_programs_start
        on ["TEST_CLONE=refuses-word", "TEST_REFUSED=clone3=ENOSYS"];
    without_close_range_programs_start on ["TEST_REFUSED=close_range=EPERM"];
}

/// A kernel that ignores the flag and knows no `pidfd_open`: an error before anything has run.
#[test]
fn without_pidfds_nothing_is_started() {
    for errno in ["ENOSYS", "EPERM"] {
        let refused = format!("TEST_REFUSED=clone3=ENOSYS,pidfd_open={errno}");
        let variables = ["TEST_CLONE=ignores-pidfd", refused.as_str()];
        on_system(path_of!(without_pidfds_nothing_is_started), &variables, || {
            let (before, mask) = (Traces::before(), blocked());
            let at = tempfile::tempdir().expect("a directory");
            let mark = at.path().join("mark");
            for _ in 0..3 {
                let error = Command::new("touch").arg(&mark).spawn().expect_err("no pidfds");
                assert_eq!(
                    (error.step(), error.kind()),
                    (SpawnStep::Clone, ErrorKind::Unsupported)
                );
                assert_eq!(error.raw_os_error(), Some(38), "{error}");
            }
            assert!(!mark.exists(), "the program has run");
            assert_eq!(before.left(), None);
            assert_eq!(blocked(), mask);
        });
    }
}

/// In a file system without `/proc`, in front of which `close_range` is refused.
#[test]
fn without_proc_and_close_range_the_numbers_are_tried() {
    const PATH: &str = path_of!(without_proc_and_close_range_the_numbers_are_tried);
    if support::is_alone(PATH) {
        assert!(!fs::exists("/proc/self").expect("a question"), "the control");
        return strays_are_closed();
    }
    let what = "starts without /proc";
    if !rustix::process::geteuid().is_root() {
        return support::skip(what, "this is not root, who could mount something over it");
    }
    let Some(system) = System::build(what) else { return };
    if !support::has_program("unshare", what) {
        return;
    }
    let script = "mount --make-rprivate / && mount -t tmpfs none /proc && exec \"$@\"";
    let mut prefix: Vec<String> =
        ["unshare", "-m", "sh", "-c", script, "sh"].map(str::to_owned).into();
    prefix.extend(system.prefix(&["TEST_REFUSED=close_range=ENOSYS"]));
    let mounts = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !mounts.expect("it is there").success() {
        return support::skip(what, "there are no mount namespaces to be had");
    }
    rerun_behind(PATH, &prefix);
}

/// Asks a child without `/proc`: a shell that is told to use a closed descriptor fails.
fn strays_are_closed() {
    let stray = |at: i32| -> OwnedFd {
        let file = File::open("/").expect("a directory");
        let copy = rustix::io::fcntl_dupfd_cloexec(file, at).expect("a number");
        rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).expect("open");
        copy
    };
    let strays = [stray(4), stray(9), stray(700)];
    // A shell knows numbers of one digit.
    let low = strays.iter().map(AsRawFd::as_raw_fd).filter(|number| *number < 10);
    let script: String =
        low.map(|number| format!("(: <&{number}) 2>/dev/null && exit 1\n")).collect();
    assert_eq!(script.lines().count(), 2, "the control");
    let status = std::process::Command::new("sh").args(["-c", &script]).status();
    assert_eq!(status.expect("it starts").code(), Some(1), "the control: std's child has them");
    let own = "(: <&3) || exit 2\n";
    assert_eq!(sh(&format!("{own}{script}exit 0")).status().expect("it starts").code(), Some(0));
    let error = sh("").current_dir("/no/such/directory").spawn().expect_err("no directory");
    assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Directory, Some(2)));
    drop(strays);
}
