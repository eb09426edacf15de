//! Several ways to do one work, each a batch a round, in an order that turns; and their rows.

use std::io;
use std::time::{Duration, Instant};

use crate::exchange::{nanoseconds_since, runtime};
use crate::measure::median;

/// Does the work so many times; how long each took is added, in nanoseconds.
pub type Batch = Box<dyn FnMut(usize, &mut Vec<u64>) -> io::Result<()>>;

/// About how long each way takes in one round; one that takes longer is done once.
const BATCH: Duration = Duration::from_millis(8);
const MAX_BATCH: f64 = 400.0;
/// One that takes longer than this is not done again only to warm up.
const SLOW: Duration = Duration::from_millis(40);

/// Makes something so many times and drops it.
pub fn each<T>(mut make: impl FnMut() -> io::Result<T> + 'static) -> Batch {
    Box::new(move |count, times| {
        for _ in 0..count {
            let start = Instant::now();
            drop(make()?);
            times.push(nanoseconds_since(start));
        }
        Ok(())
    })
}

/// As [`each`], in tokio's runtime.
///
/// # Errors
///
/// The kernel's.
pub fn each_on_tokio<T>(make: impl FnMut() -> io::Result<T> + 'static) -> io::Result<Batch> {
    let runtime = runtime()?;
    let mut each = each(make);
    Ok(Box::new(move |count, times| {
        let _inside = runtime.enter();
        each(count, times)
    }))
}

/// One way in one race.
pub struct Entrant {
    /// Its short name.
    pub name: &'static str,
    /// What the tables call it.
    pub title: &'static str,
    /// The names of those its times are set against, beside the base.
    pub beside: &'static [&'static str],
    /// The work, or why it cannot do it.
    pub batch: Result<Batch, String>,
}

/// How one way fared.
pub struct Row {
    /// The way's short name.
    pub name: &'static str,
    /// What the tables call it.
    pub title: &'static str,
    /// The numbers, or why there are none.
    pub figures: Result<Figures, String>,
}

/// The numbers of a row.
pub struct Figures {
    /// Half of all times are below, in nanoseconds.
    pub p50: f64,
    /// All but one in a hundred are below.
    pub p99: f64,
    /// The median over rounds of the ratio to the base in the same round, if the base has one.
    pub ratio: Option<f64>,
    /// The same to others, by name.
    pub beside: Vec<(&'static str, f64)>,
    /// Rounds, and how often in each.
    pub count: (usize, usize),
}

/// One way while it is measured.
struct Runner {
    entrant: Entrant,
    each_round: usize,
    times: Vec<u64>,
    /// The median of each round.
    medians: Vec<f64>,
}

/// Measures all, round by round; whoever comes first is another one in each round.
///
/// One that fails drops out, and its row says why.
pub fn race(rounds: usize, base: &str, entrants: Vec<Entrant>) -> Vec<Row> {
    let mut runners: Vec<Runner> = entrants.into_iter().map(Runner::new).collect();
    for round in 0..rounds {
        for offset in 0..runners.len() {
            let at = (round + offset) % runners.len();
            runners[at].run();
        }
    }
    let medians: Vec<(&'static str, Vec<f64>)> =
        runners.iter().map(|it| (it.entrant.name, it.medians.clone())).collect();
    runners.into_iter().map(|it| it.row(base, &medians)).collect()
}

impl Runner {
    /// Warms up, and finds out how often fits into a round.
    fn new(entrant: Entrant) -> Self {
        let mut new = Self { entrant, each_round: 1, times: Vec::new(), medians: Vec::new() };
        // The first also waits for a peer that is still starting.
        new.batch(1);
        let mut once = new.clocked(1);
        for _ in 0..3 {
            if once < SLOW {
                once = once.min(new.clocked(5));
            }
        }
        let fits = BATCH.as_secs_f64() / once.as_secs_f64();
        new.each_round = fits.clamp(1.0, MAX_BATCH) as usize;
        new
    }

    /// How long each of some takes by the clock; the times that it reports may be of a part only.
    fn clocked(&mut self, count: u32) -> Duration {
        let start = Instant::now();
        self.batch(count as usize);
        start.elapsed() / count
    }

    /// A round: a tenth to warm up, then what counts.
    fn run(&mut self) {
        if self.each_round > 1 {
            self.batch(self.each_round.div_ceil(10));
        }
        let mut times = Vec::new();
        if let Some(median) = self.batch_into(self.each_round, &mut times) {
            self.medians.push(median);
            self.times.append(&mut times);
        }
    }

    fn batch(&mut self, count: usize) {
        self.batch_into(count, &mut Vec::new());
    }

    fn batch_into(&mut self, count: usize, times: &mut Vec<u64>) -> Option<f64> {
        let batch = self.entrant.batch.as_mut().ok()?;
        if let Err(error) = batch(count, times) {
            self.entrant.batch = Err(error.to_string());
            return None;
        }
        Some(median(&mut times.iter().map(|time| *time as f64).collect::<Vec<_>>()))
    }

    fn row(mut self, base: &str, all: &[(&'static str, Vec<f64>)]) -> Row {
        let Entrant { name, title, beside, batch } = self.entrant;
        self.times.sort_unstable();
        let ratio_to = |other: &str| {
            let (_, theirs) = all.iter().find(|(name, _)| *name == other)?;
            let pairs = self.medians.iter().zip(theirs);
            let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
            (ratios.len() == self.medians.len()).then(|| median(&mut ratios))
        };
        let figures = batch.map(|_| Figures {
            p50: share(&self.times, 0.5),
            p99: share(&self.times, 0.99),
            ratio: ratio_to(base),
            beside: beside.iter().filter_map(|it| Some((*it, ratio_to(it)?))).collect(),
            count: (self.medians.len(), self.each_round),
        });
        Row { name, title, figures }
    }
}

/// The time that this share of all is not above.
fn share(sorted: &[u64], share: f64) -> f64 {
    let above = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(above.max(1) - 1).map_or(f64::NAN, |time| *time as f64)
}
