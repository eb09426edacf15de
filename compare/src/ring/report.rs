//! The tables, and the goals.

use super::calibrate::{self, Found};
use super::table::{Table, Without};
use super::work::{Row, Trips};
use crate::works::bytes;

/// Prints one-way rows.
pub fn rows(title: &str, size: usize, table: &Table<Row>) {
    let Some(first) = table.first() else { return };
    println!("\n{title}\n\nThe machine: {}.\n", calibrate::line());
    println!(
        "| way | ns a message | GB/s | least to most | times as fast | processor ns | switches |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in table.iter() {
        let Row { name, time, range, cpu, switches } = row;
        let rate = size as f64 / time;
        let (least, most) = range;
        let ratio = first.time / time;
        println!(
            "| {name} | {time:.1} | {rate:.2} | {least:.1} to {most:.1} | {ratio:.2} | {cpu:.0} | {switches:.4} |"
        );
    }
    without(table);
}

/// Prints round trips, or delays.
pub fn trips(title: &str, table: &Table<Trips>) {
    let Some(first) = table.first() else { return };
    println!("\n{title}\n\nThe machine: {}.\n", calibrate::line());
    println!("| way | p50 µs | p99 | p99.9 | longest | p50, times as fast | processor µs |");
    println!("|---|---|---|---|---|---|---|");
    for trip in table.iter() {
        let [p50, p99, p999, most] = trip.times.map(|time| time as f64 / 1e3);
        let ratio = first.times[0] as f64 / trip.times[0] as f64;
        let (name, cpu) = (trip.name, trip.cpu / 1e3);
        println!(
            "| {name} | {p50:.2} | {p99:.2} | {p999:.1} | {most:.0} | {ratio:.2} | {cpu:.2} |"
        );
    }
    without(table);
}

/// Prints who has no figures, and why, under a table of seven columns.
fn without<R>(table: &Table<R>) {
    for Without { name, .. } in &table.without {
        println!("| {name} | - | - | - | - | - | - |");
    }
    let reasons = table.reasons();
    if !reasons.is_empty() {
        let reasons: Vec<String> =
            reasons.iter().map(|(names, why)| format!("{names}: {why}")).collect();
        println!("\n-: {}.", reasons.join(". "));
    }
}

/// Whether a goal was met, and by how much.
#[derive(Clone, Debug)]
pub struct Goal {
    what: String,
    found: f64,
    wanted: f64,
    /// Whether less is better.
    at_most: bool,
}

impl Goal {
    /// It must be at least so much.
    pub fn at_least(what: impl Into<String>, wanted: f64, found: f64) -> Self {
        Self { what: what.into(), found, wanted, at_most: false }
    }

    /// One way must be at least as fast as another.
    pub fn not_behind(what: &str, ours: &str, theirs: &str, times_as_fast: f64) -> Self {
        Self::at_least(format!("{what}, {ours} against {theirs}"), 1.0, times_as_fast)
    }

    /// It must be at most so much.
    pub fn at_most(what: impl Into<String>, wanted: f64, found: f64) -> Self {
        Self { what: what.into(), found, wanted, at_most: true }
    }
}

/// Prints all goals.
pub fn goals(all: &[Goal]) {
    println!("\n| goal | wanted | found | |\n|---|---|---|---|");
    for Goal { what, found, wanted, at_most } in all {
        let met = if *at_most { found <= wanted } else { found >= wanted };
        let (sign, verdict) =
            (if *at_most { "≤" } else { "≥" }, if met { "met" } else { "**missed**" });
        println!("| {what} | {sign} {wanted} | {found:.2} | {verdict} |");
    }
}

/// How many times as fast the named way is as the other one, of one-way rows.
#[must_use]
pub fn ratio(rows: &[Row], slow: &str, fast: &str) -> f64 {
    let time =
        |name: &str| rows.iter().find(|row| row.name == name).map_or(f64::NAN, |row| row.time);
    time(slow) / time(fast)
}

/// The same of round trips, at this quantile (0 is p50, 1 p99).
#[must_use]
pub fn trip_ratio(all: &[Trips], slow: &str, fast: &str, quantile: usize) -> f64 {
    let time = |name: &str| {
        let found = all.iter().find(|trip| trip.name == name);
        found.map_or(f64::NAN, |trip| trip.times[quantile] as f64)
    };
    time(slow) / time(fast)
}

/// The goal against the bare machine.
#[must_use]
pub fn against_bare(all: &[Trips], found: Found) -> f64 {
    let ring = all.iter().find(|trip| trip.name == "ring");
    ring.map_or(f64::NAN, |trip| trip.times[0] as f64 / found.ping_pong)
}

/// A title with the size of a message.
#[must_use]
pub fn titled(what: &str, size: usize) -> String {
    format!("{what}, {} a message", bytes(size))
}
