//! A debugger goes on as before when its program has started another.

use std::io::Write;
use std::os::fd::AsFd;

use streampipe_sys::process;
use streampipe_sys::spawn::{Identity, Setup, spawn};

use crate::support;

const PATH: &str = concat!(module_path!(), "::breakpoints_stay_after_starts_with_another_identity");

/// Where the debugger is to stop.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn streampipe_test_breakpoint(number: i32) {
    std::hint::black_box(number);
}

/// How often the body comes by the breakpoint.
const STOPS: i32 = 4;

fn starts() {
    let image = crate::spawn::image_from("/bin/true", &["true"], None).expect("it is there");
    let own = rustix::process::geteuid().as_raw();
    for number in 0..STOPS {
        streampipe_test_breakpoint(number);
        let identity = Identity { uid: Some(own), ..Identity::default() };
        let spawned = spawn(&image, &Setup { identity, ..Setup::default() }).expect("it starts");
        assert!(process::wait(spawned.pidfd.as_fd()).expect("our child").success());
    }
}

const COMMANDS: &str = r#"
set pagination off
set confirm off
set breakpoint pending on
break streampipe_test_breakpoint
commands
silent
printf "the debugger stops\n"
continue
end
run
"#;

/// A clone that shares the memory and does not hold the parent is a fork to gdb, which removes its breakpoints from
/// the memory of both.
#[test]
fn breakpoints_stay_after_starts_with_another_identity() {
    if support::is_alone(PATH) {
        return support::checked(starts);
    }
    let what = "breakpoints beside starts";
    if !support::has_program("gdb", what) {
        return;
    }
    let mut commands = tempfile::NamedTempFile::new().expect("a temporary file");
    commands.write_all(COMMANDS.as_bytes()).expect("room");
    let from = commands.path().to_str().expect("text");
    let ran = support::rerun(PATH, &["gdb", "-q", "-nx", "-batch", "-x", from, "--args"]);
    if ran.output.contains("Operation not permitted") {
        return support::skip(what, "nothing may be traced here");
    }
    let stops = ran.output.matches("the debugger stops").count();
    assert_eq!(stops, STOPS as usize, "{}", ran.output);
    assert!(ran.output.contains("1 passed"), "{}", ran.output);
}
