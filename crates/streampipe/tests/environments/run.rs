//! Runs the probe in an environment, and compares what it said with what must come of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use crate::confine;
use crate::probe::{INSIDE, PROGRAM};
use crate::steps::STEPS;
use crate::worlds::{self, World};

/// The argument that makes this program install a filter, and then be the rest of its arguments.
pub(crate) const LAUNCH: &str = "--behind-the-filter-of";

/// As the harness of `std` does, for those whose names have the first argument in them.
pub(crate) fn all() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let chosen = worlds::all().into_iter().filter(|world| world.name.contains(filter));
    let (worlds, ignored): (Vec<World>, Vec<World>) =
        chosen.partition(|world| match (has("--ignored"), has("--include-ignored")) {
            (_, true) => true,
            (only, false) => world.ignored.is_some() == only,
        });
    for world in ignored.iter().filter(|world| world.ignored.is_some()) {
        say(&format!("ignored: {}: {}\n", world.name, world.ignored.unwrap_or_default()));
    }
    if args.iter().any(|arg| arg == "--list") {
        worlds.iter().for_each(|world| say(&format!("{}: test\n", world.name)));
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests\n", worlds.len()));
    let (count, failed) = (worlds.len(), Mutex::new(0));
    let queue = Mutex::new(worlds.into_iter());
    let next = || queue.lock().expect("nobody panicked").next();
    let work = || {
        while let Some(world) = next() {
            let verdict = judged(&world);
            if verdict.is_err() {
                *failed.lock().expect("nobody panicked") += 1;
            }
            say(&match verdict {
                Ok(Verdict::AsExpected) => format!("test {} ... ok\n", world.name),
                Ok(Verdict::Skipped(why)) => {
                    format!("skipped: {}: {why}\ntest {} ... ok\n", world.name, world.name)
                }
                Err(text) => format!("test {} ... FAILED\n{text}\n", world.name),
            });
        }
    };
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    let failed = *failed.lock().expect("nobody panicked");
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {verdict}. {} passed; {failed} failed; {} ignored; 0 measured; 0 filtered out\n\n",
        count - failed,
        ignored.len()
    ));
    ExitCode::from(u8::from(failed > 0))
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
    let ran = Ran::of(world).map_err(|error| format!("the probe does not start: {error}"))?;
    let wrong = ran.compared(world);
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
