//! Spawning: the truth about every start, and every descriptor where it belongs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use streampipe_sys::spawn::{Image, Placement, Setup, Step, Strings, spawn};
use streampipe_sys::{open, process};

use crate::support::{self, tests_alone};

fn shell(script: &str) -> Image {
    image("/bin/sh", &["sh", "-c", script]).expect("there is a shell")
}

fn image(program: &str, args: &[&str]) -> std::io::Result<Image> {
    let (mut list, mut environment) = (Strings::default(), Strings::default());
    args.iter().try_for_each(|arg| list.add(OsStr::new(arg)))?;
    environment.add_variable(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin"))?;
    Image::new(OsStr::new(program), list, environment, None, OsStr::new("/bin"))
}

/// Runs it to its end; returns the exit code.
fn run(image: &Image, placements: Vec<Placement<'_>>) -> i32 {
    let spawned = spawn(image, &Setup { placements, ..Setup::default() }).expect("it starts");
    let status = process::wait(spawned.pidfd.as_fd()).expect("our child");
    status.code().expect("it exits")
}

/// A file that the kernel cannot execute, though its permissions say so.
fn nonsense() -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"no program at all\n").expect("room");
    let mut permissions = file.as_file().metadata().expect("stat").permissions();
    permissions.set_mode(0o755);
    file.as_file().set_permissions(permissions).expect("chmod");
    file.into_temp_path()
}

tests_alone! {
    /// command-fds, and everything built on `pre_exec`, reports `Ok` for some of these numbers and
    /// writes its error record into the user's channel.
    fn a_failed_exec_is_told_for_every_target_number() {
        let path = nonsense();
        let program = image(path.to_str().unwrap(), &["x"]).expect("it looks executable");
        for target in 0..64 {
            let (theirs, ours) = open::pipe().unwrap();
            let placements = vec![Placement { source: ours.as_fd(), target }];
            let error = spawn(&program, &Setup { placements, ..Setup::default() }).unwrap_err();
            assert_eq!(error.step, Step::Exec, "target {target}");
            assert_eq!(error.source.raw_os_error(), Some(libc::ENOEXEC));
            drop(ours);
            let mut stray = Vec::new();
            File::from(theirs).read_to_end(&mut stray).unwrap();
            assert!(stray.is_empty(), "bytes of ours in the user's pipe: {stray:?}");
        }
    }

    fn a_program_that_is_missing_or_forbidden_is_an_error_before_the_clone() {
        let missing = image("no-such-program", &["x"]).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let directory = image("/", &["x"]).unwrap_err();
        assert_eq!(directory.raw_os_error(), Some(libc::EACCES));
        assert_eq!(image("", &["x"]).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    fn arguments_that_are_too_long_are_told() {
        let long = "x".repeat(200_000);
        let program = image("/bin/true", &["true", &long]).unwrap();
        let error = spawn(&program, &Setup::default()).unwrap_err();
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Exec, Some(libc::E2BIG)));
    }

    fn a_target_given_twice_is_refused() {
        let (a, b) = open::pipe().unwrap();
        let placements = [&a, &b].map(|fd| Placement { source: fd.as_fd(), target: 7 }).to_vec();
        let error = spawn(&shell("true"), &Setup { placements, ..Setup::default() }).unwrap_err();
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Descriptor, Some(libc::EINVAL)));
    }

    /// Each source is a pipe with its index in it; the child reads each target and compares.
    fn every_permutation_and_cycle_puts_each_descriptor_where_it_belongs() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..150 {
            let count = 1 + round % 8;
            let sources: Vec<OwnedFd> = (0..count).map(|index| labelled(&index.to_string())).collect();
            // Targets among the numbers of the sources, so that cycles are the rule.
            let first = 3;
            let mut targets: Vec<i32> = (first..).take(count + 8).collect();
            random.shuffle(&mut targets);
            let placements: Vec<_> = sources
                .iter()
                .zip(&targets)
                .map(|(source, &target)| Placement { source: source.as_fd(), target })
                .collect();
            let script: String = (0..count)
                .map(|index| format!("read x </proc/$$/fd/{} && test $x = {index} || exit 9\n", targets[index]))
                .collect();
            assert_eq!(run(&shell(&script), placements), 0, "targets {targets:?}");
        }
    }

    fn a_descriptor_already_in_its_place_loses_close_on_exec() {
        let source = labelled("here");
        let target = std::os::fd::AsRawFd::as_raw_fd(&source);
        let placements = vec![Placement { source: source.as_fd(), target }];
        assert_eq!(run(&shell(&format!("read x <&{target} && test $x = here")), placements), 0);
    }

    fn nothing_else_of_ours_is_inherited() {
        let (unlisted, _b) = open::pipe().unwrap();
        let source = labelled("x");
        let inode = |fd: &OwnedFd| format!("pipe:[{}]", support::identity(fd).1);
        let placements = vec![Placement { source: source.as_fd(), target: 9 }];
        let script = format!(
            "ls -l /proc/$$/fd | grep -qF '{}' && ! ls -l /proc/$$/fd | grep -qF '{}'",
            inode(&source),
            inode(&unlisted)
        );
        assert_eq!(run(&shell(&script), placements), 0);
    }

    /// Asked of the program itself: a shell that is asked from outside has its signals blocked
    /// while it forks.
    fn the_program_gets_the_mask_and_the_signals_of_a_fresh_start() {
        let mask = streampipe_sys::signal::SignalSet::of(&[libc::SIGUSR2]);
        let before = mask.block();
        let grep = |pattern: &str, mask| {
            let program = image("/bin/grep", &["grep", "-q", pattern, "/proc/self/status"]);
            let setup = Setup { mask, ..Setup::default() };
            let spawned = spawn(&program.expect("there is grep"), &setup).expect("it starts");
            process::wait(spawned.pidfd.as_fd()).unwrap().code()
        };
        let nothing_blocked = grep("^SigBlk:.0*$", Some(before));
        let still_blocked = grep("^SigBlk:.0*800$", None);
        // SIGPIPE is bit 12, and Rust's runtime ignores it in this process.
        let pipe_is_default = grep("^SigIgn:.*[02468ace]...$", None);
        before.set();
        assert_eq!((nothing_blocked, still_blocked, pipe_is_default), (Some(0), Some(0), Some(0)));
    }

    fn a_program_can_be_started_from_many_threads_at_once() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for code in 0..40 {
                        assert_eq!(run(&shell(&format!("exit {code}")), Vec::new()), code);
                    }
                });
            }
        });
    }

    fn a_relative_program_is_found_from_the_directory_asked_for() {
        let at = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", at.path().join("here")).unwrap();
        let mut args = Strings::default();
        ["here", "-c", "test -L here"].iter().for_each(|arg| args.add(OsStr::new(arg)).unwrap());
        let program = Image::new(
            OsStr::new("./here"),
            args,
            Strings::default(),
            Some(at.path()),
            OsStr::new(""),
        );
        assert_eq!(run(&program.expect("it is there"), Vec::new()), 0);
    }
}

/// The reading end of a pipe with one line in it.
fn labelled(label: &str) -> OwnedFd {
    let (reader, writer) = open::pipe().expect("a pipe");
    writeln!(File::from(writer), "{label}").expect("room in the pipe");
    reader
}

#[test]
fn no_zombie_is_left_by_a_failed_start() {
    support::alone(concat!(module_path!(), "::no_zombie_is_left_by_a_failed_start"), || {
        let path = nonsense();
        let program = image(path.to_str().unwrap(), &["x"]).unwrap();
        for _ in 0..50 {
            spawn(&program, &Setup::default()).unwrap_err();
        }
        assert!(!support::has_children());
    });
}
