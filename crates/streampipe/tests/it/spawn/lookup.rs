//! Which file a name means, and what is told of one that cannot be executed, where the child has another user.
//!
//! The child looks, with its own rights: its parent may see less than it, or more.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use streampipe::{Command, SpawnError, SpawnStep};

use super::helpers::{Traces, path_of};
use crate::support;

/// A user that runs nothing else, and owns the directory.
const USER: u32 = 54_326;

/// Where the directory is, for the process without the right to look into it.
const PLACE: &str = "STREAMPIPE_TEST_PLACE";

fn write(path: &Path, mode: u32, content: &str) {
    fs::write(path, content).expect("room");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
}

/// A directory with `home` in it, which only the user may search, and `open`, which everybody may.
fn place() -> tempfile::TempDir {
    let at = tempfile::tempdir().expect("a directory");
    let home = at.path().join("home");
    fs::create_dir(&home).expect("room");
    write(&home.join("runs"), 0o755, "#!/bin/sh\nexit 7\n");
    write(&home.join("lost"), 0o755, "#!/no/such/interpreter\n");
    write(&home.join("plain"), 0o644, "#!/bin/sh\n");
    fs::create_dir(home.join("directory")).expect("room");
    symlink("loop", home.join("loop")).expect("room");
    write(&at.path().join("of-root"), 0o700, "#!/bin/sh\n");
    fs::create_dir(at.path().join("of-root-alone")).expect("room");
    write(&at.path().join("of-root-alone/runs"), 0o755, "#!/bin/sh\nexit 8\n");
    fs::set_permissions(at.path().join("of-root-alone"), Permissions::from_mode(0o700))
        .expect("our own");
    for path in ["home", "home/directory", "home/runs", "home/lost", "home/plain"] {
        chown(at.path().join(path), Some(USER), Some(USER)).expect("root may");
    }
    fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("our own");
    fs::set_permissions(at.path(), Permissions::from_mode(0o755)).expect("our own");
    at
}

fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.uid(USER).gid(USER);
    command
}

fn told(error: &SpawnError) -> (SpawnStep, Option<i32>) {
    (error.step(), error.raw_os_error())
}

/// A service user who may change users, but not look into their directories.
#[test]
fn a_program_that_only_the_new_user_may_see_is_started() {
    const PATH: &str = path_of!(a_program_that_only_the_new_user_may_see_is_started);
    if support::is_alone(PATH) {
        return support::checked(starts_of_another_user);
    }
    let what = "a program that only another user may see";
    if !rustix::process::geteuid().is_root() {
        return support::skip(what, "this is not root, who could be somebody else");
    }
    if !support::has_program("setpriv", what) {
        return;
    }
    let at = place();
    let place = format!("{PLACE}={}", at.path().display());
    let prefix = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "--inh-caps=-all,+setuid,+setgid",
        "--ambient-caps=-all,+setuid,+setgid",
        "env",
        &place,
    ];
    let ran = support::rerun(PATH, &prefix);
    if ran.output.contains("failed to execute") || ran.output.contains("Permission denied\n") {
        return support::skip(what, "another user may not execute this binary");
    }
    assert!(ran.status.success(), "{}\n{}", ran.status, ran.output);
}

fn starts_of_another_user() {
    let before = Traces::before();
    let at = PathBuf::from(std::env::var_os(PLACE).expect("who started this says where"));
    let home = at.join("home");
    fs::metadata(home.join("runs")).expect_err("the control: this process may not look");

    let status = as_user(home.join("runs")).status().expect("that user may");
    assert_eq!(status.code(), Some(7));
    let mut by_std = std::process::Command::new(home.join("runs"));
    assert_eq!(by_std.uid(USER).gid(USER).status().expect("as std").code(), Some(7));
    // From its own directory, and by a search.
    let mut relative = as_user("./runs");
    assert_eq!(relative.current_dir(&home).status().expect("that user may").code(), Some(7));
    let list = format!("/no/such/place:{}:{}", at.join("of-root-alone").display(), home.display());
    let mut searched = as_user("runs");
    assert_eq!(searched.env("PATH", &list).status().expect("it is found").code(), Some(7));

    let error = |command: &mut Command| command.spawn().expect_err("it cannot be executed");
    let missing = error(&mut as_user(home.join("missing")));
    assert_eq!(told(&missing), (SpawnStep::Find, Some(2)), "{missing}");
    assert!(!missing.to_string().contains("the file is there"), "{missing}");
    let missing = error(as_user("missing").env("PATH", &list));
    assert_eq!(told(&missing), (SpawnStep::Find, Some(2)), "{missing}");
    let lost = error(&mut as_user(home.join("lost")));
    assert_eq!(told(&lost), (SpawnStep::Exec, Some(2)), "{lost}");
    assert!(lost.to_string().contains("the file is there: the interpreter"), "{lost}");
    for name in ["home/plain", "home/directory", "of-root"] {
        let forbidden = error(&mut as_user(at.join(name)));
        assert_eq!(told(&forbidden), (SpawnStep::Find, Some(13)), "{forbidden}");
        assert!(forbidden.to_string().contains("the file is there, but"), "{forbidden}");
    }
    let forbidden = error(as_user("plain").env("PATH", &list));
    assert_eq!(told(&forbidden), (SpawnStep::Find, Some(13)), "{forbidden}");
    let looped = error(&mut as_user(home.join("loop")));
    assert_eq!(told(&looped), (SpawnStep::Find, Some(40)), "{looped}");
    let long = error(&mut as_user(home.join("x".repeat(300))));
    assert_eq!(told(&long), (SpawnStep::Find, Some(36)), "{long}");
    let unseen = error(&mut as_user(at.join("of-root-alone/runs")));
    assert_eq!(told(&unseen), (SpawnStep::Find, Some(13)), "{unseen}");
    assert!(unseen.to_string().contains("a directory on the way"), "{unseen}");
    // Without another user this process looks, and what it may not see is told as such.
    let own = error(&mut Command::new(home.join("runs")));
    assert_eq!(told(&own), (SpawnStep::Find, Some(13)), "{own}");
    assert!(own.to_string().contains("a directory on the way"), "{own}");
    assert_eq!(before.left(), None);
}
