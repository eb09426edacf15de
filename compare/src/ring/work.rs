//! What is measured of the ways: one way, there and back, paced, beside busy processes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::block::Block;
use super::forked::Forked;
use super::shared::Shared;
use super::table::{Table, Without};
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

/// A team, as long as it does not fail.
struct Runner {
    team: Team,
    failed: Option<String>,
}

impl Runner {
    /// Has the team do something; one that fails drops out.
    fn run<T>(&mut self, work: impl FnOnce(&mut Team) -> io::Result<T>) -> Option<T> {
        if self.failed.is_some() {
            return None;
        }
        match work(&mut self.team) {
            Ok(done) => Some(done),
            Err(error) => {
                self.failed = Some(error.to_string());
                None
            }
        }
    }
}

/// The teams of one table, and the ways that have none.
struct Race {
    runners: Vec<Runner>,
    without: Vec<Without>,
}

impl Race {
    /// Has all do this, so many times, in turns: whoever comes first is another one each time.
    fn repeat(&mut self, repeats: usize, mut work: impl FnMut(usize, &mut Runner)) {
        let count = self.runners.len();
        for repeat in 0..repeats {
            for offset in 0..count {
                let at = (repeat + offset) % count;
                work(at, &mut self.runners[at]);
            }
        }
    }

    /// A row for each that has not failed.
    fn table<R>(self, mut row: impl FnMut(usize, &Team) -> R) -> Table<R> {
        let Self { runners, mut without } = self;
        let mut rows = Vec::new();
        for (at, Runner { team, failed }) in runners.into_iter().enumerate() {
            match failed {
                None => rows.push(row(at, &team)),
                Some(why) => without.push(Without { name: team.way.name, why }),
            }
        }
        Table { rows, without }
    }
}

impl Works<'_> {
    fn race(
        &self,
        place: Place,
        most: usize,
        lacks: impl Fn(&Way) -> Option<String>,
        notes: &Arc<Shared>,
    ) -> io::Result<Race> {
        self.processors.settle(place)?;
        let (mut teams, mut without) = (Vec::new(), Vec::new());
        for way in self.ways.iter().copied() {
            match lacks(way).or_else(|| is_mad(way, place)) {
                None => teams.push(Team::start(way, most, place, Arc::clone(notes))?),
                Some(why) => without.push(Without { name: way.name, why }),
            }
        }
        let mut runners = Vec::new();
        for mut team in teams {
            let failed = team.open().err().map(|error| error.to_string());
            runners.push(Runner { team, failed });
        }
        Ok(Race { runners, without })
    }

    /// One way, blocks of one message, or of as many as the way takes at once.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn one_way(&self, place: Place, message: usize, batched: bool) -> io::Result<Table<Row>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let lacks = |way: &Way| match way {
            way if message > way.most => {
                Some(format!("takes no message above {}", crate::works::bytes(way.most)))
            }
            way if batched && way.batch == 1 => Some("sends no more than one a call".to_owned()),
            _ => None,
        };
        let most = if batched { 4096 * message } else { message };
        let mut race = self.race(place, most, lacks, &notes)?;
        let block = |team: &Team| {
            if batched { Block::many(team.way.batch) } else { Block::one(message) }
        };
        let mut counts = Vec::new();
        for runner in &mut race.runners {
            // The second is no longer the first touch of the memory.
            let few = if message > 1 << 20 { 2 } else { 8 };
            let once = runner.run(|team| {
                team.one_way(block(team), few)?;
                Ok(team.one_way(block(team), few)?.time / few as u64)
            });
            counts.push((STINT / once.unwrap_or(0).max(20)).clamp(2, 1_000_000) as usize);
        }
        let mut all: Vec<Vec<Took>> = counts.iter().map(|_| Vec::new()).collect();
        race.repeat(self.repeats, |at, runner| {
            all[at].extend(runner.run(|team| team.one_way(block(team), counts[at])));
        });
        Ok(race.table(|at, team| {
            row(team.way.name, &all[at], (counts[at] * block(team).count) as f64)
        }))
    }

    /// There and back.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn round_trips(&self, place: Place, message: usize) -> io::Result<Table<Trips>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let mut race = self.race(place, message, is_for_many, &notes)?;
        let mut counts = Vec::new();
        for runner in &mut race.runners {
            let once = runner.run(|team| {
                Ok(team.round_trips(Block::one(message), 50, &mut Vec::new())?.time / 50)
            });
            counts.push((STINT / once.unwrap_or(0).max(100)).clamp(20, 50_000) as usize);
        }
        let mut all: Vec<(Vec<u64>, Usage)> = counts.iter().map(|_| Default::default()).collect();
        race.repeat(self.repeats, |at, runner| {
            let (times, usage) = &mut all[at];
            let took = runner.run(|team| team.round_trips(Block::one(message), counts[at], times));
            *usage = *usage + took.unwrap_or_default().usage;
        });
        Ok(race.table(|at, team| {
            let (times, usage) = std::mem::take(&mut all[at]);
            trips(team, times, usage)
        }))
    }

    /// A thousand messages a second: how late they come.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn paced(&self, place: Place) -> io::Result<Table<Trips>> {
        let notes = Arc::new(Shared::new(PACED)?);
        let mut race = self.race(place, 64, is_for_many, &notes)?;
        let mut all: Vec<(Vec<u64>, Usage)> =
            race.runners.iter().map(|_| Default::default()).collect();
        for (runner, (times, usage)) in race.runners.iter_mut().zip(&mut all) {
            runner.run(|team| {
                team.one_way(Block::one(64), 8)?;
                for _ in 0..2 {
                    *usage = *usage + team.paced(Block::one(64), PACED, INTERVAL, &notes)?.usage;
                    times.extend(notes.iter().map(|note| note.load(Relaxed)));
                }
                Ok(())
            });
        }
        Ok(race.table(|at, team| {
            let (times, usage) = std::mem::take(&mut all[at]);
            trips(team, times, usage)
        }))
    }

    /// There and back, and one way, while two other processes want all of the processors.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn beside_busy(&self, place: Place) -> io::Result<(Table<Trips>, Table<Row>)> {
        let busy = [burn()?, burn()?];
        let done = self.round_trips(place, 64).and_then(|trips| {
            let rows = self.one_way(place, 4096, false)?;
            Ok((trips, rows))
        });
        drop(busy);
        done
    }
}

/// Why it has no figures for messages that come alone: there, it is the ring's own.
fn is_for_many(way: &Way) -> Option<String> {
    (way.name == "ring, in place").then(|| "as `ring` where small messages come alone".to_owned())
}

/// Why it would wait for itself, if it would: it never sleeps, on the processor of its peer.
fn is_mad(way: &Way, place: Place) -> Option<String> {
    let mad = way.class == super::ways::Class::Spins
        && place.ours.is_some()
        && place.ours == place.theirs;
    mad.then(|| "never sleeps, and would wait for itself on its peer's processor".to_owned())
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
