//! Spawning: the truth about every start, and every descriptor where it belongs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::DumpableBehavior;
use streampipe_sys::spawn::{
    Group, Identity, Image, Limit, Lookup, Placement, Resource, Setup, Step, Strings, spawn,
};
use streampipe_sys::{open, process};

use crate::kcmp;
use crate::support::{self, FreeDescriptors, tests_alone};

/// Nobody, which is enough of another user.
const OTHER_USER: u32 = 65534;

fn shell(script: &str) -> Image {
    image("/bin/sh", &["sh", "-c", script]).expect("there is a shell")
}

fn image(program: &str, args: &[&str]) -> std::io::Result<Image> {
    image_from(program, args, None)
}

pub(crate) fn image_from(
    program: &str,
    args: &[&str],
    directory: Option<&Path>,
) -> std::io::Result<Image> {
    let (mut list, mut environment) = (Strings::default(), Strings::default());
    args.iter().try_for_each(|arg| list.add(OsStr::new(arg)))?;
    environment.add_variable(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin"))?;
    let (program, search) = (OsStr::new(program), OsStr::new("/bin"));
    Image::new(program, list, environment, directory, search, Lookup::ByParent)
        .map_err(|error| error.source)
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
        // At most 32 pages, which are of 64 KiB somewhere.
        let long = "x".repeat(32 * 65_536);
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
        let target = source.as_raw_fd();
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
        let program = image_from("./here", &["here", "-c", "test -L here"], Some(at.path()));
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

/// Runs the script to its end with this setup; returns the exit code.
fn run_with(script: &str, setup: &Setup<'_>) -> Option<i32> {
    let spawned = spawn(&shell(script), setup).expect("it starts");
    process::wait(spawned.pidfd.as_fd()).expect("our child").code()
}

/// Why the shell is not started with this setup, after which nothing is left.
fn refusal(setup: &Setup<'_>) -> (Step, Option<i32>) {
    let before = support::Descriptors::now();
    let error = spawn(&shell("exit 0"), setup).map(drop).expect_err("it is refused");
    assert_eq!(support::Descriptors::now(), before, "a descriptor is left");
    (error.step, error.source.raw_os_error())
}

fn other_user() -> Identity {
    let mut identity =
        Identity { uid: Some(OTHER_USER), gid: Some(OTHER_USER), ..Identity::default() };
    identity.set_groups([]);
    identity
}

fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        support::skip(what, "only root can change its identity");
    }
    is_root
}

/// Runs the body in a thread that has no rights; the other threads keep theirs.
fn without_rights(body: impl FnOnce() + Send) {
    let dumpable = rustix::process::dumpable_behavior().expect("a question");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let (user, group) = (rustix::process::Uid::from_raw(OTHER_USER), OTHER_USER);
                let group = rustix::process::Gid::from_raw(group);
                rustix::thread::set_thread_groups(&[]).expect("root may");
                rustix::thread::set_thread_res_gid(group, group, group).expect("root may");
                rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
                // Else its own /proc/self would be closed to it.
                rustix::process::set_dumpable_behavior(dumpable).expect("our own");
            }
            body();
        });
        thread.join().expect("no panic");
    });
}

tests_alone! {
    fn the_child_is_in_the_group_or_session_asked_for() {
        // After the name in parentheses: state, parent, group, session.
        let fields = r#"set -- $(sed 's/.*) //' /proc/$$/stat); group=$3; session=$4;"#;
        let own = process::group_of(0).expect("our own");
        let with = |group, script: &str| {
            run_with(&format!("{fields} {script}"), &Setup { group, ..Setup::default() })
        };
        assert_eq!(with(Group::Inherited, &format!("test $group = {own}")), Some(0));
        assert_eq!(with(Group::Of(0), "test $group = $$ && test $session != $$"), Some(0));
        assert_eq!(with(Group::NewSession, "test $group = $$ && test $session = $$"), Some(0));

        let (reader, writer) = open::pipe().expect("a pipe");
        let setup = Setup {
            placements: vec![Placement { source: reader.as_fd(), target: 0 }],
            group: Group::Of(0),
            ..Setup::default()
        };
        let leader = spawn(&shell("read x"), &setup).expect("it starts");
        assert_eq!(with(Group::Of(leader.pid), &format!("test $group = {}", leader.pid)), Some(0));
        drop(writer);
        process::wait(leader.pidfd.as_fd()).expect("our child");
    }

    fn a_group_that_cannot_be_joined_is_told() {
        let (reader, writer) = open::pipe().expect("a pipe");
        let setup = Setup {
            placements: vec![Placement { source: reader.as_fd(), target: 0 }],
            group: Group::NewSession,
            ..Setup::default()
        };
        let elsewhere = spawn(&shell("read x"), &setup).expect("it starts");
        let with = |group| refusal(&Setup { group, ..Setup::default() });
        assert_eq!(with(Group::Of(elsewhere.pid)), (Step::Group, Some(libc::EPERM)));
        assert_eq!(with(Group::Of(-1)), (Step::Group, Some(libc::EINVAL)));
        assert_eq!(with(Group::Of(i32::MIN)), (Step::Group, Some(libc::EINVAL)));
        drop(writer);
        process::wait(elsewhere.pidfd.as_fd()).expect("our child");
    }

    fn the_child_is_limited_and_this_process_is_not() {
        let own = rustix::process::getrlimit(Resource::Nofile);
        let limits = vec![
            Limit { resource: Resource::Nofile, soft: Some(32), hard: Some(64) },
            Limit { resource: Resource::Core, soft: Some(0), hard: Some(0) },
        ];
        let script = "test $(ulimit -Sn) = 32 && test $(ulimit -Hn) = 64 && test $(ulimit -c) = 0";
        assert_eq!(run_with(script, &Setup { limits, ..Setup::default() }), Some(0));
        assert_eq!(rustix::process::getrlimit(Resource::Nofile), own);
    }

    /// The descriptors are placed first.
    fn a_descriptor_may_be_placed_above_the_childs_own_limit() {
        let source = labelled("high");
        let setup = Setup {
            placements: vec![Placement { source: source.as_fd(), target: 100 }],
            limits: vec![Limit { resource: Resource::Nofile, soft: Some(32), hard: Some(32) }],
            ..Setup::default()
        };
        assert_eq!(run_with("read x </proc/$$/fd/100 && test $x = high", &setup), Some(0));
    }

    fn a_limit_that_may_not_be_raised_is_told() {
        without_rights(|| {
            let hard = rustix::process::getrlimit(Resource::Nofile).maximum.expect("a hard limit");
            let with = |soft, hard| Setup {
                limits: vec![Limit { resource: Resource::Nofile, soft: Some(soft), hard: Some(hard) }],
                ..Setup::default()
            };
            assert_eq!(refusal(&with(64, hard + 1)), (Step::Limit, Some(libc::EPERM)));
            assert_eq!(refusal(&with(65, 64)), (Step::Limit, Some(libc::EINVAL)));
            assert_eq!(run_with("exit 0", &with(64, 64)), Some(0), "the control");
        });
    }

    fn the_child_has_another_identity_and_this_process_keeps_its_own() {
        if !is_root("another identity") {
            return;
        }
        let all_threads = || -> Vec<String> {
            let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
            let status = |at: std::fs::DirEntry| std::fs::read_to_string(at.path().join("status"));
            let lines = |text: String| {
                let ids = |line: &&str| ["Uid:", "Gid:", "Groups:"].iter().any(|it| line.starts_with(it));
                text.lines().filter(ids).collect::<String>()
            };
            tasks.map(|task| lines(status(task.expect("a task")).expect("its own"))).collect()
        };
        let before = (all_threads(), rustix::process::dumpable_behavior().expect("it is ours"));
        let mut identity = Identity { uid: Some(OTHER_USER), gid: Some(4711), ..Identity::default() };
        identity.set_groups([4712, 4713]);
        // Real, effective, saved, and that of the file system.
        let script = r#"
            four() { echo "$1:	$2	$2	$2	$2"; }
            grep -qx "$(four Uid 65534)" /proc/self/status &&
            grep -qx "$(four Gid 4711)" /proc/self/status &&
            test "$(id -G)" = "4711 4712 4713" &&
            grep -qE "^CapEff:.0+$" /proc/self/status
        "#;
        assert_eq!(run_with(script, &Setup { identity, ..Setup::default() }), Some(0));
        let dumpable = match rustix::process::dumpable_behavior() {
            // Where the kernel does not say when the child has left the memory, the mark of its change stays.
            Ok(DumpableBehavior::NotDumpable) if !kcmp::is_there() => before.1,
            dumpable => dumpable.expect("it is ours"),
        };
        assert_eq!((all_threads(), dumpable), before);
    }

    fn an_identity_that_may_not_be_taken_is_told() {
        without_rights(|| {
            let told = |identity| refusal(&Setup { identity, ..Setup::default() });
            let mut groups = Identity::default();
            groups.set_groups([1]);
            let expected = (Step::Identity, Some(libc::EPERM));
            assert_eq!(told(Identity { uid: Some(1), ..Identity::default() }), expected);
            assert_eq!(told(Identity { gid: Some(1), ..Identity::default() }), expected);
            assert_eq!(told(groups), expected);
            let own = Identity { uid: Some(rustix::process::geteuid().as_raw()), ..Identity::default() };
            assert_eq!(run_with("exit 0", &Setup { identity: own, ..Setup::default() }), Some(0));
        });
    }

    fn a_failed_change_of_identity_leaves_this_process_as_it_can_be_traced() {
        without_rights(|| {
            let before = rustix::process::dumpable_behavior();
            let identity = Identity { uid: Some(1), gid: Some(OTHER_USER), ..Identity::default() };
            assert_eq!(refusal(&Setup { identity, ..Setup::default() }).0, Step::Identity);
            assert_eq!(rustix::process::dumpable_behavior(), before);
        });
    }

    fn a_directory_that_is_missing_is_told() {
        let nowhere = Some(Path::new("/no/such/directory"));
        let program = image_from("/bin/sh", &["sh", "-c", "exit 0"], nowhere);
        let error = spawn(&program.expect("it is there"), &Setup::default()).unwrap_err();
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Directory, Some(libc::ENOENT)));
    }

    fn the_child_may_gain_no_privileges() {
        let asks = |no_new_privileges, expected: u8| {
            let script = format!("grep -qx 'NoNewPrivs:	{expected}' /proc/self/status");
            run_with(&script, &Setup { no_new_privileges, ..Setup::default() })
        };
        assert_eq!((asks(true, 1), asks(false, 0)), (Some(0), Some(0)));
        assert_eq!(asks(true, 0), Some(1), "the control");
    }

    fn the_child_reads_its_own_number_in_the_environment() {
        let asks = |announces_id, script: &str| {
            run_with(script, &Setup { announces_id, ..Setup::default() })
        };
        assert_eq!(asks(true, "test $LISTEN_PID = $$"), Some(0));
        assert_eq!(asks(false, "test -z \"$LISTEN_PID\""), Some(0));
    }
}

/// How a child ends that is spawned from a thread which then ends: its input ends afterwards.
fn fate_after_the_thread(setup: Setup<'_>) -> std::process::ExitStatus {
    let (reader, writer) = open::pipe().expect("a pipe");
    let setup = Setup {
        placements: vec![Placement { source: reader.as_fd(), target: 0 }],
        closes_others: true,
        ..setup
    };
    let spawned = std::thread::scope(|scope| {
        scope.spawn(|| spawn(&shell("read x; exit 7"), &setup).expect("it starts")).join()
    });
    let spawned = spawned.expect("no panic");
    if setup.death_signal.is_some() {
        assert!(
            support::readable_within(spawned.pidfd.as_fd(), Duration::from_secs(60)),
            "it lives"
        );
    }
    drop(writer);
    process::wait(spawned.pidfd.as_fd()).expect("our child")
}

tests_alone! {
    fn the_child_is_told_of_the_death_of_the_thread_that_spawned_it() {
        let setup = || Setup { death_signal: Some(libc::SIGTERM), ..Setup::default() };
        assert_eq!(fate_after_the_thread(setup()).signal(), Some(libc::SIGTERM));
        assert_eq!(fate_after_the_thread(Setup::default()).code(), Some(7), "the control");
    }

    /// A change of identity clears it (`prctl(2)`).
    fn the_death_signal_outlasts_the_change_of_identity() {
        if !is_root("the death signal of a child with another identity") {
            return;
        }
        let setup = Setup {
            death_signal: Some(libc::SIGTERM),
            identity: other_user(),
            no_new_privileges: true,
            ..Setup::default()
        };
        assert_eq!(fate_after_the_thread(setup).signal(), Some(libc::SIGTERM));
    }

    fn a_death_signal_that_there_is_not_is_told() {
        for signal in [-1, 65, i32::MAX] {
            let setup = Setup { death_signal: Some(signal), ..Setup::default() };
            assert_eq!(refusal(&setup), (Step::DeathSignal, Some(libc::EINVAL)), "{signal}");
        }
    }

    fn a_number_beyond_the_limit_and_a_negative_one_are_told() {
        let source = labelled("x");
        let limit = rustix::process::getrlimit(Resource::Nofile).current.expect("a limit");
        for (target, errno) in [(limit as i32, libc::EBADF), (i32::MAX, libc::EBADF), (-1, libc::EINVAL)] {
            let placements = vec![Placement { source: source.as_fd(), target }];
            let told = refusal(&Setup { placements, ..Setup::default() });
            assert_eq!(told, (Step::Descriptor, Some(errno)), "{target}");
        }
    }
}

/// Lowers the limit of descriptors for the body.
fn limited_to(descriptors: u64, body: impl FnOnce()) {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let lowered = rustix::process::Rlimit { current: Some(descriptors), ..before };
    rustix::process::setrlimit(Resource::Nofile, lowered).expect("a limit can be lowered");
    body();
    rustix::process::setrlimit(Resource::Nofile, before).expect("back to what it was");
}

/// A copy of the descriptor under this number or the next free one.
fn copy_at(fd: &OwnedFd, number: i32) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(fd, number).expect("it is free")
}

/// Every source goes where the next one stands.
fn cycle(sources: &[OwnedFd]) -> Vec<Placement<'_>> {
    let targets = sources.iter().cycle().skip(1).map(AsRawFd::as_raw_fd);
    let each = sources.iter().zip(targets);
    each.map(|(source, target)| Placement { source: source.as_fd(), target }).collect()
}

tests_alone! {
    fn a_cycle_at_the_top_of_the_table_comes_out_right() {
        limited_to(64, || {
            let [a, b, c] = ["a", "b", "c"].map(labelled);
            let sources = [copy_at(&a, 63), copy_at(&b, 62), copy_at(&c, 61)];
            assert_eq!(sources.each_ref().map(AsRawFd::as_raw_fd), [63, 62, 61]);
            let script = [("a", 62), ("b", 61), ("c", 63)]
                .map(|(label, at)| format!("read x </proc/$$/fd/{at} && test $x = {label}"))
                .join(" && ");
            assert_eq!(run(&shell(&script), cycle(&sources)), 0);
        });
    }

    /// The parent needs room for the pidfd, and the child for two stand-ins.
    fn a_cycle_in_a_full_table_is_told_and_leaves_nothing() {
        let sources = ["a", "b"].map(labelled);
        for (free, step) in [(0, Step::Clone), (1, Step::Descriptor)] {
            let limit = FreeDescriptors::exactly(free);
            let told = spawn(&shell("exit 0"), &Setup { placements: cycle(&sources), ..Setup::default() });
            drop(limit);
            let error = told.map(drop).expect_err("there is no room");
            assert_eq!((error.step, error.source.raw_os_error()), (step, Some(libc::EMFILE)), "{free}");
            assert!(!support::has_children());
        }
        let limit = FreeDescriptors::exactly(2);
        let told = spawn(&shell("exit 0"), &Setup { placements: cycle(&sources), ..Setup::default() });
        drop(limit);
        let spawned = told.expect("the control: there is room");
        process::wait(spawned.pidfd.as_fd()).expect("our child");
    }
}

tests_alone! {
    /// The only free number is the highest there is, and another descriptor's target.
    fn a_cycle_with_no_room_but_another_ones_target_is_told() {
        let sources = ["a", "b"].map(labelled);
        let third = labelled("c");
        let limit = FreeDescriptors::exactly(1);
        let free = copy_at(&third, 0).as_raw_fd();
        let mut placements = cycle(&sources);
        placements.push(Placement { source: third.as_fd(), target: free });
        let told = spawn(&shell("exit 0"), &Setup { placements, ..Setup::default() });
        drop(limit);
        let error = told.map(drop).expect_err("there is no room");
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Descriptor, Some(libc::EMFILE)));
    }
}

/// A pipe that any program started here inherits, as another library's would be.
fn stray() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = open::pipe().expect("a pipe");
    rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty()).expect("open");
    (reader, writer)
}

/// Starts a child which keeps the other end of the stray open or not, and is told to.
fn others_are_closed(closes_others: bool) -> bool {
    let (reader, writer) = stray();
    let high = copy_at(&writer, 700);
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).expect("open");
    let wanted = labelled("wanted");
    let number = writer.as_raw_fd() + 1;
    let setup = Setup {
        placements: vec![Placement { source: wanted.as_fd(), target: number }],
        closes_others,
        ..Setup::default()
    };
    let inode = support::identity(&reader).1;
    let script = format!(
        "read x </proc/$$/fd/{number} && test $x = wanted || exit 9
         ls -l /proc/$$/fd | grep -qF 'pipe:[{inode}]' && exit 1 || exit 0"
    );
    match run_with(&script, &setup) {
        Some(0) => true,
        Some(1) => false,
        other => panic!("the shell ended with {other:?}"),
    }
}

tests_alone! {
    fn strays_of_other_libraries_are_closed_if_asked_for() {
        assert!(others_are_closed(true));
        assert!(!others_are_closed(false), "the control");
    }

    fn everything_from_3_on_is_closed_and_the_standard_ones_are_not() {
        let strays: Vec<_> = (0..40).map(|_| stray()).collect();
        let setup = Setup { closes_others: true, ..Setup::default() };
        // The one with which the shell lists the directory is closed by the time it looks.
        let script = r#"for fd in /proc/$$/fd/*; do test -L $fd && open="$open ${fd##*/}"; done
            test "$open" = " 0 1 2""#;
        assert_eq!(run_with(script, &setup), Some(0));
        assert_eq!(run_with(script, &Setup::default()), Some(1), "the control");
        drop(strays);
    }
}

/// Linux before 5.9, or a filter that does not know the call.
#[test]
fn without_close_range_the_strays_are_closed_by_the_list() {
    const PATH: &str =
        concat!(module_path!(), "::without_close_range_the_strays_are_closed_by_the_list");
    if support::is_alone(PATH) {
        return support::checked(|| {
            let strays: Vec<_> = (0..300).map(|_| stray()).collect();
            assert!(others_are_closed(true));
            drop(strays);
        });
    }
    if !support::has_program("strace", "spawning without close_range") {
        return;
    }
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let to = log.path().to_str().expect("a plain name");
    let inject = "inject=close_range:error=ENOSYS";
    let ran = support::rerun(PATH, &["strace", "-f", "-qq", "-o", to, "-e", inject]);
    assert!(ran.status.success(), "{}", ran.output);
    let log = std::fs::read_to_string(log.path()).expect("strace wrote it");
    assert!(log.contains("(INJECTED)"), "the control: nothing was injected");
}
