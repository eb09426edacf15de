//! Several ways to do one work, each once a round, in an order that turns.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

/// One way to do the work: returns how long it took.
pub type Way<'a> = (&'static str, Box<dyn FnMut() -> io::Result<Duration> + 'a>);

/// Measures all ways, round by round, and prints a row for each: the median, and the median of the
/// rounds' ratios to the first way. A way is left out of all rounds but every `sparse`-th if it is slow.
pub fn rounds(work: &str, count: usize, ways: &mut [Way<'_>]) -> io::Result<()> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut pause = vec![0_usize; ways.len()];
    for round in 0..count {
        let mut now = vec![None; ways.len()];
        for offset in 0..ways.len() {
            let at = (round + offset) % ways.len();
            if pause[at] > 0 {
                pause[at] -= 1;
                continue;
            }
            let time = ways[at].1()?.as_secs_f64() * 1e6;
            // Slow ones are measured less often, so that the rest has its rounds.
            pause[at] = (time / 20_000.0) as usize;
            now[at] = Some(time);
        }
        for at in 0..ways.len() {
            if let Some(time) = now[at] {
                times[at].push(time);
                if let Some(first) = now[0] {
                    ratios[at].push(time / first);
                }
            }
        }
    }
    for (at, (name, _)) in ways.iter().enumerate() {
        let (time, ratio) = (median(&mut times[at]), median(&mut ratios[at]));
        println!("| {work} | {name} | {} | {ratio:.2} | {} |", shown(time), times[at].len());
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

/// What the numbers belong to.
pub fn print_machine() -> io::Result<()> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let count = std::thread::available_parallelism()?;
    let date = Command::new("date").args(["-u", "+%F"]).output()?;
    println!(
        "{}, {count} cores; Linux {}; {}\n",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        String::from_utf8_lossy(&date.stdout).trim(),
    );
    Ok(())
}
