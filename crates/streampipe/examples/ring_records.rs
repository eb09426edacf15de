//! A worker at the speed of memory: records are written in place, many for each publication, and read in place.
//!
//! ```sh
//! cargo run --release -p streampipe --example ring_records
//! ```

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use streampipe::{Command, Engine, Stream};

const RECORDS: u64 = 1_000_000;
const RECORD: usize = 64;

/// How many records are published at once.
const BATCH: usize = 64;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("--worker") => work(),
        _ => feed(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ring_records: {error}");
            ExitCode::FAILURE
        }
    }
}

fn feed() -> io::Result<()> {
    let mut worker = Command::new(std::env::current_exe()?);
    let mut worker = worker.arg("--worker").engine(Engine::Ring).spawn()?;
    let started = Instant::now();
    let sum = send_all(worker.stream())?;
    let per_record = started.elapsed().as_nanos() / u128::from(RECORDS);
    let status = worker.wait()?;
    writeln!(io::stderr(), "{per_record} ns a record; the worker: {status}")?;
    writeln!(io::stdout(), "{RECORDS} records, sum {sum}")
}

/// Writes each batch where the worker reads it; returns the worker's sum.
fn send_all(worker: &mut Stream) -> io::Result<u64> {
    let mut number = 0;
    while number < RECORDS {
        let records = BATCH.min((RECORDS - number) as usize);
        let mut room = worker.reserve(records * RECORD)?;
        for at in 0..records {
            let mut record = [number as u8; RECORD];
            record[..8].copy_from_slice(&number.to_le_bytes());
            room.write_at(at * RECORD, &record);
            number += 1;
        }
        room.commit(records * RECORD)?;
    }
    worker.shutdown(std::net::Shutdown::Write)?;
    let mut sum = [0; 8];
    worker.read_exact(&mut sum)?;
    Ok(u64::from_le_bytes(sum))
}

fn work() -> io::Result<()> {
    let mut parent = streampipe::inherited()?;
    let (mut sum, mut record) = (0_u64, [0; RECORD]);
    loop {
        let mut there = parent.readable()?;
        if there.is_empty() {
            break;
        }
        // Only whole records come: each publication is of some.
        while there.len() >= RECORD {
            there.read_exact(&mut record)?;
            let number = record.first_chunk().copied().map_or(0, u64::from_le_bytes);
            sum = sum.wrapping_add(number);
        }
        there.release();
    }
    parent.write_all(&sum.to_le_bytes())
}
