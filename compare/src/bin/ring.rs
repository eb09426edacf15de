//! The ring beside other ways to move bytes between two processes, every byte written and compared.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compare::measure::{machine, print_machine};
use compare::place::{Place, Processors};
use compare::ring::calibrate::{self, Found};
use compare::ring::picture::{self, Curve};
use compare::ring::report::{self, Goal, goals, ratio, rows, titled, trip_ratio, trips};
use compare::ring::ways::{ALL, SHMIPC, named};
use compare::ring::work::{Row, Works};
use compare::ring::{both, pairs, queue, setup};
use streampipe::Engine;

const USAGE: &str = "cargo xtask bench ring [--quick] [--only WORK,WORK] [--plot DIRECTORY]; \
                     works: bytes, trips, paced, busy, both, pairs, setup";

/// What the ring is compared with.
const SOCKETS: &str = "socketpair";

/// Who also uses shared memory, each beside what waits as it does: awake, or asleep.
const BY_CLASS: &[(&str, &str)] = &[
    ("iceoryx2", "ring, spinning"),
    ("iceoryx2, events", "ring, sleeping"),
    (SHMIPC, "ring, sleeping"),
];

/// One way, nobody waits for long: also beside what one gets, and what writes and reads in place as they do.
const ONE_WAY: &[(&str, &str)] = &[
    ("iceoryx2", "ring"),
    ("iceoryx2", "ring, spinning"),
    ("iceoryx2", "ring, in place"),
    ("iceoryx2, events", "ring, sleeping"),
    (SHMIPC, "ring"),
    (SHMIPC, "ring, sleeping"),
];

/// What is measured beside busy processes.
const BUSY: &[&str] = &[
    SOCKETS,
    "pipe",
    SHMIPC,
    "iceoryx2",
    "iceoryx2, events",
    "streampipe, socket",
    "ring",
    "ring, spinning",
    "ring, sleeping",
];

const ANYWHERE: (&str, Place) = ("wherever the kernel likes", Place::ANYWHERE);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(|options| options.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ring: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    repeats: usize,
    only: Option<Vec<String>>,
    plots: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { repeats: 11, only: None, plots: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.repeats = 3,
                "--only" => {
                    let works = words.next().ok_or(USAGE)?;
                    options.only = Some(works.split(',').map(str::to_owned).collect());
                }
                "--plot" => options.plots = Some(words.next().ok_or(USAGE)?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, work: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|it| it == work))
    }

    fn run(&self) -> Result<(), Box<dyn Error>> {
        let processors = Processors::of_this_process()?;
        print_machine()?;
        processors.warm_up()?;
        let before = calibrate::stolen()?;
        let found = calibrate::print(&processors)?;
        let bench = Bench { options: self, processors: &processors, found };
        let mut all = Vec::new();
        if self.wants("bytes") {
            all.extend(bench.bytes()?);
        }
        if self.wants("trips") {
            all.extend(bench.trips()?);
        }
        if self.wants("paced") {
            all.extend(bench.paced()?);
        }
        if self.wants("busy") {
            all.extend(bench.busy()?);
        }
        processors.settle(Place::ANYWHERE)?;
        if self.wants("both") {
            all.extend(bench.both()?);
        }
        if self.wants("setup") {
            setup_table()?;
        }
        if self.wants("pairs") {
            pairs_table()?;
        }
        goals(&all);
        let (stolen, ticks) = calibrate::stolen()?;
        let share = (stolen - before.0) as f64 * 100.0 / (ticks - before.1).max(1) as f64;
        println!("\nOf the processors' time, somebody else had {share:.2} %.");
        Ok(())
    }
}

struct Bench<'a> {
    options: &'a Options,
    processors: &'a Processors,
    found: Found,
}

impl Bench<'_> {
    fn works(&self, repeats: usize) -> Works<'_> {
        Works { ways: ALL.iter().collect(), processors: self.processors, repeats }
    }

    fn places(&self) -> Vec<(&'static str, Place)> {
        let two = self.processors.two().map(|place| ("two processors", place));
        two.into_iter().chain([("one processor", self.processors.one())]).collect()
    }

    fn bytes(&self) -> Result<Vec<Goal>, Box<dyn Error>> {
        let mut all = Vec::new();
        let sizes = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 64 << 20];
        let mut curves: Vec<Curve> = Vec::new();
        for (name, place) in self.places() {
            let is_two = place.ours != place.theirs;
            for size in sizes {
                let goal = goal_at(size);
                if !is_two && goal.is_none() {
                    continue;
                }
                let repeats =
                    if size > 1 << 20 { 5.min(self.options.repeats) } else { self.options.repeats };
                let found = self.works(repeats).one_way(place, size, false)?;
                rows(&titled(&format!("One way, {name}"), size), size, &found);
                if let Some(wanted) = goal {
                    let what = format!("{name}, one way, {}", compare::works::bytes(size));
                    all.push(Goal::at_least(&what, wanted, ratio(&found, SOCKETS, "ring")));
                }
                let what = format!("{name}, one way, {}", compare::works::bytes(size));
                neighbours(&what, ONE_WAY, &mut all, |theirs, ours| ratio(&found, theirs, ours));
                if is_two {
                    add_to(&mut curves, size, &found);
                }
            }
            let found = self.works(self.options.repeats).one_way(place, 64, true)?;
            rows(&titled(&format!("One way, {name}, many at once"), 64), 64, &found);
            let what = format!("{name}, 64 B, many at once");
            neighbours(&what, ONE_WAY, &mut all, |theirs, ours| ratio(&found, theirs, ours));
            let single = self.works(3).one_way(place, 64, false)?;
            let time = |rows: &[Row], name: &str| {
                rows.iter().find(|row| row.name == name).map_or(f64::NAN, |row| row.time)
            };
            let gain = time(&single, SOCKETS) / time(&found, "ring, in place");
            all.push(Goal::at_least(
                format!("{name}, 64 B, many at once, against one a call"),
                100.0,
                gain,
            ));
            if is_two {
                println!(
                    "\nrtrb, two threads: {:.1} ns a message of 64 B",
                    queue::one_way(place, 5)?
                );
            }
        }
        if let Some(directory) = &self.options.plots {
            picture::throughput(&file(directory, "ring-throughput.svg"), &machine()?, &curves)?;
        }
        Ok(all)
    }

    fn trips(&self) -> Result<Vec<Goal>, Box<dyn Error>> {
        let mut all = Vec::new();
        let mut panels = Vec::new();
        for (name, place) in self.places().into_iter().chain([ANYWHERE]) {
            let found = self.works(self.options.repeats).round_trips(place, 64)?;
            trips(&titled(&format!("There and back, {name}"), 64), &found);
            let gain = trip_ratio(&found, SOCKETS, "ring", 0);
            if name == "two processors" {
                all.push(Goal::at_least(format!("{name}, there and back, p50"), 20.0, gain));
                let bare = report::against_bare(&found, self.found);
                all.push(Goal::at_most("there and back against the bare cache line", 2.5, bare));
                println!("\nrtrb, two threads: {:.2} µs", queue::round_trip(place)? as f64 / 1e3);
            }
            let asleep = 1.0 / trip_ratio(&found, SOCKETS, "ring, sleeping", 0);
            all.push(Goal::at_most(
                format!("{name}, both asleep each time, p50 against a socket's"),
                1.1,
                asleep,
            ));
            let what = format!("{name}, there and back, p50");
            neighbours(&what, BY_CLASS, &mut all, |theirs, ours| {
                trip_ratio(&found, theirs, ours, 0)
            });
            panels.push((name, found));
        }
        if let Some(directory) = &self.options.plots {
            picture::latency(&file(directory, "ring-latency.svg"), &machine()?, &panels)?;
        }
        Ok(all)
    }

    fn paced(&self) -> Result<Vec<Goal>, Box<dyn Error>> {
        let mut all = Vec::new();
        for (name, place) in self.places().into_iter().chain([ANYWHERE]) {
            let found = self.works(1).paced(place)?;
            trips(
                &format!("A thousand messages of 64 B a second, {name}: how late they come"),
                &found,
            );
            let late = 1.0 / trip_ratio(&found, SOCKETS, "ring", 0);
            all.push(Goal::at_most(format!("{name}, paced, p50 against a socket's"), 1.1, late));
            let what = format!("{name}, paced, p50");
            neighbours(&what, BY_CLASS, &mut all, |theirs, ours| {
                trip_ratio(&found, theirs, ours, 0)
            });
        }
        Ok(all)
    }

    fn busy(&self) -> Result<Vec<Goal>, Box<dyn Error>> {
        let mut all = Vec::new();
        for (name, place) in self.places() {
            let ways = BUSY.iter().filter_map(|name| named(name)).collect();
            let works =
                Works { ways, processors: self.processors, repeats: 5.min(self.options.repeats) };
            let (there, one) = works.beside_busy(place)?;
            trips(&format!("There and back, {name}, beside two busy processes"), &there);
            rows(&titled(&format!("One way, {name}, beside two busy processes"), 4096), 4096, &one);
            let what = format!("{name}, busy, there and back, p50");
            neighbours(&what, BY_CLASS, &mut all, |theirs, ours| {
                trip_ratio(&there, theirs, ours, 0)
            });
            let what = format!("{name}, busy, one way, 4 KiB");
            neighbours(&what, BY_CLASS, &mut all, |theirs, ours| ratio(&one, theirs, ours));
            let p50 = 1.0 / trip_ratio(&there, SOCKETS, "ring", 0);
            all.push(Goal::at_most(
                format!("{name}, busy, there and back, p50 against a socket's"),
                1.1,
                p50,
            ));
            let p99 = 1.0 / trip_ratio(&there, SOCKETS, "ring", 1);
            all.push(Goal::at_most(
                format!("{name}, busy, there and back, p99 against a socket's"),
                1.1,
                p99,
            ));
            let slower = 1.0 / ratio(&one, SOCKETS, "ring");
            all.push(Goal::at_most(
                format!("{name}, busy, one way, time against a socket's"),
                1.1,
                slower,
            ));
        }
        Ok(all)
    }

    fn both(&self) -> Result<Vec<Goal>, Box<dyn Error>> {
        println!("\nBoth directions at once, 64 KiB a call, two threads in each process\n");
        println!("| way | one direction, GB/s | both, GB/s | ratio |\n|---|---|---|---|");
        let mut all = Vec::new();
        for found in both::all(5.min(self.options.repeats))? {
            let both::Both { name, one, both } = found;
            println!("| {name} | {one:.2} | {both:.2} | {:.2} |", both / one);
            if name == "ring" {
                all.push(Goal::at_least("both directions at once against one", 1.7, both / one));
            }
        }
        Ok(all)
    }
}

fn setup_table() -> Result<(), Box<dyn Error>> {
    println!(
        "\nSetup\n\n| way | pair and drop, µs, p50, p99 | pair, fork, first byte, end |\n|---|---|---|"
    );
    for setup::Setup { name, pair, forked } in setup::all()? {
        println!(
            "| {name} | {:.1}, {:.1} | {:.0}, {:.0} |",
            pair[0], pair[1], forked[0], forked[1]
        );
    }
    Ok(())
}

fn pairs_table() -> Result<(), Box<dyn Error>> {
    let limit = pairs::raise_limit();
    println!(
        "\nMany pairs under one epoll, one in a hundred active (limit of descriptors {limit})\n"
    );
    println!(
        "| engine | pairs | set up, ms | KiB a pair | of the kernel | mappings a pair | KiB more, each active | round trip of an active one, µs, p50, p99 \
         | epoll_wait a message | switches | epoll_wait, a second's rest | switches |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for pairs in [1, 100, 1_000, 10_000] {
        for engine in [Engine::Socket, Engine::Ring] {
            match pairs::measure(engine, pairs) {
                Ok(many) => println!("| {engine:?} | {pairs} | {} |", pairs_cells(pairs, many)),
                Err(error) => println!("| {engine:?} | {pairs} | {error} | | | | | | | | | |"),
            }
        }
    }
    println!(
        "\nSet up: until all clients have theirs, forks and all. Memory and mappings are of all processes together (`Pss`), before \
         anybody asks; the kernel's are its tables for them, and `Slab` of the machine. What the processes take without a pair \
         is taken off. -: fewer than {} pairs take less than what comes and goes in the processes, fewer than {} less than what \
         does in the kernel. An active one was asked 100 times of 10,000 pairs, 10,000 times of one: a ring takes its memory as \
         it goes round.",
        pairs::MEASURABLE,
        pairs::MEASURABLE_IN_KERNEL,
    );
    Ok(())
}

fn pairs_cells(pairs: usize, many: pairs::Many) -> String {
    let pairs::Many { setup, memory: [own, kernel], active, mappings, trip, message, rest } = many;
    let shown = |number: f64, least: usize| {
        if pairs < least { "-".to_owned() } else { format!("{number:.1}") }
    };
    let own = shown(own, pairs::MEASURABLE);
    let kernel = shown(kernel, pairs::MEASURABLE_IN_KERNEL);
    let mappings = shown(mappings, pairs::MEASURABLE);
    format!(
        "{setup:.1} | {own} | {kernel} | {mappings} | {active:.0} | {:.1}, {:.1} | {:.2} | {:.2} | {} | {}",
        trip[0], trip[1], message.returns, message.switches, rest.returns, rest.switches
    )
}

/// What is wanted of the ring against the socket pair at a size, if something is.
fn goal_at(size: usize) -> Option<f64> {
    match size {
        64 => Some(20.0),
        4_096 | 65_536 => Some(4.0),
        1_048_576 => Some(2.0),
        67_108_864 => Some(1.5),
        _ => None,
    }
}

/// Goals for all of these that have figures: ours must not be behind theirs.
fn neighbours(
    what: &str,
    pairs: &[(&str, &str)],
    all: &mut Vec<Goal>,
    times_as_fast: impl Fn(&str, &str) -> f64,
) {
    for (theirs, ours) in pairs {
        let gain = times_as_fast(theirs, ours);
        if gain.is_finite() {
            all.push(Goal::not_behind(what, ours, theirs, gain));
        }
    }
}

fn add_to(curves: &mut Vec<Curve>, size: usize, found: &[Row]) {
    for row in found {
        let point = (size, size as f64 / row.time);
        match curves.iter_mut().find(|(name, _)| *name == row.name) {
            Some((_, points)) => points.push(point),
            None => curves.push((row.name, vec![point])),
        }
    }
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}
