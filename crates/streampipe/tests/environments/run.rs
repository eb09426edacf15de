//! Runs the probe in an environment, and compares what it said with what must come of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use crate::calls;
use crate::confine;
use crate::parts::AROUND;
use crate::probe::{INSIDE, PROGRAM};
use crate::steps::{COMMAND, STEPS};
use crate::worlds::{self, World};

/// The argument that makes this program install a filter, and then be the rest of its arguments.
pub(crate) const LAUNCH: &str = "--behind-the-filter-of";

/// As the harness of `std` does, for those whose names have the first argument in them.
pub(crate) fn all() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let chosen = tests().into_iter().filter(|test| test.name().contains(filter));
    let (tests, others): (Vec<Test>, Vec<Test>) =
        chosen.partition(|test| match (has("--ignored"), has("--include-ignored")) {
            (_, true) => true,
            (only, false) => test.ignored().is_some() == only,
        });
    if has("--list") {
        tests.iter().for_each(|test| say(&format!("{}: test\n", test.name())));
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests\n", tests.len()));
    for test in &others {
        if let Some(why) = test.ignored() {
            say(&format!("test {} ... ignored, {why}\n", test.name()));
        }
    }
    if built_command().is_none() {
        say(
            "skipped: the command: it is not built, or its sources have changed since (cargo build)\n",
        );
    }
    let count = tests.len();
    let failed = run(tests);
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {verdict}. {} passed; {failed} failed; {} ignored; 0 measured; 0 filtered out\n\n",
        count - failed,
        others.len()
    ));
    ExitCode::from(u8::from(failed > 0))
}

/// An environment, or what is said of all of them.
enum Test {
    In(Box<World>),
    Table,
}

fn tests() -> Vec<Test> {
    [Test::Table]
        .into_iter()
        .chain(worlds::all().into_iter().map(|world| Test::In(Box::new(world))))
        .collect()
}

impl Test {
    fn name(&self) -> &str {
        match self {
            Self::In(world) => &world.name,
            Self::Table => "PLATFORM.md has a row for each call",
        }
    }

    fn ignored(&self) -> Option<&'static str> {
        match self {
            Self::In(world) => world.ignored,
            Self::Table => None,
        }
    }

    fn verdict(&self) -> Result<Verdict, String> {
        match self {
            Self::In(world) => judged(world),
            Self::Table => calls::compare_with_the_document().map(|()| Verdict::AsExpected),
        }
    }
}

/// Runs them, as many at once as there are processors; how many failed.
fn run(tests: Vec<Test>) -> usize {
    let failed = Mutex::new(0);
    let queue = Mutex::new(tests.into_iter());
    let next = || queue.lock().expect("nobody panicked").next();
    let work = || {
        while let Some(test) = next() {
            let name = test.name();
            say(&match test.verdict() {
                Ok(Verdict::AsExpected) => format!("test {name} ... ok\n"),
                Ok(Verdict::Skipped(why)) => {
                    format!("skipped: {name}: {why}\ntest {name} ... ok\n")
                }
                Err(text) => {
                    *failed.lock().expect("nobody panicked") += 1;
                    format!("test {name} ... FAILED\n{text}\n")
                }
            });
        }
    };
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    failed.into_inner().expect("nobody panicked")
}

fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

enum Verdict {
    AsExpected,
    Skipped(String),
}

/// Runs the probe there; an error is all that was not as expected.
fn judged(world: &World) -> Result<Verdict, String> {
    if let Some(why) = why_not(&world.around) {
        return Ok(Verdict::Skipped(why));
    }
    let failed = |error: io::Error| format!("the probe does not start: {error}");
    let ran = Ran::of(world).map_err(failed)?;
    let mut wrong = ran.compared(world);
    if let Some(log) = &world.trace {
        let log = std::fs::read_to_string(log.path()).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        wrong.extend(calls::strangers(&log, &program));
    }
    if std::env::var_os("PROBE_WORDS").is_some() {
        say(&format!("{}:\n{}\n", world.name, ran.words));
    }
    if wrong.is_empty() {
        return Ok(Verdict::AsExpected);
    }
    Err(format!("{}\nit printed:\n{}", wrong.join("\n"), ran.printed))
}

/// Why a program cannot be run behind these words, if it cannot.
fn why_not(around: &[String]) -> Option<String> {
    let (program, args) = around.split_first()?;
    let mut tried = Command::new(program);
    match program.as_str() {
        // The one has no exit code of its own, the other finds no program by its name.
        debugger_or_emulator
            if ["gdb", "qemu-"].iter().any(|it| debugger_or_emulator.starts_with(it)) =>
        {
            tried.arg("--version")
        }
        _ => tried.args(args).arg("true"),
    };
    let tried = tried.stdin(Stdio::null()).output();
    match tried {
        Err(error) => Some(format!("{program}: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")),
    }
}

/// What came of it.
struct Ran {
    words: String,
    printed: String,
    /// What is wrong with the run as a whole.
    faults: Vec<String>,
}

impl Ran {
    fn of(world: &World) -> io::Result<Self> {
        let (words, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let mut printed = tempfile::tempfile()?;
        let started = Instant::now();
        let mut child = command(world)?.stdout(writer).stderr(printed.try_clone()?).spawn()?;
        let (words, is_whole) = read_until(words, started + world.limit)?;
        let mut faults = Vec::new();
        if !is_whole {
            faults.push(format!("after {:?}, it or a process that it left still ran", world.limit));
        }
        let status =
            ended(&mut child, if is_whole { Duration::from_secs(30) } else { Duration::ZERO })?;
        match status {
            Some(status) if status.success() => {}
            Some(status) => faults.push(format!("the probe ended with {status}")),
            None => faults.push("the probe did not end".to_owned()),
        }
        let mut text = Vec::new();
        printed.seek(SeekFrom::Start(0))?;
        printed.read_to_end(&mut text)?;
        Ok(Self { words, printed: String::from_utf8_lossy(&text).into_owned(), faults })
    }

    fn compared(&self, world: &World) -> Vec<String> {
        let mut wrong = self.faults.clone();
        for (step, _) in STEPS {
            let line = self.words.lines().find_map(|line| line.strip_prefix(&format!("{step}: ")));
            let fails = world.fails.iter().find(|fails| fails.step == *step);
            let Some(line) = line else {
                wrong.push(format!("{step}: was not made"));
                continue;
            };
            let as_expected = match fails {
                None => line == "ok",
                Some(fails) if line == "ok" => !fails.always,
                Some(fails) => {
                    line.starts_with("error: ")
                        && line.contains(fails.said)
                        && !line.contains("LEFT ")
                }
            };
            if !as_expected {
                let instead = fails.map_or("ok", |fails| fails.said);
                wrong.push(format!("{step}: {line}\n    instead of: {instead}"));
            }
        }
        let stops = self.printed.matches("Breakpoint 1, ").count();
        if world.stops && stops != STEPS.len() {
            wrong
                .push(format!("the debugger stopped in front of {stops} of {} steps", STEPS.len()));
        }
        wrong
    }
}

/// The shell gives the probe's words a number of their own.
fn command(world: &World) -> io::Result<Command> {
    let this = std::env::current_exe()?;
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9>&1 1>&2; exec \"$@\"", "sh"]);
    if !world.filter.is_empty() {
        command.arg(&this).arg(LAUNCH).arg(&world.name);
    }
    command.args(&world.around).arg(&this);
    command.env(PROGRAM, this).env(INSIDE, world.inside.word());
    command.envs(built_command().map(|path| (COMMAND, path)));
    command.envs(world.around_parts.iter().map(|emulator| (AROUND, emulator)));
    command.stdin(Stdio::null()).process_group(0);
    Ok(command)
}

/// Installs the filter of the environment that is named, and becomes what is behind it.
pub(crate) fn launch() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(2).collect();
    let named = worlds::all().into_iter().find(|world| *world.name == *args[0]);
    let filter = named.expect("a name from the list").filter;
    if let Err(error) = confine::filter(&filter) {
        say(&format!("a filter cannot be installed: {error}\n"));
        return ExitCode::FAILURE;
    }
    let error = Command::new(&args[1]).args(&args[2..]).exec();
    say(&format!("behind the filter: {error}\n"));
    ExitCode::FAILURE
}

/// Reads until all who could write have closed it, or the time is up; says whether they have.
fn read_until(words: OwnedFd, deadline: Instant) -> io::Result<(String, bool)> {
    let mut words = File::from(words);
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    let mut is_whole = false;
    while !is_whole && is_readable(&words, deadline)? {
        match words.read(&mut buffer)? {
            0 => is_whole = true,
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    Ok((String::from_utf8_lossy(&read).into_owned(), is_whole))
}

fn is_readable(file: &File, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("a short time");
    let mut watched = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, Some(&left)))?;
    Ok(ready > 0)
}

/// How the probe ended; if it does not, it and its group are killed.
fn ended(child: &mut Child, limit: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let pid = Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let in_time = is_readable(&File::from(pidfd), Instant::now() + limit)?;
    // What it left is in its group, too.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(in_time.then_some(status))
}

/// The command of this build, if it is there: other tests are for it, so it may be missing, or of an earlier build.
fn built_command() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let command = this.parent()?.parent()?.join("streampipe");
    let built = command.metadata().ok()?.modified().ok()?;
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let names =
        ["streampipe", "streampipe-cli", "streampipe-ring", "streampipe-sys", "streampipe-wire"];
    let newest = names.iter().filter_map(|name| newest_in(&crates.join(name).join("src"))).max()?;
    (newest <= built).then_some(command)
}

/// When the youngest file in this folder, or in those in it, was written.
fn newest_in(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let written = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() { newest_in(&path) } else { entry.metadata().ok()?.modified().ok() }
    });
    written.max()
}
