//! P11: `Ok` means that `exec` succeeded, an error that nothing is left, whatever the number.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use streampipe::{Command, Resource, SpawnError, SpawnStep, Stdio};

use super::helpers::{Set, Traces, all_of, link_of, path_of, pipe, sh};
use crate::support::{self, tests_alone};

/// Set for the child that is this binary: the number its end must have.
const NUMBER: &str = "STREAMPIPE_TEST_NUMBER";

/// Where the end goes while another descriptor has the number that is tested.
const ASIDE: i32 = 70;

/// Files that cannot be started, each in its own way.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        let programs = Self(tempfile::tempdir().expect("a temporary directory"));
        programs.write("plain", 0o644, "#!/bin/sh\n");
        programs.write("nonsense", 0o755, "no program at all\n");
        programs.write("lost", 0o755, "#!/no/such/interpreter\n");
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, mode: u32, content: &str) {
        let path = self.path(name);
        fs::write(&path, content).expect("room");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// All the ways to fail, with the step and the error number that must be told.
    fn failures(&self) -> Vec<(Command, SpawnStep, i32)> {
        let at = |name| Command::new(self.path(name));
        let mut too_long = Command::new("true");
        too_long.arg("x".repeat(200_000));
        let mut nowhere = Command::new("true");
        nowhere.current_dir("/no/such/directory");
        vec![
            (Command::new("no-such-program"), SpawnStep::Find, 2),
            (at("missing"), SpawnStep::Find, 2),
            (at("plain"), SpawnStep::Find, 13),
            (at(""), SpawnStep::Find, 13),
            (at("nonsense"), SpawnStep::Exec, 8),
            (at("lost"), SpawnStep::Exec, 2),
            (too_long, SpawnStep::Exec, 7),
            (nowhere, SpawnStep::Directory, 2),
        ]
    }
}

fn check(error: &SpawnError, step: SpawnStep, errno: i32, what: &str) {
    assert_eq!((error.step(), error.raw_os_error()), (step, Some(errno)), "{what}: {error}");
}

/// What came through a pipe whose writing ends are all closed.
fn bytes_in(mut pipe: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe");
    bytes
}

tests_alone! {
    fn a_failed_start_is_told_whatever_the_number_of_the_end() {
        let programs = Programs::new();
        let before = Traces::before();
        for number in 0..=64 {
            for (mut command, step, errno) in programs.failures() {
                let error = command.fd(number).spawn().unwrap_err();
                check(&error, step, errno, &format!("end at {number}"));
                assert_eq!(before.left(), None, "end at {number}: {error}");
            }
        }
    }

    /// command-fds, and all that is built on `pre_exec`, says `Ok` for some of these numbers and
    /// writes its error record into the user's pipe.
    fn a_failed_start_is_told_whatever_the_number_of_a_pipe_and_writes_nothing_into_it() {
        let programs = Programs::new();
        let before = Traces::before();
        for number in 0..=64 {
            for (mut command, step, errno) in programs.failures() {
                let (given_reader, given) = pipe();
                let (lent_reader, lent) = pipe();
                command.fd(ASIDE).inherit(given, number);
                command.inherit(&lent, ASIDE + 1);
                let error = command.spawn().unwrap_err();
                check(&error, step, errno, &format!("a pipe at {number}"));
                drop((command, lent));
                assert_eq!(bytes_in(given_reader), b"", "bytes of ours in a pipe at {number}");
                assert_eq!(bytes_in(lent_reader), b"", "bytes of ours in a pipe");
                assert_eq!(before.left(), None, "a pipe at {number}: {error}");
            }
        }
    }

    fn a_failed_start_leaves_nothing_when_everything_is_piped() {
        let programs = Programs::new();
        let before = Traces::before();
        let arrangements: [Set; 4] = [
            |it| it.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()),
            |it| it.on_stdio().stderr(Stdio::null()),
            |it| it.on_stdio_socket().stderr(Stdio::piped()),
            |it| it.listen_fds(["end"]).untrusted().expect_hello(),
        ];
        for arrange in arrangements {
            for (mut command, step, errno) in programs.failures() {
                let error = arrange(&mut command).spawn().unwrap_err();
                check(&error, step, errno, "all piped");
                assert_eq!(before.left(), None, "{error}");
                let from_output = arrange(&mut command).output().unwrap_err();
                let inside = from_output.get_ref().and_then(|it| it.downcast_ref::<SpawnError>());
                check(inside.expect("our own kind"), step, errno, "output");
                let from_status = command.status().unwrap_err();
                assert_eq!(from_status.kind(), error.kind());
                assert_eq!(before.left(), None, "{error}");
            }
        }
    }

    /// The control: each thing that a start could leave is seen.
    fn what_a_start_could_leave_is_noticed() {
        let before = Traces::before();
        let mut zombie = std::process::Command::new("true").spawn().unwrap();
        assert_eq!(before.left().as_deref(), Some("a child"));
        zombie.wait().unwrap();
        let file = support::file_with(b"");
        assert!(before.left().is_some_and(|left| left.starts_with("descriptors")));
        drop(file);
        assert_eq!(before.left(), None);
        let (reader, writer) = pipe();
        let script = "exec /no/such/program 2>&1";
        let mut shell = std::process::Command::new("sh");
        // A start through a shell is `Ok`, and the failure a matter of the exit code and of bytes.
        let mut child = shell.args(["-c", script]).stdout(writer).spawn().expect("the shell runs");
        assert_eq!(child.wait().unwrap().code(), Some(127));
        drop(shell);
        assert_ne!(bytes_in(reader), b"");
    }

    fn a_program_that_starts_finds_its_end_under_every_number() {
        let program = std::env::current_exe().unwrap();
        for number in (0..=64).filter(|number| *number != 1) {
            // Number 1 is where the harness of this binary would write.
            let mut child = Command::new(&program)
                .args(["spawn::truth::a_child_that_was_given_a_number", "--exact"])
                .env(NUMBER, number.to_string())
                .stdout_unless(number)
                .fd(number)
                .spawn()
                .unwrap_or_else(|error| panic!("end at {number}: {error}"));
            assert_eq!(all_of(child.stream()), number.to_string().as_bytes(), "end at {number}");
            assert!(child.wait().unwrap().success(), "end at {number}");
        }
        for number in 0..=9 {
            let mut child = sh(&format!("echo here >&{number}")).fd(number).spawn().unwrap();
            assert_eq!(all_of(child.stream()), b"here\n", "end at {number}");
            assert!(child.wait().unwrap().success());
        }
    }

    fn a_program_that_starts_finds_what_it_inherits_under_every_number() {
        for number in 0..=64 {
            let name = tempfile::NamedTempFile::new().unwrap();
            let file = File::options().read(true).write(true).open(name.path()).unwrap();
            let link = link_of(&file);
            let output = Command::new("readlink")
                .arg(format!("/proc/self/fd/{number}"))
                .inherit(file, number)
                .fd(ASIDE)
                .output_at(number)
                .unwrap_or_else(|error| panic!("a file at {number}: {error}"));
            let said = if number == 1 { fs::read(name.path()).unwrap() } else { output };
            assert_eq!(String::from_utf8_lossy(&said).trim_end(), link, "a file at {number}");
        }
    }

    fn what_was_given_is_still_there_after_a_failed_start() {
        let programs = Programs::new();
        let before = Traces::before();
        let path = programs.path("later");
        let mut command = Command::new(&path);
        command.inherit(support::file_with(b"kept"), 7);
        check(&command.spawn().unwrap_err(), SpawnStep::Find, 2, "not there yet");
        programs.write("later", 0o755, "#!/bin/sh\ncat <&7\n");
        // Another thread's fork may hold the file open for writing meanwhile: none is here.
        assert_eq!(command.output().unwrap().stdout, b"kept");
        drop(command);
        assert_eq!(before.left(), None);
    }

    fn each_error_has_a_name_a_number_and_a_sentence() {
        let programs = Programs::new();
        for (mut command, step, errno) in programs.failures() {
            let error = command.spawn().unwrap_err();
            let text = error.to_string();
            assert!(text.contains("was not started") && text.contains(&step.to_string()), "{text}");
            let kind = error.kind();
            assert_eq!(kind, std::io::Error::from_raw_os_error(errno).kind());
            assert_eq!(std::io::Error::from(error).kind(), kind);
        }
    }
}

/// Arrangements that depend on the number under test.
trait Numbered {
    /// Standard output to nowhere, unless the end is there.
    fn stdout_unless(&mut self, number: i32) -> &mut Self;
    /// As `output`, but for the number that is taken.
    fn output_at(&mut self, number: i32) -> std::io::Result<Vec<u8>>;
}

impl Numbered for Command {
    fn stdout_unless(&mut self, number: i32) -> &mut Self {
        if number == 1 { self } else { self.stdout(Stdio::null()) }
    }

    fn output_at(&mut self, number: i32) -> std::io::Result<Vec<u8>> {
        if number != 1 {
            self.stdout(Stdio::piped());
        }
        let output = self.spawn()?.wait_with_output()?;
        assert!(output.status.success(), "{output:?}");
        Ok(output.stdout)
    }
}

/// Not a test by itself: the child of one above.
#[test]
fn a_child_that_was_given_a_number() {
    let Some(number) = std::env::var_os(NUMBER) else { return };
    let mut end = streampipe::inherited().expect("the parent prepared an end");
    // A standard number is left to `/dev/null` when the end is taken from it.
    let held = OsString::from(end.as_raw_fd().to_string());
    let is_standard = ["0", "1", "2"].iter().any(|standard| number == *standard);
    assert!(held == number || is_standard, "{held:?}, not {number:?}");
    end.write_all(number.as_encoded_bytes()).expect("the parent listens");
}

/// What `strace` says that each process called: in front of its first successful `exec` of the
/// program, and behind it.
fn calls_around_exec(trace: &str, program: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let lines = || {
        trace.lines().filter_map(|line| {
            let (process, call) = line.split_once(' ')?;
            let (name, arguments) = call.trim_start().split_once('(')?;
            Some((process, name, arguments))
        })
    };
    let is_exec = |name: &str, arguments: &str| name == "execve" && arguments.contains(program);
    let execs = lines().filter(|(_, name, arguments)| is_exec(name, arguments));
    let children: BTreeSet<&str> = execs.map(|(process, ..)| process).collect();
    let (mut before, mut behind) = (BTreeSet::new(), BTreeSet::new());
    for child in children {
        let mut has_execed = false;
        for (_, name, arguments) in lines().filter(|(process, ..)| *process == child) {
            has_execed |= is_exec(name, arguments);
            if has_execed { &mut behind } else { &mut before }.insert(name.to_owned());
        }
    }
    (before, behind)
}

/// P12: no allocation, no lock, nothing but these calls between the clone and `exec`.
#[test]
fn between_clone_and_exec_only_calls_of_the_list_are_made() {
    const PATH: &str = path_of!(between_clone_and_exec_only_calls_of_the_list_are_made);
    const LIST: &str = "rt_sigaction setsid setpgid close_range fcntl dup2 dup3 prlimit64 setgroups \
                        setresgid setresuid chdir prctl getppid getpid rt_sigprocmask \
                        fcntl64 setgroups32 setresgid32 setresuid32";
    if support::is_alone(PATH) {
        return support::checked(start_with_everything);
    }
    if !support::has_program("strace", "the calls between clone and exec") {
        return;
    }
    let trace = tempfile::NamedTempFile::new().expect("a temporary file");
    let to = trace.path().to_str().expect("text");
    let ran = support::rerun(PATH, &["strace", "-f", "-qq", "-o", to]);
    assert!(ran.status.success(), "{}", ran.output);
    let trace = fs::read_to_string(trace.path()).expect("the trace");
    let (before, behind) = calls_around_exec(&trace, "true\"");
    let mut list: BTreeSet<String> = LIST.split_whitespace().map(str::to_owned).collect();
    // Where `close_range` does not know the flag (before Linux 5.11), the list of open ones is walked.
    if trace.lines().any(|line| line.contains("close_range(") && line.contains(") = -1 ")) {
        list.extend(["open", "openat", "getdents64", "close"].map(str::to_owned));
    }
    assert_eq!(before.difference(&list).collect::<Vec<_>>(), Vec::<&String>::new());
    // The control: the calls are seen, and a program that allocates would stand out.
    for made in ["close_range", "chdir", "prctl", "prlimit64", "getpid"] {
        assert!(before.contains(made), "{made} is not in {before:?}");
    }
    assert!(behind.difference(&list).any(|name| name.starts_with("mmap")), "{behind:?}");
}

/// Starts that need all steps, beside threads that allocate.
fn start_with_everything() {
    let files = [0; 3].map(|_| support::file_with(b""));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![0_u8; 1000]));
                    std::thread::yield_now();
                }
            });
        }
        for round in 0..10 {
            let mut command = Command::new("true");
            for (at, file) in files.iter().enumerate() {
                let given = file.try_clone().expect("a duplicate");
                command.inherit(given, 4 + i32::try_from((at + round) % 3).expect("small"));
            }
            command.session().rlimit(Resource::Core, Some(0), Some(0)).current_dir("/");
            command.no_new_privileges().parent_death_signal(9).listen_fds(["end"]);
            if rustix::process::getuid().is_root() {
                command.uid(0).gid(0).groups(&[0]);
            }
            assert!(command.status().expect("it starts").success());
        }
        stop.store(true, Ordering::Relaxed);
    });
}
