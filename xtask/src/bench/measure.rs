//! Measuring two things side by side on a noisy machine.

use std::io::{self, Write};
use std::process::Command;
use std::time::Instant;

/// The result of a chore.
pub(super) type Done = Result<(), Box<dyn std::error::Error>>;

/// Rounds; each measures both sides once, in alternating order.
const ROUNDS: usize = 61;

/// About how long one side of one round takes, in nanoseconds.
const ROUND_NANOSECONDS: f64 = 8e6;

/// Measures both in turn and prints the medians, and the median of the rounds' ratios.
///
/// Each closure does its work once; the numbers are for one time.
pub(super) fn compare(
    work: &str,
    mut raw: impl FnMut() -> io::Result<()>,
    mut ours: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let once = time(20, &mut raw)?.max(time(20, &mut ours)?);
    let times = ((ROUND_NANOSECONDS / once) as usize).clamp(1, 100_000);
    let (mut raws, mut owns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (one, other) = if round % 2 == 0 {
            let one = time(times, &mut raw)?;
            (one, time(times, &mut ours)?)
        } else {
            let other = time(times, &mut ours)?;
            (time(times, &mut raw)?, other)
        };
        raws.push(one);
        owns.push(other);
        ratios.push(other / one);
    }
    print_row(work, &nanoseconds(median(raws)), &nanoseconds(median(owns)), median(ratios))
}

fn time(times: usize, work: &mut impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        work()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / times as f64)
}

/// The middle one; the lists here are never empty.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

pub(super) fn nanoseconds(time: f64) -> String {
    if time < 1e5 { format!("{time:.0} ns") } else { format!("{:.0} µs", time / 1e3) }
}

pub(super) fn print_header(work: &str, one: &str, other: &str) {
    let _ = writeln!(io::stdout(), "| {work} | {one} | {other} | ratio |\n|---|---|---|---|");
}

pub(super) fn print_row(work: &str, one: &str, other: &str, ratio: f64) -> io::Result<()> {
    writeln!(io::stdout(), "| {work} | {one} | {other} | {ratio:.3} |")
}

/// What the numbers belong to.
pub(super) fn print_machine() -> io::Result<()> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let count = std::thread::available_parallelism()?;
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    writeln!(
        io::stdout(),
        "{}, {count} cores; Linux {}; {}\n",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        String::from_utf8_lossy(&date.stdout).trim(),
    )
}
