//! A pool over a zygote: workers are forked on demand by a small process, one for each job.
//!
//! The classic use of a stream pipe with descriptor passing. What happens at each `fork`:
//!
//! ```text
//!   this process                 the zygote                     the worker
//!        │ "fork", over the           │                             ·
//!        │ zygote's stream pipe ────▶ │ socketpair, fork ─────────▶ │ holds one end, nothing else
//!        │ ◀──── the other end, and   │                             │
//!        │       the worker's pidfd,  │ closes its copy             │
//!        │       as descriptors       │                             │
//!        │ ◀──────────────────── bytes, both ways ────────────────▶ │
//! ```
//!
//! The worker starts with all that was set up before the zygote was: here, a table.
//!
//! ```sh
//! cargo run -p streampipe --example zygote_pool
//! ```

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use streampipe::{Channel, Stream, Zygote};

const THREADS: u32 = 2;
const JOBS: u32 = 20;

fn main() -> ExitCode {
    match run_pool() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "zygote_pool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_pool() -> io::Result<()> {
    // First thing, while there is one thread: what exists now is in every worker, for free.
    let squares: Vec<u64> = (0..1000).map(|number| number * number).collect();
    let (zygote, deaths) = Zygote::start_reporting(move |stream| work(stream, &squares))?;

    // From here on this process may grow, and have as many threads as it likes.
    let sums = thread::scope(|scope| {
        let zygote = &zygote;
        let start = |first| scope.spawn(move || run_jobs(zygote, first));
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        joined.collect::<io::Result<Vec<u64>>>()
    })?;
    writeln!(io::stdout(), "{JOBS} jobs, sum of squares {}", sums.iter().sum::<u64>())?;

    // Each worker's death was reported, too.
    drop(zygote);
    let mut well = 0;
    while let Some(death) = deaths.recv()? {
        well += u32::from(death.status.is_some_and(|status| status.success()));
    }
    writeln!(io::stdout(), "{well} workers ended well")
}

/// A worker for each job of this thread's.
fn run_jobs(zygote: &Zygote, first: u32) -> io::Result<u64> {
    let mut sum = 0;
    for job in (first..JOBS).step_by(THREADS as usize) {
        let mut worker = zygote.fork()?;
        let square_of = worker.take_channel::<u32, u64>().expect("it was not taken yet");
        sum += square_of.call(job)?;
        drop(square_of);
        worker.wait()?;
    }
    Ok(sum)
}

/// The worker: a copy of the process as it was at the start, with one end in its hand.
fn work(stream: Stream, squares: &[u64]) -> i32 {
    let jobs = Channel::<u64, u32>::from(stream);
    let served = jobs.serve(|job| squares.get(job as usize).copied().unwrap_or(0));
    i32::from(served.is_err())
}
