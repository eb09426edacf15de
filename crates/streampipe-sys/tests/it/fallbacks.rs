//! What a start does on kernels, and behind filters, that do not know the newer calls.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use streampipe_sys::process;
use streampipe_sys::spawn::{Image, Lookup, Setup, Strings, spawn};

use crate::support;

const PATH: &str = concat!(module_path!(), "::without_clone3_handlers_are_reset_one_by_one");

extern "C" fn never_called(_signal: i32) {}

fn start() {
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { libc::signal(libc::SIGUSR1, never_called as *const () as libc::sighandler_t) };
    let mut args = Strings::default();
    ["sh", "-c", "exit 7"].iter().for_each(|arg| args.add(OsStr::new(arg)).expect("no NUL"));
    let sh = OsStr::new("/bin/sh");
    let image = Image::new(sh, args, Strings::default(), None, OsStr::new(""), Lookup::ByParent)
        .expect("a shell");
    let spawned = spawn(&image, &Setup::default()).expect("it starts");
    assert_eq!(process::wait(spawned.pidfd.as_fd()).expect("our child").code(), Some(7));
}

/// The calls of a start, with these options of `strace`.
fn calls_of_a_start(options: &[&str]) -> String {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = log.path().to_str().expect("text");
    let prefix = [&["strace", "-f", "-qq", "-o", path], options].concat();
    let ran = support::rerun(PATH, &prefix);
    assert!(ran.status.success(), "{}", ran.output);
    std::fs::read_to_string(path).expect("the log")
}

#[test]
fn without_clone3_handlers_are_reset_one_by_one() {
    if support::is_alone(PATH) {
        return support::checked(start);
    }
    if !support::has_program("strace", "a start without clone3") {
        return;
    }
    let is_start = |line: &&str| line.contains("CLONE_VFORK") && line.contains("CLONE_PIDFD");
    let reset = "rt_sigaction(SIGUSR1, {sa_handler=SIG_DFL";

    let log = calls_of_a_start(&["-e", "inject=clone3:error=ENOSYS"]);
    let starts: Vec<&str> = log.lines().filter(is_start).collect();
    assert!(starts.iter().any(|line| line.contains(" clone(")), "{starts:?}");
    assert!(log.contains(reset), "the handler was not reset: {log}");

    // The control: where there is `clone3`, one flag does it, and no call.
    if cfg!(target_arch = "x86_64") {
        let log = calls_of_a_start(&[]);
        let starts: Vec<&str> = log.lines().filter(is_start).collect();
        assert!(starts.iter().all(|line| line.contains("CLONE_CLEAR_SIGHAND")), "{starts:?}");
        assert!(!log.contains(reset), "{log}");
    }
}
