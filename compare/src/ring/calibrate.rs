//! What the machine can do at best, printed with every table.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::clock;
use super::forked::Forked;
use super::shared::Shared;
use crate::measure::median;
use crate::place::{Place, Processors, pin};

const TURNS: usize = 20_000;
const REPEATS: usize = 5;

/// What was found, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// A cache line there and back, between two processors.
    pub ping_pong: f64,
}

/// All of it in a line.
static LINE: OnceLock<String> = OnceLock::new();

/// What was found, for the head of a table.
#[must_use]
pub fn line() -> &'static str {
    LINE.get().map_or("not measured", String::as_str)
}

/// Measures and prints.
///
/// # Errors
///
/// The kernel's.
pub fn print(processors: &Processors) -> io::Result<Found> {
    let mut found = Found::default();
    let mut rows: Vec<String> = Vec::new();
    if let Some(two) = processors.two() {
        found.ping_pong = ping_pong(two)?;
        rows.push(format!("cache line there and back, two processors | {:.0} ns", found.ping_pong));
    }
    for size in [4 << 10, 64 << 10, 1 << 20, 64 << 20] {
        rows.push(format!("memcpy, {} | {:.1} GB/s", crate::works::bytes(size), memcpy(size)));
    }
    rows.push(format!("getppid | {:.0} ns", each(|| drop_number(parent_id()))));
    rows.push(format!("clock | {:.0} ns", each(|| drop_number(clock::now()))));
    for (name, place) in [("one processor", Some(processors.one())), ("two", processors.two())] {
        let Some(place) = place else { continue };
        rows.push(format!("futex there and back, {name} | {:.1} µs", futex(place)? / 1e3));
        let byte = byte(place)? / 1e3;
        rows.push(format!("a byte over a socket pair there and back, {name} | {byte:.1} µs"));
    }
    println!("| calibration | |\n|---|---|");
    rows.iter().for_each(|row| println!("| {row} |"));
    let line: Vec<String> = rows.iter().map(|row| row.replacen(" |", "", 1)).collect();
    LINE.get_or_init(|| line.join("; "));
    println!();
    Ok(found)
}

/// Ticks of the processors that somebody else had (`/proc/stat`), of all ticks.
///
/// # Errors
///
/// The kernel's.
pub fn stolen() -> io::Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    Ok((ticks.get(7).copied().unwrap_or(0), ticks.iter().take(8).sum()))
}

fn drop_number<T>(number: T) {
    std::hint::black_box(number);
}

fn parent_id() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::getppid() }
}

fn each(mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let started = clock::now();
            (0..TURNS).for_each(|_| call());
            (clock::now() - started) as f64 / TURNS as f64
        })
        .collect();
    median(&mut times)
}

fn memcpy(size: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; size], vec![2_u8; size]);
    let turns = ((256 << 20) / size).max(3);
    let mut rates: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let started = clock::now();
            for _ in 0..turns {
                to.copy_from_slice(std::hint::black_box(&from));
                std::hint::black_box(&mut to);
            }
            (size * turns) as f64 / (clock::now() - started) as f64
        })
        .collect();
    median(&mut rates)
}

fn ping_pong(place: Place) -> io::Result<f64> {
    let words = Arc::new(Shared::new(32)?);
    let (there, back) = (Arc::clone(&words), 16);
    let turns = 200_000_u64;
    let other = Forked::start(move |_control| {
        place.theirs.map_or(Ok(()), pin)?;
        for turn in 1..=turns * REPEATS as u64 {
            while there[0].load(Ordering::Acquire) != turn {
                std::hint::spin_loop();
            }
            there[back].store(turn, Ordering::Release);
        }
        Ok(())
    })?;
    place.ours.map_or(Ok(()), pin)?;
    let mut turn = 0;
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let started = clock::now();
            for _ in 0..turns {
                turn += 1;
                words[0].store(turn, Ordering::Release);
                while words[back].load(Ordering::Acquire) != turn {
                    std::hint::spin_loop();
                }
            }
            (clock::now() - started) as f64 / turns as f64
        })
        .collect();
    drop(other);
    Ok(median(&mut times))
}

fn futex(place: Place) -> io::Result<f64> {
    let words = Arc::new(Shared::new(32)?);
    let theirs = Arc::clone(&words);
    let turns = TURNS as u32 / 4;
    let other = Forked::start(move |_control| {
        place.theirs.map_or(Ok(()), pin)?;
        for turn in 1..=turns {
            wait_for(half(&theirs, 0), turn);
            wake(half(&theirs, 16), turn);
        }
        Ok(())
    })?;
    place.ours.map_or(Ok(()), pin)?;
    let started = clock::now();
    for turn in 1..=turns {
        wake(half(&words, 0), turn);
        wait_for(half(&words, 16), turn);
    }
    let time = (clock::now() - started) as f64 / f64::from(turns);
    drop(other);
    Ok(time)
}

fn half(words: &Shared, at: usize) -> &AtomicU32 {
    // SAFETY: half of an atomic of the mapping, which lives as long as the words.
    unsafe { AtomicU32::from_ptr(words[at].as_ptr().cast()) }
}

fn wait_for(word: &AtomicU32, value: u32) {
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen == value {
            return;
        }
        let (wait, forever) = (libc::FUTEX_WAIT, std::ptr::null::<libc::timespec>());
        // SAFETY: the pointer is to an atomic that lives.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, seen, forever) };
    }
}

fn wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // SAFETY: the pointer is to an atomic that lives.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

fn byte(place: Place) -> io::Result<f64> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    let turns = TURNS / 4;
    let other = Forked::start(move |_control| {
        place.theirs.map_or(Ok(()), pin)?;
        for _ in 0..turns {
            theirs.read_exact(&mut [0])?;
            theirs.write_all(&[0])?;
        }
        Ok(())
    })?;
    place.ours.map_or(Ok(()), pin)?;
    let started = clock::now();
    for _ in 0..turns {
        ours.write_all(&[0])?;
        ours.read_exact(&mut [0])?;
    }
    let time = (clock::now() - started) as f64 / turns as f64;
    drop(other);
    Ok(time)
}
