//! One process that serves a thousand others, with one thread and tokio.
//!
//! A zygote forks the workers; each calls the server over its own channel a few times, with a descriptor now and then,
//! and ends. The server holds all thousand ends at once.
//!
//! ```sh
//! cargo run -p streampipe --example tokio_server --features tokio
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use streampipe::{Channel, Fd, Stream, Worker, Zygote};
use tokio::task::JoinSet;

const WORKERS: u64 = 1000;
const CALLS: u64 = 5;

/// What a worker asks.
#[derive(Serialize, Deserialize)]
enum Ask {
    Square(u64),
    /// How long is this file?
    Length(Fd),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tokio_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // First, while there is one thread.
    let zygote = Zygote::start(work)?;
    make_room()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut workers, answers) = runtime.block_on(serve_all(&zygote))?;
    writeln!(io::stdout(), "{answers} answers to {} workers", workers.len())?;
    let mut well = 0;
    for worker in &mut workers {
        well += u32::from(worker.wait()?.success());
    }
    writeln!(io::stdout(), "{well} workers ended well")
}

/// Starts all workers, then serves them all at once.
async fn serve_all(zygote: &Zygote) -> io::Result<(Vec<Worker>, u64)> {
    let (mut workers, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..WORKERS {
        let mut worker = zygote.fork()?;
        ends.push(worker.take_stream().expect("it was not taken yet"));
        workers.push(worker);
    }
    let mut serving = JoinSet::new();
    for end in ends {
        serving.spawn(serve(end));
    }
    let mut answers = 0;
    while let Some(served) = serving.join_next().await {
        answers += served.expect("a server does not panic")?;
    }
    Ok((workers, answers))
}

/// Serves one worker until it ends; returns how many answers it got.
async fn serve(end: Stream) -> io::Result<u64> {
    let channel = streampipe::tokio::Channel::<u64, Ask>::try_from(end)?;
    let mut answers = 0;
    channel
        .serve(|ask| {
            answers += 1;
            async move {
                match ask {
                    Ask::Square(number) => number * number,
                    Ask::Length(fd) => File::from(fd).metadata().map_or(0, |file| file.len()),
                }
            }
        })
        .await?;
    Ok(answers)
}

/// A worker: it calls, checks, and ends.
fn work(stream: Stream) -> i32 {
    i32::from(ask_all(&Channel::from(stream)).is_err())
}

fn ask_all(server: &Channel<Ask, u64>) -> io::Result<()> {
    for number in 1..CALLS {
        if server.call(Ask::Square(number))? != number * number {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let file = File::open("/proc/self/exe")?;
    let length = file.metadata()?.len();
    if server.call(Ask::Length(file.into()))? == length {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Each worker takes a handful of descriptors here.
fn make_room() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
