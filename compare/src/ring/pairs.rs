//! Many pairs, one `epoll`: what an idle one costs, and what an active one among them takes.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use streampipe::{Builder, Engine, Stream};

use super::clock;
use super::forked::{Forked, hear, tell};

/// Rounds in which the active ones are asked.
const ROUNDS: usize = 200;

/// What so many pairs cost.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// Which engine.
    pub engine: Engine,
    /// How many pairs.
    pub pairs: usize,
    /// Bytes of memory for each pair, in both processes together (`Pss`, and what the kernel counts as shared).
    pub memory: f64,
    /// Mappings for each pair in one process.
    pub mappings: f64,
    /// p50 of a round trip with one of the active, in microseconds.
    pub trip: f64,
    /// Switches of the serving process for each message that it answered.
    pub wakes: f64,
    /// Switches of the serving process in a second in which nobody asks.
    pub idle: u64,
}

/// Measures so many pairs, of which one in a hundred is active.
///
/// # Errors
///
/// The kernel's; `EMFILE` if the limit of descriptors does not allow them.
pub fn measure(engine: Engine, pairs: usize) -> io::Result<Many> {
    let before = memory()?;
    let (mappings, mut ours, mut theirs) = (mappings()?, Vec::new(), Vec::new());
    for _ in 0..pairs {
        // A ring that is not touched takes no more than its two pages.
        let (a, b) = Builder::new().engine(engine).pair()?;
        b.set_nonblocking(true)?;
        ours.push(a);
        theirs.push(b);
    }
    let mappings = (self::mappings()? - mappings) as f64 / pairs as f64;
    let mut taken = Some(ours);
    let mut other = Forked::start(|mut control| {
        drop(taken.take());
        tell(&mut control)?;
        serve(&mut theirs, &mut control)
    })?;
    let Some(mut ours) = taken else { return Err(io::ErrorKind::NotConnected.into()) };
    hear(other.control())?;
    let active = (pairs / 100).max(1);
    let mut times = Vec::new();
    let pid = other.id();
    let before_wakes = switches(pid)?;
    for _ in 0..ROUNDS {
        for stream in ours.iter_mut().step_by(pairs / active).take(active) {
            let started = clock::now();
            stream.write_all(&[7; 64])?;
            stream.read_exact(&mut [0; 64])?;
            times.push(clock::now() - started);
        }
    }
    let wakes = (switches(pid)? - before_wakes) as f64 / times.len() as f64;
    let memory = (memory()? - before) as f64 / pairs as f64;
    let resting = switches(pid)?;
    clock::sleep_until(clock::now() + 1_000_000_000);
    let idle = switches(pid)? - resting;
    times.sort_unstable();
    let trip = times[times.len() / 2] as f64 / 1e3;
    Ok(Many { engine, pairs, memory, mappings, trip, wakes, idle })
}

/// Answers all, until the control socket ends.
fn serve(streams: &mut [Stream], control: &mut std::os::unix::net::UnixStream) -> io::Result<()> {
    // SAFETY: a flag.
    let poll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let numbers = streams.iter().map(|stream| stream.as_fd().as_raw_fd());
    for (at, number) in (0_u64..).zip(numbers.chain([control.as_raw_fd()])) {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: at };
        // SAFETY: the pointer is to an event.
        if unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, number, &mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    loop {
        // SAFETY: the pointer is to so many events.
        let count = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), 64, -1) };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let Some(stream) = streams.get_mut(event.u64 as usize) else { return Ok(()) };
            let mut buffer = [0; 64];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..len])?;
            }
        }
    }
}

/// Bytes that the system has in use, by its own count: processes, kernel and shared memory.
fn memory() -> io::Result<i64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let of = |name: &str| -> i64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let names = ["AnonPages:", "Shmem:", "Slab:", "PageTables:", "KernelStack:"];
    Ok(names.iter().map(|name| of(name)).sum::<i64>() * 1024)
}

fn mappings() -> io::Result<i64> {
    Ok(std::fs::read_to_string("/proc/self/maps")?.lines().count() as i64)
}

fn switches(pid: libc::pid_t) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let counts = text.lines().filter(|line| line.contains("ctxt_switches"));
    Ok(counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Raises the limit of descriptors as far as it goes; returns it.
#[must_use]
pub fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let wanted = libc::rlimit { rlim_cur: 65_536, rlim_max: limit.rlim_max.max(65_536) };
    // SAFETY: the pointer is to a limit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } == 0 {
        return wanted.rlim_cur;
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the pointer is to a limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) };
    wanted.rlim_cur
}
