//! What it costs to have a pair.

use std::io;

use streampipe::{Engine, Wait};

use super::clock;
use super::forked::{Forked, hear, tell};
use super::ways::{streampipe_pair, unix_pair};

const TIMES: usize = 300;

/// p50 and p99 in microseconds: of the pair and its end, and of pair, fork, first byte and end.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Which way.
    pub name: &'static str,
    /// The pair, and dropping it.
    pub pair: [f64; 2],
    /// With a fork that sends a byte.
    pub forked: [f64; 2],
}

/// Measures the socket pair and the ring.
///
/// # Errors
///
/// The kernel's.
pub fn all() -> io::Result<Vec<Setup>> {
    let ring = || streampipe_pair(Engine::Ring, Wait::Adaptive);
    Ok(vec![
        Setup {
            name: "socketpair",
            pair: quantiles(|| unix_pair(None).map(drop))?,
            forked: quantiles(|| first_byte(unix_pair(None)?))?,
        },
        Setup {
            name: "ring",
            pair: quantiles(|| ring().map(drop))?,
            forked: quantiles(|| first_byte(ring()?))?,
        },
    ])
}

fn first_byte<T: io::Read + io::Write>((mut ours, theirs): (T, T)) -> io::Result<()> {
    let mut theirs = Some(theirs);
    let mut other = Forked::start(|mut control| {
        if let Some(mut theirs) = theirs.take() {
            theirs.write_all(b"!")?;
        }
        hear(&mut control)
    })?;
    drop(theirs);
    ours.read_exact(&mut [0])?;
    tell(other.control())
}

fn quantiles(mut work: impl FnMut() -> io::Result<()>) -> io::Result<[f64; 2]> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let started = clock::now();
        work()?;
        times.push((clock::now() - started) as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok([times[TIMES / 2], times[TIMES * 99 / 100]])
}
