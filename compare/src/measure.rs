//! Several ways to do one work, each once a round, in an order that turns.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

/// One way to do the work: returns how long it took.
pub type Way<'a> = (&'static str, Box<dyn FnMut() -> io::Result<Duration> + 'a>);

/// About how long each way takes in one round; one that takes longer is done once.
const BATCH: Duration = Duration::from_millis(8);

/// Measures all ways, round by round, and prints a row for each: the median, and the median of the
/// rounds' ratios to the first way.
///
/// In each round each way is done several times in a row, as a program would that does it often; its
/// time is the mean of these. Whoever comes first is another one in each round.
pub fn rounds(work: &str, count: usize, ways: &mut [Way<'_>]) -> io::Result<()> {
    let mut batches = Vec::new();
    for (_, way) in ways.iter_mut() {
        way()?;
        let once = way()?.max(Duration::from_nanos(100));
        batches.push((BATCH.as_secs_f64() / once.as_secs_f64()).clamp(1.0, 100.0) as usize);
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for round in 0..count {
        let mut now = vec![0.0; ways.len()];
        for offset in 0..ways.len() {
            let at = (round + offset) % ways.len();
            let mut total = Duration::ZERO;
            for _ in 0..batches[at] {
                total += ways[at].1()?;
            }
            now[at] = total.as_secs_f64() * 1e6 / batches[at] as f64;
        }
        for at in 0..ways.len() {
            times[at].push(now[at]);
            ratios[at].push(now[at] / now[0]);
        }
    }
    for (at, (name, _)) in ways.iter().enumerate() {
        let (time, ratio) = (median(&mut times[at]), median(&mut ratios[at]));
        println!("| {work} | {name} | {} | {ratio:.2} | {count} x {} |", shown(time), batches[at]);
    }
    Ok(())
}

fn shown(microseconds: f64) -> String {
    if microseconds < 20.0 {
        format!("{microseconds:.2} µs")
    } else {
        format!("{microseconds:.0} µs")
    }
}

/// Times one work.
pub fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(Duration, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed(), done))
}

pub fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints what the numbers belong to.
pub fn print_machine() -> io::Result<()> {
    println!("{}\n", machine()?);
    Ok(())
}

/// What the numbers belong to: the processor, the kernel, the day.
pub fn machine() -> io::Result<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let count = std::thread::available_parallelism()?;
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    Ok(format!(
        "{}, {count} cores; Linux {}; {}",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        String::from_utf8_lossy(&date.stdout).trim(),
    ))
}
