//! A pool of worker programs: each holds one end, is fed by one thread, and is replaced if it dies.
//!
//! One of the numbers is fatal to the first worker that meets it; it is asked again of a new one, and
//! every number gets its answer.
//!
//! ```sh
//! cargo run -p streampipe --example command_pool
//! ```

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;

use streampipe::{Channel, Child, Command};

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
    let (results, collected) = mpsc::channel();
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
    let (mut worker, mut square_of) = start("first")?;
    while let Some(number) = next() {
        // A worker that dies makes this an error, never a wait.
        let square = match square_of.call(number) {
            Ok(square) => square,
            Err(error) => {
                // Whatever became of it: its status is there, nothing of it is left, and the
                // number is asked again.
                let status = worker.wait()?;
                writeln!(io::stderr(), "replaced a worker ({error}; {status})")?;
                (worker, square_of) = start("second")?;
                square_of.call(number)?
            }
        };
        results.send((number, square)).expect("the collector waits");
    }
    drop(square_of);
    worker.stop()?;
    Ok(())
}

fn start(generation: &str) -> io::Result<(Child, Channel<u32, u64>)> {
    let mut worker = Command::new("/proc/self/exe").args(["--worker", generation]).spawn()?;
    let channel = worker.take_channel().expect("it was not taken yet");
    Ok((worker, channel))
}

/// The worker: squares until its end is over.
fn work() -> io::Result<()> {
    let is_first = std::env::args().nth(2).is_some_and(|generation| generation == "first");
    let parent = Channel::<u64, u32>::from(streampipe::inherited()?);
    Ok(parent.serve(|number| {
        if number == FATAL && is_first {
            std::process::abort();
        }
        u64::from(number) * u64::from(number)
    })?)
}
