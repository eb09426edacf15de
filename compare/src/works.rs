//! What is measured of the ways: round trips, trains of messages, descriptors, and setting up.

use std::io;
use std::time::Instant;

use crate::exchange::{Driver, nanoseconds_since};
use crate::message::Load;
use crate::peer::{Kind, Task};
use crate::place::{Place, Processors};
use crate::race::{Batch, Entrant, Row, race};
use crate::ways::{BASE, Way};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Messages of a train, of which the last is answered.
const TRAIN: usize = 1000;
/// From here on a message is large: fewer rounds, and two processors alone.
const LARGE: usize = MIB;
const HUGE: usize = 64 * MIB;
/// The payload beside descriptors.
const BESIDE: usize = 64;

/// The sizes of the round trips.
pub const SIZES: [usize; 5] = [64, 4 * KIB, 64 * KIB, MIB, HUGE];

/// How often things are done.
#[derive(Clone, Copy)]
pub struct Rounds {
    /// Of what takes microseconds.
    pub small: usize,
    /// Of messages of 64 MiB.
    pub huge: usize,
    /// Of starting processes.
    pub starts: usize,
}

/// Measures some ways and prints tables.
pub struct Works<'a> {
    /// The ways, in the order of the tables.
    pub ways: &'a [&'static dyn Way],
    /// Where the processes can be put.
    pub processors: &'a Processors,
    /// How often.
    pub rounds: Rounds,
}

/// The p50 of a way's round trips in nanoseconds, by size.
pub type Curve = (&'static str, Vec<(usize, f64)>);

/// The curves of all ways in one placement.
pub struct Panel {
    /// Which placement.
    pub title: String,
    /// A curve for each way.
    pub curves: Vec<Curve>,
}

/// What a number in a table is.
#[derive(Clone, Copy)]
enum Unit {
    /// The time of one.
    Time,
    /// As many of them in a second.
    Rate,
}

impl Works<'_> {
    /// All works, in both placements; returns the round trips of each.
    ///
    /// # Errors
    ///
    /// The kernel's, about processors.
    pub fn all(&self) -> io::Result<Vec<Panel>> {
        let one = self.processors.one();
        let mut panels = vec![self.placed("both processes on one processor", one, LARGE)?];
        match self.processors.two() {
            Some(two) => panels.push(self.placed("a processor for each", two, usize::MAX)?),
            None => println!("\nA processor for each: skipped, this process may use only one.\n"),
        }
        self.processors.settle(Place::ANYWHERE)?;
        heading("Setting up, wherever the kernel puts the processes");
        self.pairs();
        self.first_answers();
        Ok(panels)
    }

    /// What is done with an open channel, with messages below a size.
    fn placed(&self, title: &str, place: Place, below: usize) -> io::Result<Panel> {
        self.processors.settle(place)?;
        heading(&format!("Messages, {title}"));
        let mut curves: Vec<Curve> =
            self.ways.iter().map(|way| (way.title(), Vec::new())).collect();
        for size in SIZES.into_iter().filter(|size| *size < below) {
            let load = Load { size, descriptors: 0 };
            let work = format!("{} there and back", bytes(size));
            let rounds = if size < HUGE { self.rounds.small } else { self.rounds.huge };
            let rows = self.run(&work, rounds, Unit::Time, |way| trips(way, place, load));
            for (curve, row) in curves.iter_mut().zip(rows) {
                curve.1.extend(row.figures.ok().map(|figures| (size, figures.p50)));
            }
        }
        for size in [64, 4 * KIB] {
            let load = Load { size, descriptors: 0 };
            let work = format!("{} one way", bytes(size));
            self.run(&work, self.rounds.small, Unit::Rate, |way| train(way, place, load));
        }
        for descriptors in [1, 16] {
            let load = Load { size: BESIDE, descriptors };
            let work = format!("64 B and {descriptors} descriptors, answered");
            let work =
                if descriptors == 1 { work.replace("descriptors", "descriptor") } else { work };
            self.run(&work, self.rounds.small, Unit::Time, |way| trips(way, place, load));
        }
        Ok(Panel { title: title.to_owned(), curves })
    }

    fn pairs(&self) {
        let work = "make a channel and close it";
        self.run(work, self.rounds.small, Unit::Time, |way| {
            Some(way.pairs()?.map_err(|error| error.to_string()))
        });
    }

    fn first_answers(&self) {
        let work = "start a peer and have its first answer";
        self.run(work, self.rounds.starts, Unit::Time, |way| {
            // Those that set up as another way does have no row here either.
            drop(way.pairs()?);
            Some(
                way.first_answers().unwrap_or_else(|| Ok(starts(way))).map_err(|it| it.to_string()),
            )
        });
    }

    /// Races the ways that take part in a work, and prints their rows.
    fn run(
        &self,
        work: &str,
        rounds: usize,
        unit: Unit,
        batch: impl Fn(&'static dyn Way) -> Option<Result<Batch, String>>,
    ) -> Vec<Row> {
        let entrants = self.ways.iter().filter_map(|way| {
            let (name, title, beside) = (way.name(), way.title(), way.beside());
            Some(Entrant { name, title, beside, batch: batch(*way)? })
        });
        let rows = race(rounds, BASE, entrants.collect());
        for row in &rows {
            print(work, unit, row);
        }
        rows
    }
}

/// An open channel, or why there is none; `None` if the way has no row of this kind.
fn open(way: &dyn Way, place: Place, load: Load) -> Option<Result<Box<dyn Driver>, String>> {
    let kind = if load.descriptors > 0 { Kind::Descriptors } else { Kind::Messages };
    let open = || way.open(Task { kind, place }).map_err(|error| error.to_string());
    way.takes_part(kind).then(open)
}

fn trips(way: &dyn Way, place: Place, load: Load) -> Option<Result<Batch, String>> {
    Some(open(way, place, load)?.map(|mut driver| -> Batch {
        Box::new(move |count, times| driver.round_trips(load, count, times))
    }))
}

fn train(way: &dyn Way, place: Place, load: Load) -> Option<Result<Batch, String>> {
    Some(open(way, place, load)?.map(|mut driver| -> Batch {
        Box::new(move |count, times| {
            for _ in 0..count {
                let time = driver.train(load, TRAIN)?.as_nanos() / TRAIN as u128;
                times.push(u64::try_from(time).unwrap_or(u64::MAX));
            }
            Ok(())
        })
    }))
}

/// A peer, a message and its answer; closing and reaping are not timed.
fn starts(way: &'static dyn Way) -> Batch {
    let load = Load { size: BESIDE, descriptors: 0 };
    let task = Task { kind: Kind::Messages, place: Place::ANYWHERE };
    Box::new(move |count, times| {
        for _ in 0..count {
            let start = Instant::now();
            let mut driver = way.open(task)?;
            driver.round_trips(load, 1, &mut Vec::new())?;
            times.push(nanoseconds_since(start));
        }
        Ok(())
    })
}

fn heading(title: &str) {
    println!("\n## {title}\n");
    println!("| work | way | p50 | p99 | ratio to {BASE} | ratio to others | rounds |");
    println!("|---|---|---|---|---|---|---|");
}

fn print(work: &str, unit: Unit, row: &Row) {
    let title = row.title;
    let figures = match &row.figures {
        Ok(figures) => figures,
        Err(why) => return println!("| {work} | {title} | cannot: {why} | | | | |"),
    };
    let ratio = figures.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let beside: Vec<String> =
        figures.beside.iter().map(|(name, ratio)| format!("{ratio:.2} to {name}")).collect();
    println!(
        "| {work} | {title} | {} | {} | {ratio} | {} | {} x {} |",
        unit.shown(figures.p50),
        unit.shown(figures.p99),
        beside.join(", "),
        figures.count.0,
        figures.count.1,
    );
}

impl Unit {
    fn shown(self, nanoseconds: f64) -> String {
        match self {
            Self::Rate => format!("{:.0} k/s", 1e6 / nanoseconds),
            Self::Time if nanoseconds < 20e3 => format!("{:.2} µs", nanoseconds / 1e3),
            Self::Time if nanoseconds < 10e6 => format!("{:.0} µs", nanoseconds / 1e3),
            Self::Time => format!("{:.1} ms", nanoseconds / 1e6),
        }
    }
}

/// A size as the tables say it.
pub fn bytes(size: usize) -> String {
    match size {
        MIB.. => format!("{} MiB", size / MIB),
        KIB.. => format!("{} KiB", size / KIB),
        _ => format!("{size} B"),
    }
}
