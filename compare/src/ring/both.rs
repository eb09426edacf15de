//! Both directions at once, against one: two threads in each process.

use std::io::{self, Read, Write};
use std::thread;

use streampipe::{Engine, Wait};

use super::block::Block;
use super::clock;
use super::forked::{Forked, hear, tell};
use super::ways::{streampipe_pair, unix_pair};
use crate::measure::median;

const CALL: usize = 64 << 10;
const CALLS: usize = 20_000;

/// GB/s of one direction, and of both together.
#[derive(Clone, Copy, Debug)]
pub struct Both {
    /// Which way.
    pub name: &'static str,
    /// One direction.
    pub one: f64,
    /// The sum of both at once.
    pub both: f64,
}

/// Measures one direction, or both, in GB/s.
type Measure = fn(bool) -> io::Result<f64>;

/// Measures the ring and the socket pair, in turns.
///
/// # Errors
///
/// The kernel's.
pub fn all(repeats: usize) -> io::Result<Vec<Both>> {
    let ways: [(&'static str, Measure); 2] = [("socketpair", sockets), ("ring", rings)];
    let mut rates = [const { (Vec::new(), Vec::new()) }; 2];
    for _ in 0..repeats {
        for (at, (_, measure)) in ways.iter().enumerate() {
            rates[at].0.push(measure(false)?);
            rates[at].1.push(measure(true)?);
        }
    }
    let named = ways.iter().zip(&mut rates);
    Ok(named
        .map(|((name, _), (one, both))| Both { name, one: median(one), both: median(both) })
        .collect())
}

fn sockets(both: bool) -> io::Result<f64> {
    let (a, b) = unix_pair(None)?;
    let (a2, b2) = (a.try_clone()?, b.try_clone()?);
    run((a, a2), (b, b2), both)
}

fn rings(both: bool) -> io::Result<f64> {
    let (a, b) = streampipe_pair(Engine::Ring, Wait::Adaptive)?;
    let (a2, b2) = (a.try_clone()?, b.try_clone()?);
    run((a, a2), (b, b2), both)
}

fn run<T: Read + Write + Send + 'static>(
    ours: (T, T),
    theirs: (T, T),
    both: bool,
) -> io::Result<f64> {
    let mut ours = Some(ours);
    let mut other = Forked::start(|mut control| {
        drop(ours.take());
        let (reader, writer) = theirs;
        let back = both.then(|| thread::spawn(move || send(writer)));
        receive(reader)?;
        if let Some(back) = back {
            back.join().map_err(|_| io::Error::other("a thread panicked"))??;
        }
        tell(&mut control)
    })?;
    let Some((writer, reader)) = ours else { return Err(io::ErrorKind::NotConnected.into()) };
    let started = clock::now();
    let back = both.then(|| thread::spawn(move || receive(reader)));
    send(writer)?;
    if let Some(back) = back {
        back.join().map_err(|_| io::Error::other("a thread panicked"))??;
    }
    hear(other.control())?;
    let bytes = CALL * CALLS * (1 + usize::from(both));
    Ok(bytes as f64 / (clock::now() - started) as f64)
}

fn send(mut writer: impl Write) -> io::Result<()> {
    let (mut block, mut buffer) = (Block::one(CALL), vec![0; CALL]);
    for _ in 0..CALLS {
        block.fill(&mut buffer, 0);
        writer.write_all(&buffer)?;
        block = block.next();
    }
    Ok(())
}

fn receive(mut reader: impl Read) -> io::Result<()> {
    let (mut block, mut buffer) = (Block::one(CALL), vec![0; CALL]);
    for _ in 0..CALLS {
        reader.read_exact(&mut buffer)?;
        block.check(&buffer, 0)?;
        block = block.next();
    }
    Ok(())
}
