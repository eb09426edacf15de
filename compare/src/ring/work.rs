//! What is measured of the ways: one way, there and back, paced, beside busy processes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::block::Block;
use super::forked::Forked;
use super::shared::Shared;
use super::team::{Team, Took};
use super::usage::Usage;
use super::ways::Way;
use crate::measure::median;
use crate::place::{Place, Processors};

/// How long one measurement takes, about, in nanoseconds.
const STINT: u64 = 25_000_000;

/// How many messages are paced.
const PACED: usize = 700;

/// A millisecond.
const INTERVAL: u64 = 1_000_000;

/// The median of what was measured, and the least and the most.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which way.
    pub name: &'static str,
    /// Nanoseconds a message.
    pub time: f64,
    /// The least and the most of all repeats.
    pub range: (f64, f64),
    /// Processor nanoseconds of both processes a message.
    pub cpu: f64,
    /// Switches between tasks, of both, a message.
    pub switches: f64,
}

/// How long round trips took.
#[derive(Clone, Copy, Debug)]
pub struct Trips {
    /// Which way.
    pub name: &'static str,
    /// p50, p99, p99.9 and the longest, in nanoseconds.
    pub times: [u64; 4],
    /// Processor nanoseconds of both processes a trip.
    pub cpu: f64,
}

/// What is to be measured, and where.
pub struct Works<'a> {
    /// The ways.
    pub ways: Vec<&'static Way>,
    /// Where the processes run.
    pub processors: &'a Processors,
    /// How often each is repeated.
    pub repeats: usize,
}

impl Works<'_> {
    fn teams(
        &self,
        place: Place,
        most: usize,
        takes: impl Fn(&Way) -> bool,
        notes: &Arc<Shared>,
    ) -> io::Result<Vec<Team>> {
        self.processors.settle(place)?;
        let mut teams = Vec::new();
        for way in self.ways.iter().copied().filter(|way| takes(way)) {
            teams.push(Team::start(way, most, place, Arc::clone(notes))?);
        }
        let mut open = Vec::new();
        for mut team in teams {
            match team.open() {
                Ok(()) => open.push(team),
                Err(error) => println!("\n{} is left out: {error}\n", team.way.name),
            }
        }
        Ok(open)
    }

    /// One way, blocks of one message, or of as many as the way takes at once.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn one_way(&self, place: Place, message: usize, batched: bool) -> io::Result<Vec<Row>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let takes =
            |way: &Way| message <= way.most && (!batched || way.batch > 1) && !is_mad(way, place);
        let most = if batched { 4096 * message } else { message };
        let mut teams = self.teams(place, most, takes, &notes)?;
        let block = |team: &Team| {
            if batched { Block::many(team.way.batch) } else { Block::one(message) }
        };
        let mut counts = Vec::new();
        for team in &mut teams {
            let block = block(team);
            // The second is no longer the first touch of the memory.
            let few = if message > 1 << 20 { 2 } else { 8 };
            team.one_way(block, few)?;
            let once = team.one_way(block, few)?.time / few as u64;
            counts.push((STINT / once.max(20)).clamp(2, 1_000_000) as usize);
        }
        let mut all: Vec<Vec<Took>> = teams.iter().map(|_| Vec::new()).collect();
        for repeat in 0..self.repeats {
            for offset in 0..teams.len() {
                let at = (repeat + offset) % teams.len();
                let block = block(&teams[at]);
                all[at].push(teams[at].one_way(block, counts[at])?);
            }
        }
        let rows = teams.iter().zip(counts).zip(all);
        Ok(rows
            .map(|((team, count), took)| {
                row(team.way.name, &took, (count * block(team).count) as f64)
            })
            .collect())
    }

    /// There and back.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn round_trips(&self, place: Place, message: usize) -> io::Result<Vec<Trips>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let takes = |way: &Way| message <= way.most && way.name != IN_PLACE && !is_mad(way, place);
        let mut teams = self.teams(place, message, takes, &notes)?;
        let mut times: Vec<(Vec<u64>, Usage)> = teams.iter().map(|_| Default::default()).collect();
        let mut counts = Vec::new();
        for team in &mut teams {
            let once = team.round_trips(Block::one(message), 50, &mut Vec::new())?.time / 50;
            counts.push((STINT / once.max(100)).clamp(20, 50_000) as usize);
        }
        for repeat in 0..self.repeats {
            for offset in 0..teams.len() {
                let at = (repeat + offset) % teams.len();
                let (times, usage) = &mut times[at];
                let took = teams[at].round_trips(Block::one(message), counts[at], times)?;
                *usage = *usage + took.usage;
            }
        }
        Ok(teams
            .iter()
            .zip(times)
            .map(|(team, (times, usage))| trips(team, times, usage))
            .collect())
    }

    /// A thousand messages a second: how late they come.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn paced(&self, place: Place) -> io::Result<Vec<Trips>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let takes = |way: &Way| way.name != IN_PLACE && !is_mad(way, place);
        let mut teams = self.teams(place, 64, takes, &notes)?;
        let mut all = Vec::new();
        for team in &mut teams {
            let (mut times, mut usage) = (Vec::new(), Usage::default());
            team.one_way(Block::one(64), 8)?;
            for _ in 0..2 {
                usage = usage + team.paced(Block::one(64), PACED, INTERVAL, &notes)?.usage;
                times.extend(notes.iter().map(|note| note.load(Relaxed)));
            }
            all.push(trips(team, times, usage));
        }
        Ok(all)
    }

    /// There and back, and one way, while two other processes want all of the processors.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn beside_busy(&self, place: Place) -> io::Result<(Vec<Trips>, Vec<Row>)> {
        let busy = [burn()?, burn()?];
        let done = self.round_trips(place, 64).and_then(|trips| {
            let rows = self.one_way(place, 4096, false)?;
            Ok((trips, rows))
        });
        drop(busy);
        done
    }
}

/// One publication for many; there and back it is the ring's own.
const IN_PLACE: &str = "ring, in place";

/// Whether it would wait for itself: one that never sleeps, on the processor of its peer.
fn is_mad(way: &Way, place: Place) -> bool {
    way.class == super::ways::Class::Spins && place.ours.is_some() && place.ours == place.theirs
}

/// A process that never stops computing, until it is dropped.
fn burn() -> io::Result<Forked> {
    Forked::start(|control| {
        control.set_nonblocking(true)?;
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
            if turns.is_multiple_of(1 << 22) {
                // The end of the control socket ends it.
                match io::Read::read(&mut &control, &mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return Ok(()),
                }
            }
        }
    })
}

fn row(name: &'static str, took: &[Took], messages: f64) -> Row {
    let per = |value: u64| value as f64 / messages;
    let mut times: Vec<f64> = took.iter().map(|took| per(took.time)).collect();
    let mut cpu: Vec<f64> = took.iter().map(|took| per(took.usage.cpu)).collect();
    let mut switches: Vec<f64> = took.iter().map(|took| per(took.usage.switches())).collect();
    let time = median(&mut times);
    let range = (times.first().copied().unwrap_or(0.0), times.last().copied().unwrap_or(0.0));
    Row { name, time, range, cpu: median(&mut cpu), switches: median(&mut switches) }
}

fn trips(team: &Team, mut times: Vec<u64>, usage: Usage) -> Trips {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let all = [at(0.5), at(0.99), at(0.999), at(1.0)];
    Trips { name: team.way.name, times: all, cpu: usage.cpu as f64 / times.len() as f64 }
}
