//! A pool of worker programs: each holds one end, is fed by one thread, and is replaced if it dies.
//!
//! One of the numbers is fatal to the first worker that meets it; it is asked again of a new one, and
//! every number gets its answer.
//!
//! ```sh
//! cargo run -p streampipe --example command_pool
//! ```

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use streampipe::{Child, Command};

const WORKERS: usize = 3;
const NUMBERS: std::ops::Range<u32> = 1..31;

/// A worker that meets this dies, as long as it is told that it is of the first generation.
const FATAL: u32 = 13;

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let done = match role.as_deref() {
        Some("--worker") => work(),
        _ => run_pool(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "command_pool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_pool() -> io::Result<()> {
    let numbers = Mutex::new(NUMBERS);
    let (results, collected) = channel();
    thread::scope(|scope| -> io::Result<()> {
        let feeders: Vec<_> = (0..WORKERS)
            .map(|_| {
                let results = results.clone();
                scope.spawn(|| feed_one(&numbers, results))
            })
            .collect();
        feeders.into_iter().try_for_each(|feeder| feeder.join().expect("it does not panic"))
    })?;
    drop(results);
    let mut answers: Vec<(u32, u64)> = collected.into_iter().collect();
    answers.sort_unstable();
    let sum: u64 = answers.iter().map(|(_, square)| square).sum();
    writeln!(io::stdout(), "{} answers, sum of squares {sum}", answers.len())
}

/// Feeds one worker until no number is left.
fn feed_one(numbers: &Mutex<std::ops::Range<u32>>, results: Sender<(u32, u64)>) -> io::Result<()> {
    let next = || numbers.lock().expect("no feeder panics").next();
    let mut worker = start("first")?;
    while let Some(number) = next() {
        let square = match ask(&mut worker, number) {
            Ok(square) => square,
            Err(error) => {
                // Whatever became of it: its status is there, nothing of it is left, and the
                // number is asked again.
                let status = worker.wait()?;
                writeln!(io::stderr(), "replaced a worker ({error}; {status})")?;
                worker = start("second")?;
                ask(&mut worker, number)?
            }
        };
        results.send((number, square)).expect("the collector waits");
    }
    worker.stop()?;
    Ok(())
}

fn start(generation: &str) -> io::Result<Child> {
    Ok(Command::new("/proc/self/exe").args(["--worker", generation]).spawn()?)
}

/// One question and its answer. A worker that dies makes this an error, never a wait.
fn ask(worker: &mut Child, number: u32) -> io::Result<u64> {
    let mut answer = [0; 8];
    worker.stream().write_all(&number.to_ne_bytes())?;
    worker.stream().read_exact(&mut answer)?;
    Ok(u64::from_ne_bytes(answer))
}

/// The worker: squares until its end is over.
fn work() -> io::Result<()> {
    let is_first = std::env::args().nth(2).is_some_and(|generation| generation == "first");
    let mut parent = streampipe::inherited()?;
    let mut question = [0; 4];
    while parent.read_exact(&mut question).is_ok() {
        let number = u32::from_ne_bytes(question);
        if number == FATAL && is_first {
            std::process::abort();
        }
        parent.write_all(&(u64::from(number) * u64::from(number)).to_ne_bytes())?;
    }
    Ok(())
}
