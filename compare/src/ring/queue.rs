//! The upper bound: a queue between two threads of one process, which nobody has to distrust.

use std::io;
use std::thread;

use super::block::{Block, RECORD};
use super::clock;
use crate::measure::median;
use crate::place::{Place, pin};

const MESSAGES: u64 = 2_000_000;
const DEPTH: usize = 4096;
const TURNS: u64 = 200_000;

type Record = [u8; RECORD];

/// Nanoseconds a message of 64 bytes, one way.
///
/// # Errors
///
/// The kernel's.
pub fn one_way(place: Place, repeats: usize) -> io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..repeats {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(DEPTH);
        let reader = thread::spawn(move || {
            place.theirs.map_or(Ok(()), pin)?;
            let mut block = Block::one(RECORD);
            while block.sequence < MESSAGES {
                if let Ok(record) = consumer.pop() {
                    block.check(&record, 0)?;
                    block = block.next();
                }
            }
            io::Result::Ok(clock::now())
        });
        place.ours.map_or(Ok(()), pin)?;
        let started = clock::now();
        let mut block = Block::one(RECORD);
        let mut record = [0; RECORD];
        while block.sequence < MESSAGES {
            block.fill(&mut record, 0);
            while producer.push(record).is_err() {
                std::hint::spin_loop();
            }
            block = block.next();
        }
        let finished = reader.join().map_err(|_| io::Error::other("a thread panicked"))??;
        times.push((finished - started) as f64 / MESSAGES as f64);
    }
    Ok(median(&mut times))
}

/// The p50 of a message of 64 bytes there and back, in nanoseconds.
///
/// # Errors
///
/// The kernel's.
pub fn round_trip(place: Place) -> io::Result<u64> {
    let (mut there, mut theirs) = rtrb::RingBuffer::<Record>::new(DEPTH);
    let (mut back, mut ours) = rtrb::RingBuffer::<Record>::new(DEPTH);
    let echo = thread::spawn(move || {
        place.theirs.map_or(Ok(()), pin)?;
        for _ in 0..TURNS {
            let record = pop(&mut theirs);
            back.push(record).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    });
    place.ours.map_or(Ok(()), pin)?;
    let mut times = Vec::new();
    let mut block = Block::one(RECORD);
    let mut record = [0; RECORD];
    for _ in 0..TURNS {
        let started = clock::now();
        block.fill(&mut record, 0);
        there.push(record).map_err(io::Error::other)?;
        block.check(&pop(&mut ours), 0)?;
        times.push(clock::now() - started);
        block = block.next();
    }
    echo.join().map_err(|_| io::Error::other("a thread panicked"))??;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn pop(queue: &mut rtrb::Consumer<Record>) -> Record {
    loop {
        match queue.pop() {
            Ok(record) => return record,
            Err(_) => std::hint::spin_loop(),
        }
    }
}
