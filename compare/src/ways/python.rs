//! Python's `multiprocessing.Pipe`: both processes are Python's, told by this one what to measure.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::exchange::Driver;
use crate::message::Load;
use crate::peer::{Kind, Task, shown};
use crate::place::Place;
use crate::race::Batch;
use crate::ways::Way;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ways/pipe.py");

/// `send` and `recv` of a tuple.
pub const OBJECTS: PythonPipe =
    PythonPipe { name: "python-objects", title: "Python Pipe, objects", sends: "objects" };
/// `send_bytes` and `recv_bytes`.
pub const BYTES: PythonPipe =
    PythonPipe { name: "python-bytes", title: "Python Pipe, bytes", sends: "bytes" };

/// A `multiprocessing.Pipe` whose other end a `multiprocessing.Process` has.
pub struct PythonPipe {
    name: &'static str,
    title: &'static str,
    sends: &'static str,
}

impl Way for PythonPipe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn takes_part(&self, kind: Kind) -> bool {
        kind == Kind::Messages || self.name == OBJECTS.name
    }

    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>> {
        let sends = match task.kind {
            Kind::Messages => self.sends,
            Kind::Descriptors => "descriptors",
        };
        Ok(Box::new(Python::start(sends, task.place)?))
    }

    fn serve(&self, _kind: Kind, _name: &str) -> io::Result<()> {
        // Its peer is Python's own.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn pairs(&self) -> Option<io::Result<Batch>> {
        (self.name == OBJECTS.name).then(|| batch("pairs"))
    }

    fn first_answers(&self) -> Option<io::Result<Batch>> {
        Some(batch("starts"))
    }
}

/// What Python does without a channel that stays.
fn batch(command: &'static str) -> io::Result<Batch> {
    let mut python = Python::start("nothing", Place::ANYWHERE)?;
    Ok(Box::new(move |count, times| {
        times.extend(python.ask(format_args!("{command} {count}"))?);
        Ok(())
    }))
}

/// The process that measures; it ends when its standard input does.
struct Python {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start(sends: &str, place: Place) -> io::Result<Self> {
        let mut process = Command::new("python3")
            .args(["-B", SCRIPT, sends, &shown(place.ours), &shown(place.theirs)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("python3: {error}")))?;
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self { process, commands, answers })
    }

    /// Has something measured; returns the nanoseconds.
    fn ask(&mut self, command: std::fmt::Arguments<'_>) -> io::Result<Vec<u64>> {
        if let Some(commands) = &mut self.commands {
            writeln!(commands, "{command}")?;
        }
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::Error::other("python3 ended; see its standard error"));
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.process.wait();
    }
}

impl Driver for Python {
    fn round_trips(&mut self, load: Load, count: usize, times: &mut Vec<u64>) -> io::Result<()> {
        let Load { size, descriptors } = load;
        times.extend(self.ask(format_args!("trips {size} {descriptors} {count}"))?);
        Ok(())
    }

    fn train(&mut self, load: Load, count: usize) -> io::Result<Duration> {
        let times = self.ask(format_args!("train {} {count}", load.size))?;
        Ok(Duration::from_nanos(times.iter().sum()))
    }
}
