//! Many pairs, one `epoll`: what an idle one costs, and what an active one among them takes.
//!
//! A server has one end of each pair, its clients have the others. Nobody may have the descriptors of both ends of 10,000
//! pairs: the server makes as many as one client takes, forks it, drops its ends, and makes more.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::Relaxed;

use streampipe::{Builder, Engine, Stream};

use super::clock;
use super::epoll::Epoll;
use super::forked::{Forked, hear, tell};
use super::memory::Memory;
use super::shared::Shared;

/// The most pairs that one client has.
const EACH: usize = 5_000;
/// How many messages are asked, or as many more as there are active ones.
const ASKED: usize = 10_000;
/// Bytes of a message.
const MESSAGE: usize = 64;
/// From so many pairs on, their memory is more than what comes and goes in their processes.
pub const MEASURABLE: usize = 100;
/// The same of the kernel's, beside which that of the whole machine comes and goes.
pub const MEASURABLE_IN_KERNEL: usize = 1_000;

/// What so many pairs cost.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// From before the first pair until all clients have theirs, in milliseconds.
    pub setup: f64,
    /// KiB for each pair, of all processes together, before anybody asks: theirs, and the kernel's.
    pub memory: [f64; 2],
    /// KiB of theirs that each active one has taken besides.
    pub active: f64,
    /// Mappings for each pair, of all processes together.
    pub mappings: f64,
    /// p50 and p99 of a round trip with one of the active, in microseconds.
    pub trip: [f64; 2],
    /// Of the server, for each message that it answered.
    pub message: Wakes,
    /// Of all processes, in a second in which nobody asks.
    pub rest: Wakes,
}

/// How often somebody woke up.
#[derive(Clone, Copy, Debug)]
pub struct Wakes {
    /// Returns of the server's `epoll_wait`.
    pub returns: f64,
    /// Switches from one task to another.
    pub switches: f64,
}

/// How many pairs, of what, for how many clients.
#[derive(Clone, Copy)]
struct Plan {
    engine: Engine,
    pairs: usize,
    clients: usize,
}

/// What the processes tell each other, behind which are the times of the round trips.
#[derive(Clone, Copy)]
enum Word {
    /// Nanoseconds until all were ready.
    Setup,
    /// Returns of the server's `epoll_wait`.
    Returns,
    /// The kernel's error that ended the server.
    Error,
    /// The numbers of the clients' processes, from here on.
    Client = 8,
    /// The times of the round trips, from here on.
    Times = 64,
}

/// Measures so many pairs, of which one in a hundred is active.
///
/// # Errors
///
/// The kernel's; `EMFILE` if the limit of descriptors does not allow them.
pub fn measure(engine: Engine, pairs: usize) -> io::Result<Many> {
    let clients = pairs.div_ceil(EACH);
    let plan = Plan { engine, pairs, clients };
    // The processes cost something, too.
    let without = Run::start(Plan { pairs: 0, ..plan })?.grown()?;
    let mut run = Run::start(plan)?;
    let held = run.grown()? - without;
    let server = [run.server.id()];
    let before = run.wakes(&server)?;
    tell(run.server.control())?;
    hear(run.server.control())?;
    let messages = plan.messages() as f64;
    let message = run.wakes(&server)?.since(before, messages);
    let more = run.grown()? - without - held;
    let all = run.processes();
    // Whoever asked last goes to sleep.
    clock::sleep_until(clock::now() + 20_000_000);
    let before = run.wakes(&all)?;
    clock::sleep_until(clock::now() + 1_000_000_000);
    let rest = run.wakes(&all)?.since(before, 1.0);
    let each = |value: i64| value as f64 / pairs as f64;
    Ok(Many {
        setup: run.words[Word::Setup as usize].load(Relaxed) as f64 / 1e6,
        memory: [each(held.own), each(held.kernel)],
        active: more.own as f64 / plan.active() as f64,
        mappings: each(held.mappings),
        trip: quantiles(&run.words[Word::Times as usize..], plan.messages()),
        message,
        rest,
    })
}

impl Plan {
    /// How many there are before those of this client.
    fn before(self, client: usize, of: usize) -> usize {
        of * client / self.clients
    }

    /// How many of these this client has.
    fn share(self, client: usize, of: usize) -> usize {
        self.before(client + 1, of) - self.before(client, of)
    }

    fn active(self) -> usize {
        (self.pairs / 100).max(1)
    }

    /// How often each active one is asked.
    fn rounds(self) -> usize {
        ASKED.div_ceil(self.active())
    }

    fn messages(self) -> usize {
        self.rounds() * self.active()
    }
}

/// A server and its clients, all ready.
struct Run {
    server: Forked,
    words: Shared,
    clients: usize,
    /// Before there were any of them.
    before: Memory,
}

impl Run {
    fn start(plan: Plan) -> io::Result<Self> {
        let words = Shared::new(Word::Times as usize + plan.messages())?;
        let before = Memory::of(&[this()])?;
        let failed = &words[Word::Error as usize];
        let mut server = Forked::start(|mut control| {
            serve(plan, &words, &mut control).inspect_err(|error| {
                failed.store(error.raw_os_error().unwrap_or(0) as u64, Relaxed);
            })
        })?;
        hear(server.control()).map_err(|gone| match failed.load(Relaxed) {
            0 => gone,
            code => io::Error::from_raw_os_error(code as i32),
        })?;
        Ok(Self { server, words, clients: plan.clients, before })
    }

    /// The server and the clients.
    fn processes(&self) -> Vec<libc::pid_t> {
        let clients = &self.words[Word::Client as usize..][..self.clients];
        let clients = clients.iter().map(|word| word.load(Relaxed) as libc::pid_t);
        [self.server.id()].into_iter().chain(clients).collect()
    }

    /// What all hold, without what this process held before.
    fn grown(&self) -> io::Result<Memory> {
        let mut all = self.processes();
        // What they share with this process is counted in parts.
        all.push(this());
        Ok(Memory::of(&all)? - self.before)
    }

    fn wakes(&self, of: &[libc::pid_t]) -> io::Result<Wakes> {
        let returns = self.words[Word::Returns as usize].load(Relaxed) as f64;
        let switches = of.iter().map(|process| switches(*process)).sum::<io::Result<u64>>()?;
        Ok(Wakes { returns, switches: switches as f64 })
    }
}

impl Wakes {
    fn since(self, before: Self, messages: f64) -> Self {
        Self {
            returns: (self.returns - before.returns) / messages,
            switches: (self.switches - before.switches) / messages,
        }
    }
}

/// The server: makes all pairs and all clients, and answers these.
fn serve(plan: Plan, words: &Shared, control: &mut UnixStream) -> io::Result<()> {
    let started = clock::now();
    let poll = Epoll::new()?;
    let (mut ends, mut clients) = (Vec::with_capacity(plan.pairs), Vec::new());
    for number in 0..plan.clients {
        let mut theirs = Vec::new();
        for _ in 0..plan.share(number, plan.pairs) {
            let (end, their) = Builder::new().engine(plan.engine).pair()?;
            end.set_nonblocking(true)?;
            poll.add(end.as_fd(), ends.len())?;
            ends.push(end);
            theirs.push(their);
        }
        let mut held = Some((ends, theirs));
        let mut client = Forked::start(|mut control| {
            let Some((ends, mut theirs)) = held.take() else { return Ok(()) };
            drop(ends);
            trim();
            ask(plan, number, &mut theirs, words, &mut control)
        })?;
        ends = held.map(|(ends, _)| ends).unwrap_or_default();
        hear(client.control())?;
        words[Word::Client as usize + number].store(client.id() as u64, Relaxed);
        poll.add(client.control().as_fd(), plan.pairs + number)?;
        clients.push(client);
    }
    words[Word::Setup as usize].store(clock::now() - started, Relaxed);
    poll.add(control.as_fd(), plan.pairs + plan.clients)?;
    trim();
    tell(control)?;
    answer_all(ends, poll, clients, words, control)
}

/// Answers all, and orders one client after the other to ask, until the control socket ends.
fn answer_all(
    mut ends: Vec<Stream>,
    mut poll: Epoll,
    mut clients: Vec<Forked>,
    words: &Shared,
    control: &mut UnixStream,
) -> io::Result<()> {
    let returns = &words[Word::Returns as usize];
    loop {
        let ready = poll.wait()?;
        returns.store(returns.load(Relaxed) + 1, Relaxed);
        for at in ready {
            if let Some(end) = ends.get_mut(at) {
                answer(end)?;
                continue;
            }
            // A client has asked all, or is gone; behind the last is whoever orders this process about.
            let done = at - ends.len();
            match clients.get_mut(done) {
                Some(client) => hear(client.control())?,
                None if hear(control).is_err() => return Ok(()),
                None => {}
            }
            let next = if done < clients.len() { done + 1 } else { 0 };
            match clients.get_mut(next) {
                Some(client) => tell(client.control())?,
                None => tell(control)?,
            }
        }
    }
}

/// Sends back all that there is.
fn answer(end: &mut Stream) -> io::Result<()> {
    let mut buffer = [0; MESSAGE];
    loop {
        match end.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => end.write_all(&buffer[..len])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A client: when ordered to, asks the active ones of its pairs, one after the other, and notes the times.
fn ask(
    plan: Plan,
    number: usize,
    ends: &mut [Stream],
    words: &Shared,
    control: &mut UnixStream,
) -> io::Result<()> {
    let active = plan.share(number, plan.active());
    let first = Word::Times as usize + plan.before(number, plan.active()) * plan.rounds();
    let mut times = words[first..].iter();
    tell(control)?;
    while hear(control).is_ok() {
        for round in 0..plan.rounds() {
            let step = (ends.len() / active.max(1)).max(1);
            for end in ends.iter_mut().step_by(step).take(active) {
                let (sent, mut back) = ([round as u8; MESSAGE], [0; MESSAGE]);
                let started = clock::now();
                end.write_all(&sent)?;
                end.read_exact(&mut back)?;
                let time = clock::now() - started;
                if back != sent {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                times.next().ok_or(io::ErrorKind::Other)?.store(time, Relaxed);
            }
        }
        tell(control)?;
    }
    Ok(())
}

/// p50 and p99 of so many words, in microseconds.
fn quantiles(words: &[std::sync::atomic::AtomicU64], count: usize) -> [f64; 2] {
    let mut times: Vec<u64> = words[..count].iter().map(|word| word.load(Relaxed)).collect();
    times.sort_unstable();
    [0.5, 0.99].map(|part| times[((count - 1) as f64 * part) as usize] as f64 / 1e3)
}

fn switches(process: libc::pid_t) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let counts = text.lines().filter(|line| line.contains("ctxt_switches"));
    Ok(counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Gives back what was dropped here, so that it is not taken for what the pairs cost.
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a number.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn this() -> libc::pid_t {
    // SAFETY: takes nothing.
    unsafe { libc::getpid() }
}

/// Raises the limit of descriptors as far as it goes without privileges; returns it.
#[must_use]
pub fn raise_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the pointer is to a limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) };
    wanted.rlim_cur
}
