//! What `Command` has in common with std's does the same; and what the child is, besides.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Output;

use rustix::process::{DumpableBehavior, Gid, dumpable_behavior, getuid, set_dumpable_behavior};
use streampipe::os::linux::ChildExt;
use streampipe::{Command, Resource, SpawnStep, Stdio, UnreadableCommand};

use super::helpers::{HANG, alone_behind, may_be_dumpable_again, path_of, sh};
use crate::support::{self, tests_alone};

/// A user and a group without a name.
const USER: u32 = 54321;

/// Without the variable that leads the child to its end, which std's child does not have.
fn sorted_lines(output: &[u8]) -> Vec<Vec<u8>> {
    let lines = output.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let mut lines: Vec<_> = lines.filter(|line| !line.starts_with(b"STREAMPIPE_END=")).collect();
    lines.sort();
    lines
}

/// What is compared of two runs.
#[derive(Debug, PartialEq, Eq)]
struct Compared {
    status: String,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<u8>,
}

fn compared(ran: io::Result<Output>) -> Result<Compared, io::ErrorKind> {
    let Output { status, stdout, stderr } = ran.map_err(|error| error.kind())?;
    Ok(Compared { status: status.to_string(), stdout: sorted_lines(&stdout), stderr })
}

/// Something that is set on a command of std's.
type SetStd = fn(&mut std::process::Command) -> &mut std::process::Command;

/// Sets up both commands in the same way and runs both; returns what they agree on.
macro_rules! agreed {
    ($program:expr, |$command:ident| $setup:expr) => {{
        let theirs = {
            let mut $command = std::process::Command::new($program);
            let _ = $setup;
            compared($command.output())
        };
        let ours = {
            let mut $command = Command::new($program);
            let _ = $setup;
            compared($command.output())
        };
        assert_eq!(ours, theirs, "{}", stringify!(($program, $setup)));
        ours
    }};
}

/// Both run, with the same outcome.
macro_rules! same {
    ($($both:tt)*) => { agreed!($($both)*).expect("both run") };
}

/// Neither runs, for the same kind of reason.
macro_rules! same_error {
    ($($both:tt)*) => { agreed!($($both)*).expect_err("neither runs") };
}

/// The value of a field of `/proc/self/status`, as the child reads it.
fn status_field(command: &mut Command, name: &str) -> String {
    let output = command.arg("/proc/self/status").output().expect("there is cat");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("there is such a field").trim().to_owned()
}

/// A set of signals, as `/proc/self/status` shows it.
fn signals(field: &str) -> u64 {
    u64::from_str_radix(field, 16).expect("a set in hexadecimal")
}

fn is_root(what: &str) -> bool {
    let is_root = getuid().is_root();
    if !is_root {
        support::skip(what, "this is not root");
    }
    is_root
}

tests_alone! {
    fn arguments_and_environment_are_as_in_std() {
        let odd = OsStr::from_bytes(b"\xff\xfe 'quoted' \"too\"\t$HOME \\ \n*");
        same!("printf", |it| it.arg("%s|").arg(odd).arg("").args(["a b", "-x"]));
        same!("env", |it| it.env("A", "1").env("B", odd).env_remove("HOME"));
        same!("env", |it| it.envs([("A", "1"), ("B", "2")]).env("A", "3"));
        same!("/usr/bin/env", |it| it.env("A", "1").env_clear().env("B", "2").env_remove("B"));
        same!("env", |it| it.env_clear());
        same!("env", |it| it.env_remove("A").env("A", "1").env_remove("A"));
        same!("env", |it| it.env("", "empty").env("A=B", "C").env("D", ""));
        same!("sh", |it| it.args(["-c", "echo $0"]).arg0("another name"));
        same!("/bin/sh", |it| it.arg0("-sh").args(["-c", "echo $0 $PPID"]));
    }

    fn directories_and_searching_are_as_in_std() {
        let at = tempfile::tempdir().unwrap();
        let path = at.path();
        symlink("/bin/echo", path.join("tool")).unwrap();
        fs::write(path.join("forbidden"), "#!/bin/sh\n").unwrap();
        fs::create_dir(path.join("inner")).unwrap();
        let missing = path.join("missing");
        let lists = [
            path.display().to_string(),
            format!("{}:{}", missing.display(), path.display()),
            format!("::/usr/bin:{}", path.display()),
        ];
        for list in &lists {
            let ran = same!("tool", |it| it.arg("found").env("PATH", list));
            assert_eq!(ran.stdout.concat(), b"found");
        }
        // The control: it is nowhere else.
        let elsewhere = "/usr/bin:/bin";
        assert_eq!(same_error!("tool", |it| it.env("PATH", elsewhere)), io::ErrorKind::NotFound);
        same!("tool", |it| it.current_dir(path).env("PATH", ""));
        same!("tool", |it| it.current_dir(path).env("PATH", "."));
        same_error!("tool", |it| it.current_dir(path).env("PATH", "inner"));
        same!("./tool", |it| it.current_dir(path).arg("relative"));
        same!("../tool", |it| it.current_dir(path.join("inner")));
        same_error!("./tool", |it| it.current_dir(path.join("inner")));
        same!("pwd", |it| it.current_dir(path).env_remove("PWD"));
        same!("pwd", |it| it.env_clear().current_dir("/"));
        same_error!("forbidden", |it| it.env("PATH", path));
        same_error!("pwd", |it| it.current_dir(path.join("tool")));
    }

    fn what_cannot_be_started_is_the_same_kind_of_error_as_in_std() {
        let at = tempfile::tempdir().unwrap();
        let text = at.path().join("text");
        fs::write(&text, "no program\n").unwrap();
        let no_permission = same_error!(&text, |it| it);
        assert_eq!(no_permission, io::ErrorKind::PermissionDenied);
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        same_error!(at.path(), |it| it);
        same_error!("", |it| it);
        same_error!("/", |it| it);
        same_error!("no/such/program", |it| it);
        same_error!(format!("./{}", "x".repeat(300)), |it| it);
        same_error!("true", |it| it.arg("x".repeat(200_000)));
        same_error!("true", |it| it.arg("a\0b"));
        same_error!("true", |it| it.env("A", "a\0b"));
        same_error!("true", |it| it.current_dir("a\0b"));
        symlink("loop", at.path().join("loop")).unwrap();
        same_error!(at.path().join("loop"), |it| it);
    }

    fn a_path_that_cannot_be_is_the_same_kind_of_error_as_in_std() {
        let file = tempfile::NamedTempFile::new().unwrap();
        same_error!("x".repeat(300), |it| it);
        assert_eq!(same_error!(file.path().join("below"), |it| it), io::ErrorKind::NotADirectory);
    }

    fn a_program_with_a_nul_in_its_name_is_the_same_kind_of_error_as_in_std() {
        assert_eq!(same_error!("a\0b", |it| it), io::ErrorKind::InvalidInput);
        assert_eq!(same_error!("./a\0b", |it| it), io::ErrorKind::InvalidInput);
    }

    fn standard_descriptors_are_as_in_std() {
        let text = || support::file_with(b"from a file\n");
        same!("cat", |it| it.stdin(text()));
        same!("cat", |it| it);
        same!("cat", |it| it.stdin(std::process::Stdio::null()));
        same!("sh", |it| it.args(["-c", "echo out; echo err >&2"]).stdout(std::process::Stdio::null()));
        same!("sh", |it| it.args(["-c", "echo out; echo err >&2"]).stderr(std::process::Stdio::null()));
        same!("sh", |it| it.args(["-c", "readlink /proc/self/fd/0"]));
        same!("sh", |it| it.args(["-c", "exit 5"]));
        same!("sh", |it| it.args(["-c", "kill -9 $$"]));
        for stdio in [std::process::Stdio::from(text()), std::process::Stdio::from(std::fs::File::open("/dev/null").unwrap())] {
            let output = Command::new("cat").stdin(stdio).output().unwrap();
            assert!(output.status.success());
        }
    }

    fn a_file_is_written_to_as_standard_output_and_error() {
        let mut written = [0; 2].map(|_| support::file_with(b""));
        let script = "echo out; echo err >&2";
        let status = sh(script).stdout(&written[0]).stderr(&written[0]).status().unwrap();
        assert!(status.success());
        let mut theirs = std::process::Command::new("sh");
        theirs.args(["-c", script]).stdout(written[1].try_clone().unwrap());
        theirs.stderr(written[1].try_clone().unwrap()).status().unwrap();
        let texts = written.each_mut().map(|file| {
            let mut text = String::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(texts, ["out\nerr\n", "out\nerr\n"]);
    }

    fn a_pipe_to_and_from_another_child_works() {
        let mut first = Command::new("echo").arg("b\na").stdout(Stdio::piped()).spawn().unwrap();
        let middle = Command::new("sort")
            .stdin(first.stdout.take().unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(middle.wait_with_output().unwrap().stdout, b"a\nb\n");
        assert!(first.wait().unwrap().success());
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"through").unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"through");
    }

    fn what_is_inherited_as_a_standard_descriptor_stays_there_in_output() {
        let text = support::file_with(b"given");
        let output = Command::new("cat").inherit(text, 0).output().expect("0 is set, by inherit");
        assert_eq!(output.stdout, b"given");
    }

    fn a_variable_of_the_parents_own_descriptors_is_not_the_childs() {
        let path = path_of!(the_parents_own_variables_stay_here);
        let prefix = ["env", "LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=x", "STREAMPIPE_END=x"];
        let ran = support::rerun(path, &prefix);
        assert!(ran.status.success(), "{}", ran.output);
    }

    fn a_process_group_and_a_session_are_as_asked() {
        let fields = |command: &mut Command| -> Vec<u32> {
            let mut child = command.arg("/proc/self/stat").stdout(Stdio::piped()).spawn().unwrap();
            let mut text = String::new();
            child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            child.wait().unwrap();
            let fields = text.rsplit(')').next().unwrap().split_whitespace().skip(2).take(2);
            let numbers = fields.map(|field| field.parse().unwrap());
            std::iter::once(child.id()).chain(numbers).collect()
        };
        let own = fields(&mut Command::new("cat"));
        assert!(own[0] != own[1] && own[0] != own[2], "the control");
        let new_group = fields(Command::new("cat").process_group(0));
        assert_eq!((new_group[1], new_group[2]), (new_group[0], own[2]));
        let joined = fields(Command::new("cat").process_group(i32::try_from(own[1]).unwrap()));
        assert_eq!((joined[1], joined[2]), (own[1], own[2]));
        let session = fields(Command::new("cat").session());
        assert_eq!((session[1], session[2]), (session[0], session[0]));
        for bad in [-1, i32::MAX] {
            let error = Command::new("true").process_group(bad).spawn().unwrap_err();
            assert_eq!(error.step(), SpawnStep::Group, "{bad}: {error}");
        }
    }

    fn user_and_groups_are_as_in_std() {
        if !is_root("users and groups") {
            return;
        }
        // This thread's own, which std's children and ours get.
        rustix::thread::set_thread_groups(&[Gid::from_raw(7), Gid::from_raw(8)]).unwrap();
        let id = "id -u; id -ru; id -g; id -rg; id -G";
        same!("sh", |it| it.args(["-c", id]));
        let user = same!("sh", |it| it.args(["-c", id]).uid(USER));
        assert!(!user.stdout.concat().ends_with(b"7 8"), "root's groups went to another user");
        same!("sh", |it| it.args(["-c", id]).gid(USER));
        same!("sh", |it| it.args(["-c", id]).uid(USER).gid(USER));
        let mut command = sh(id);
        let output = command.uid(USER).gid(5).groups(&[5, 6, 9]).output().unwrap();
        assert_eq!(output.stdout, b"54321\n54321\n5\n5\n5 6 9\n");
        let mut cat = Command::new("cat");
        assert_eq!(status_field(cat.uid(USER).gid(5), "Uid").split_whitespace().collect::<Vec<_>>(), ["54321"; 4]);
        // The directory is entered as that user, as in std.
        let at = tempfile::tempdir().unwrap();
        fs::set_permissions(at.path(), fs::Permissions::from_mode(0o700)).unwrap();
        same!("pwd", |it| it.current_dir(at.path()));
        let closed = same_error!("pwd", |it| it.current_dir(at.path()).uid(USER));
        assert_eq!(closed, io::ErrorKind::PermissionDenied);
    }

    fn without_rights_a_change_of_identity_is_an_error() {
        if !is_root("giving up rights first") || !support::has_program("setpriv", "giving up rights") {
            return;
        }
        let user = USER.to_string();
        let path = path_of!(an_identity_that_may_not_be_taken);
        let ran = support::rerun(path, &["setpriv", "--reuid", &user, "--clear-groups"]);
        if ran.output.contains("failed to execute") {
            return support::skip("giving up rights", "another user may not execute this binary");
        }
        assert!(ran.status.success(), "{}", ran.output);
    }

    fn a_change_of_identity_leaves_the_parent_as_dumpable_as_it_was() {
        if !is_root("changing the identity") || !may_be_dumpable_again() {
            return;
        }
        for before in [DumpableBehavior::Dumpable, DumpableBehavior::NotDumpable] {
            set_dumpable_behavior(before).unwrap();
            assert!(sh("exit 0").uid(USER).gid(USER).status().unwrap().success());
            assert_eq!(dumpable_behavior().unwrap(), before);
            sh("exit 0").uid(USER).current_dir("/no/such/directory").spawn().unwrap_err();
            assert_eq!(dumpable_behavior().unwrap(), before);
        }
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        // The control: a change of identity in this process does it.
        rustix::thread::set_thread_res_uid(
            rustix::process::Uid::from_raw(USER),
            rustix::process::Uid::from_raw(USER),
            rustix::process::Uid::ROOT,
        )
        .unwrap();
        assert_ne!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    }

    fn limits_are_those_of_the_child_alone() {
        let own = || sh("ulimit -n; ulimit -c; ulimit -s").output().unwrap().stdout;
        let before = own();
        let mut command = sh("ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -t");
        command.rlimit(Resource::OpenFiles, Some(40), Some(41));
        command.rlimit(Resource::Core, Some(0), Some(0)).rlimit(Resource::Cpu, Some(77), None);
        assert_eq!(command.output().unwrap().stdout, b"40\n41\n0\n77\n");
        assert_eq!(own(), before);
        let error = sh("").rlimit(Resource::OpenFiles, Some(9), Some(8)).spawn().unwrap_err();
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Limit, Some(22)));
        // Descriptors are placed before the number of them is limited.
        let mut command = sh("echo x; readlink /proc/self/fd/30 >/dev/null");
        command.fd(30).rlimit(Resource::OpenFiles, Some(20), Some(20));
        assert!(command.output().unwrap().status.success());
    }

    fn new_privileges_are_given_up_when_asked() {
        assert_eq!(status_field(&mut Command::new("cat"), "NoNewPrivs"), "0");
        assert_eq!(status_field(Command::new("cat").no_new_privileges(), "NoNewPrivs"), "1");
        assert_eq!(status_field(Command::new("cat").untrusted(), "NoNewPrivs"), "1");
    }

    fn the_parent_death_signal_comes_when_the_thread_ends() {
        let (mut with, mut without) = std::thread::spawn(|| {
            let mut sleep = Command::new("sleep");
            let without = sleep.arg("100").spawn().unwrap();
            (sleep.parent_death_signal(12).spawn().unwrap(), without)
        })
        .join()
        .unwrap();
        let status = with.wait_timeout(HANG).unwrap().expect("the thread has ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(12));
        assert_eq!(without.try_wait().unwrap(), None, "the control");
        without.kill().unwrap();
        without.wait().unwrap();
        let error = Command::new("true").parent_death_signal(99).spawn().unwrap_err();
        assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::DeathSignal, Some(22)));
        if getuid().is_root() {
            // A change of identity, which clears it, comes before.
            let spawn = || Command::new("sleep").arg("100").uid(USER).parent_death_signal(12).spawn();
            let child = std::thread::spawn(spawn).join().unwrap().unwrap();
            assert!(support::readable_within(child.pidfd(), HANG), "it was cleared");
        }
    }

    fn what_std_lets_be_read_is_carried_over() {
        let mut theirs = std::process::Command::new("sh");
        theirs.args(["-c", "echo $0 $1 $A ${B-unset} $PWD", "a \"b\"\n stdin: Some(", "é"]);
        theirs.env("A", "x\n    uid: Some(\n").env_remove("B").current_dir("/usr");
        let expected = theirs.output().unwrap();
        // Running it has set nothing that lasts.
        let mut ours = Command::try_from(&theirs).unwrap();
        assert_eq!(ours.output().unwrap(), expected);
        let mut cleared = std::process::Command::new("env");
        cleared.env("A", "gone").env_clear().env("C", "clear: true,");
        let ours = Command::try_from(&cleared).unwrap().output().unwrap();
        assert_eq!(sorted_lines(&ours.stdout), sorted_lines(&cleared.output().unwrap().stdout));
        let mut uncleared = std::process::Command::new("env");
        uncleared.env("C", "clear: true,").arg("--").args(["        clear: true,"; 0]);
        let ours = Command::try_from(&uncleared).unwrap().output().unwrap();
        assert_eq!(sorted_lines(&ours.stdout), sorted_lines(&uncleared.output().unwrap().stdout));
    }

    fn simple_standard_descriptors_of_std_are_carried_over() {
        let mut theirs = std::process::Command::new("sh");
        theirs.args(["-c", "cat; echo out; echo error >&2"]);
        theirs.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        theirs.stderr(std::process::Stdio::piped());
        let child = Command::try_from(&theirs).unwrap().spawn().unwrap();
        assert!(child.stdin.is_none());
        assert_eq!(child.wait_with_output().unwrap(), theirs.output().unwrap());
    }

    fn what_std_does_not_let_be_read_is_refused_by_name() {
        let refused = |set: SetStd| {
            let mut theirs = std::process::Command::new("true");
            set(&mut theirs);
            Command::try_from(&theirs).map(drop)
        };
        let settings: [(&str, SetStd); 7] = [
            ("stdin", |it| it.stdin(File::open("/dev/null").unwrap())),
            ("stdout", |it| it.stdout(std::io::stderr())),
            ("stderr", |it| it.stderr(File::open("/dev/null").unwrap())),
            ("uid", |it| it.uid(1)),
            ("gid", |it| it.gid(1)),
            ("process_group", |it| it.process_group(0)),
            ("arg0", |it| it.arg0("other")),
        ];
        for (name, set) in settings {
            let error: UnreadableCommand = refused(set).expect_err(name);
            assert_eq!(error.settings, [name]);
            assert!(error.to_string().contains(name), "{error}");
        }
        refused(|it| it).expect("the control: nothing is set");
        let both = refused(|it| it.uid(1).arg0("x")).unwrap_err();
        assert_eq!(both.settings, ["uid", "arg0"]);
    }

    fn a_program_with_an_unusual_name_is_carried_over() {
        for name in ["it's", "é", "a \"b\"", "tab\there"] {
            let mut theirs = std::process::Command::new(name);
            theirs.arg("x");
            Command::try_from(&theirs).map(drop).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        }
    }
}

#[test]
fn the_parents_own_variables_stay_here() {
    support::alone(path_of!(the_parents_own_variables_stay_here), || {
        let own = |command: &mut Command| {
            let output = command.arg("x").output().expect("a shell");
            String::from_utf8(output.stdout).expect("text")
        };
        let script = "echo ${LISTEN_FDS-none} ${LISTEN_PID-none} ${LISTEN_FDNAMES-none}";
        assert_eq!(own(&mut sh(script)), "none none none\n");
        assert_eq!(own(sh(script).env("LISTEN_FDS", "set")), "set none none\n");
        let end = own(&mut sh("echo $STREAMPIPE_END"));
        assert!(end.starts_with("1:3:stream:"), "{end}");
    });
}

#[test]
fn an_identity_that_may_not_be_taken() {
    support::alone(path_of!(an_identity_that_may_not_be_taken), || {
        if getuid().is_root() {
            return;
        }
        for arrange in [
            |it: &mut Command| {
                it.uid(0);
            },
            |it: &mut Command| {
                it.groups(&[0]);
            },
        ] {
            let mut command = Command::new("true");
            arrange(&mut command);
            let error = command.spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Identity, Some(1)));
        }
        assert!(Command::new("true").uid(getuid().as_raw()).status().unwrap().success());
    });
}

/// Behind `env`, which blocks and ignores signals as a careless parent would.
#[test]
fn a_child_starts_with_no_signal_blocked_and_sigpipe_at_its_default() {
    const PATH: &str = path_of!(a_child_starts_with_no_signal_blocked_and_sigpipe_at_its_default);
    let prefix = ["env", "--block-signal=USR1,TERM,PIPE", "--ignore-signal=USR2,HUP"];
    alone_behind(PATH, &prefix, || {
        let own = fs::read_to_string("/proc/thread-self/status").unwrap();
        let own_field = |name: &str| {
            signals(own.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim())
        };
        let bit = |signal: u32| 1_u64 << (signal - 1);
        let (usr1, usr2, hup, pipe) = (bit(10), bit(12), bit(1), bit(13));
        assert_eq!(own_field("SigBlk:") & usr1, usr1, "the control");
        assert_eq!(own_field("SigIgn:") & (usr2 | hup | pipe), usr2 | hup | pipe, "the control");
        let field = |name| signals(&status_field(&mut Command::new("cat"), name));
        assert_eq!(field("SigBlk"), 0);
        assert_eq!(field("SigIgn") & (usr2 | hup | pipe), usr2 | hup, "ignored stays, but for one");
        assert_eq!(field("SigCgt"), 0);
        let theirs = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        let theirs = theirs.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        // The C library, which starts std's children, ignores two signals of its own there.
        let others = !(bit(32) | bit(33));
        assert_eq!(signals(theirs.unwrap().trim()) & others, field("SigIgn") & others);
        // And this thread is as it was.
        let after = fs::read_to_string("/proc/thread-self/status").unwrap();
        for name in ["SigBlk:", "SigIgn:"] {
            let line = after.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert_eq!(signals(line.trim()), own_field(name));
        }
    });
}
