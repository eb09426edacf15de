//! All words and bytes of both ends, at full speed, while the victim makes calls of all kinds.
//!
//! The long run, 10^8 calls: `cargo test --release -p streampipe --test forks scribbling_at_length -- --ignored`, and fewer
//! with `STREAMPIPE_TEST_CALLS`. There a ring lives longer and most calls do not wait. One seed alone:
//! `STREAMPIPE_TEST_SEED=4711` with either.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::getpid;
use streampipe::os::linux::EndExt;
use streampipe::{FdError, Poisoned, Stream, Wait};
use streampipe_ring::Mark;
use streampipe_sys::message::{self, Blocking};
use streampipe_sys::region::Owner;
use streampipe_wire::Note;

use super::{CAPACITY, MARGIN, Peer, die_with, poisoned, ring};
use crate::child::forked;
use crate::support::{Descriptors, file_with, threads};

pub(crate) const TESTS: &[crate::Test] =
    &[("scribbling_costs_a_ring_and_nothing_else", scribbling)];

pub(crate) const LONG: &[crate::Test] = &[("scribbling_at_length", scribbling_at_length)];

/// How many calls a change is tried with.
const CALLS: u64 = 60_000;

/// Says how many calls the long run makes.
const HOW_MANY: &str = "STREAMPIPE_TEST_CALLS";

/// Has one seed only.
const ONE: &str = "STREAMPIPE_TEST_SEED";

/// How many rings one peer scribbles on, one after the other.
const RINGS: usize = 24;

/// How long a call that waits may wait, less than which it takes in most cases.
const PATIENCE: Duration = Duration::from_millis(1);

/// What is mapped and used once takes memory; more than this is a leak.
const MOST_MEMORY: u64 = 64 << 20;

/// How long rings live, and how often their calls wait.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How many calls a ring lives for if it is not poisoned; one that is idle, a tenth.
    life: u32,
    /// One setting in so many has the calls that follow wait.
    waits: u32,
    /// One call in 40 of so many ends a half, and one refuses descriptors from then on.
    ends: u16,
}

/// Half of all calls may wait.
const BRISK: Pace = Pace { life: 1500, waits: 2, ends: 100 };

/// Few do, for that takes a millisecond each.
const LONG_LIVED: Pace = Pace { life: 30_000, waits: 128, ends: 4000 };

fn scribbling() {
    run(CALLS, BRISK);
}

fn scribbling_at_length() {
    let calls = std::env::var(HOW_MANY);
    run(calls.map_or(100_000_000, |it| it.parse().expect("a number")), LONG_LIVED);
}

fn run(calls: u64, pace: Pace) {
    let seeds = match std::env::var(ONE) {
        Ok(seed) => {
            let seed = seed.parse().expect("a number");
            seed..seed + 1
        }
        Err(_) => 0..u64::MAX,
    };
    let mut tally = Tally::default();
    let mut first = None;
    for seed in seeds {
        meet_a_scribbler(seed, pace, &mut tally);
        let now = resident();
        let first = *first.get_or_insert(now);
        assert!(now < first + MOST_MEMORY, "{now} bytes of memory, which were {first}");
        if tally.calls >= calls {
            break;
        }
    }
    tally.check();
}

/// How much memory this process uses, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = status.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

/// Makes rings, and a process that scribbles on them, one after the other.
fn meet_a_scribbler(seed: u64, pace: Pace, tally: &mut Tally) {
    let file = file_with(b"x");
    // A scope ends before its threads do, and a fork wants none.
    while threads() > 1 {
        std::thread::yield_now();
    }
    let open = Descriptors::now().count();
    // Nobody scribbles on this one.
    let (board_end, board) = ring(CAPACITY);
    let (victims, peers): (Vec<_>, Vec<_>) = (0..RINGS).map(|_| ring(CAPACITY)).unzip();
    let (parent, mut both) = (getpid(), Some((victims, peers)));
    let (stream, mut child) = forked(|_| {
        let (victims, peers) = both.take().expect("taken once in the child");
        drop(victims);
        die_with(parent);
        Scribbler::new(Board::of(&board), seed).scribble(peers)
    });
    let (victims, peers) = both.take().expect("taken once in the parent");
    drop(peers);
    let board_here = Board::of(&board);
    let mut random = Rng::with_seed(!seed);
    for (index, victim) in victims.into_iter().enumerate() {
        let manner = MANNERS[index % MANNERS.len()];
        board_here.begin(index);
        let suffering =
            Victim { stream: victim, file: &file, board: &board_here, pace, is_poisoned: false };
        let suffered = suffering.suffer(manner, &mut random, tally);
        suffered.unwrap_or_else(|what| panic!("seed {seed}, ring {index}, {manner:?}: {what}"));
        let most = open + 2 * RINGS + 8 + 2 * 253;
        assert!(Descriptors::now().count() <= most, "descriptors come in");
    }
    child.kill().expect("it runs");
    assert!(!child.wait().expect("a status").success(), "it scribbled until it was killed");
    drop((stream, board_end, board, file));
}

/// What the two processes tell each other where nobody scribbles.
struct Board<'memory> {
    /// Which ring it is the turn of, plus 1.
    turn: &'memory AtomicU64,
    /// Up to which the peer has come.
    seen: &'memory AtomicU64,
    /// How much the victim has read of it, and written to it, in truth.
    read: &'memory AtomicU64,
    written: &'memory AtomicU64,
}

impl<'memory> Board<'memory> {
    fn of(board: &'memory Peer) -> Self {
        let words = board.memory.ring(Owner::Second);
        Self { turn: &words[0], seen: &words[16], read: &words[32], written: &words[33] }
    }

    fn begin(&self, index: usize) {
        self.read.store(0, Relaxed);
        self.written.store(0, Relaxed);
        self.turn.store(index as u64 + 1, Release);
        while self.seen.load(Acquire) <= index as u64 {
            std::hint::spin_loop();
        }
    }
}

// --- the peer ---

/// What is written, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Anything anywhere.
    Noise,
    /// Mostly what could be, and now and then not.
    Plausible,
    /// Positions that are right, and for an instant wrong.
    TwoFaced,
    /// What could be; but the victim's own words, which it believes if a copy of it could have written them, are noise.
    Own,
    /// What could be, always: it poisons nothing, and all else goes on.
    Restless,
    /// The same, but positions hardly move: the victim sleeps, and is woken for nothing.
    Idle,
}

const MANNERS: [Manner; 6] = [
    Manner::Noise,
    Manner::Plausible,
    Manner::TwoFaced,
    Manner::Own,
    Manner::Restless,
    Manner::Idle,
];

impl Manner {
    /// How many calls a ring lives for if it is not poisoned.
    fn life(self, pace: Pace) -> u32 {
        if self == Self::Idle { pace.life / 10 } else { pace.life }
    }

    /// Whether a victim never finds anything wrong.
    fn is_right(self) -> bool {
        matches!(self, Self::Restless | Self::Idle)
    }
}

/// How many words of a control page mean something, or lie between some that do.
const WORDS: usize = 0x380 / 8;

struct Scribbler<'memory> {
    board: Board<'memory>,
    random: Rng,
    file: File,
    /// How far it says that it has written, and read; and how many batches it has sent.
    tail: u64,
    head: u64,
    batches: u64,
    notes: u16,
}

impl<'memory> Scribbler<'memory> {
    fn new(board: Board<'memory>, seed: u64) -> Self {
        let file = File::open("/dev/null").expect("a descriptor");
        Self { board, random: Rng::with_seed(seed), file, tail: 0, head: 0, batches: 0, notes: 0 }
    }

    fn scribble(mut self, peers: Vec<Peer>) -> ! {
        let mut last = 0;
        loop {
            let turn = self.board.turn.load(Acquire);
            let Some(index) = turn.checked_sub(1) else { continue };
            if turn != last {
                (self.tail, self.head, self.batches) = (0, 0, 0);
                self.board.seen.store(turn, Release);
                last = turn;
            }
            let manner = MANNERS[index as usize % MANNERS.len()];
            let peer = &peers[index as usize];
            for _ in 0..64 {
                match manner {
                    Manner::Noise => self.noise(peer.memory.words()),
                    _ => self.step(peer, manner),
                }
            }
            self.notes(peer, manner);
        }
    }

    /// Anything into any word of the control pages, or of the bytes.
    fn noise(&mut self, words: &[AtomicU64]) {
        let part = if self.random.bool() { 0 } else { words.len() / 2 };
        let at = match self.random.u8(0..8) {
            0 => part + self.random.usize(0..words.len() / 2),
            _ => part + self.random.usize(0..WORDS),
        };
        let other = words[part + self.random.usize(0..WORDS)].load(Relaxed);
        words[at].store(self.any(other), Relaxed);
    }

    /// A value that a check may have forgotten.
    fn any(&mut self, other: u64) -> u64 {
        let capacity = CAPACITY as u64;
        match self.random.u8(0..12) {
            0 => 0,
            1 => u64::MAX,
            2 => self.random.u64(..),
            3 => 1 << self.random.u8(0..64),
            4 => other.wrapping_add(1),
            5 => other.wrapping_sub(1),
            6 => other.wrapping_add(capacity),
            7 => other.wrapping_add(capacity + 1),
            8 => other.wrapping_sub(capacity),
            9 => other << 2 | 1,
            10 => other << 2 | 2,
            _ => self.random.u64(0..16),
        }
    }

    /// Goes on as an honest peer could, and in this manner.
    fn step(&mut self, peer: &Peer, manner: Manner) {
        let (own, victims) = (peer.own(), peer.victims());
        let moves = manner != Manner::Idle || self.random.u32(0..100_000) == 0;
        match self.random.u8(if moves { 0 } else { 8 }..16) {
            0..=3 => {
                let most = self.board.read.load(Relaxed) + CAPACITY as u64;
                self.tail = self.between(self.tail, most);
                own.written.tail.store(self.tail, Release);
            }
            4..=7 => {
                self.head = self.between(self.head, self.board.written.load(Relaxed));
                own.read.head.store(self.head, Release);
            }
            8 => own.data_arm.0.store(self.any(victims.written.tail.load(Relaxed)), Relaxed),
            9 => own.space_arm.0.store(self.any(victims.read.head.load(Relaxed)), Relaxed),
            10 => own.over.closings.store(self.random.u64(0..4), Relaxed),
            11 => own.processor.0.store(self.random.u64(0..4), Relaxed),
            12 => own.read.taken.store(self.any(0), Relaxed),
            13 => own.superblock.capacity.store(self.any(CAPACITY as u64), Relaxed),
            _ => {
                let owner = if self.random.bool() { Owner::First } else { Owner::Second };
                let ring = peer.memory.ring(owner);
                ring[self.random.usize(0..ring.len())].store(self.random.u64(..), Relaxed);
            }
        }
        match manner {
            Manner::Own => {
                let at = self.random.usize(0..WORDS);
                // Not what the victim has ended: that it may believe, for the peer could have ended it.
                let ended = std::ptr::from_ref(&victims.over.ended);
                let word = &peer.memory.words()[at];
                if std::ptr::from_ref(word) != ended {
                    word.store(self.any(word.load(Relaxed)), Relaxed);
                }
            }
            Manner::TwoFaced if self.random.u8(..) == 0 => {
                own.written.tail.store(self.any(self.tail), Relaxed);
                own.written.tail.store(self.tail, Relaxed);
                own.read.head.store(self.any(self.head), Relaxed);
                own.read.head.store(self.head, Relaxed);
            }
            Manner::Plausible if self.random.u32(0..20_000) == 0 => self.noise(peer.memory.words()),
            _ => {}
        }
    }

    /// From here on towards there, which it cannot pass; often all the way.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        match to.saturating_sub(from) {
            0 => from,
            _ if self.random.u8(0..4) == 0 => to,
            some => from + self.random.u64(0..=some.min(64)),
        }
    }

    /// Takes what comes over the lifeline, and sends something.
    fn notes(&mut self, peer: &Peer, manner: Manner) {
        let mut bytes = [0; 256];
        let into = &mut [std::io::IoSliceMut::new(&mut bytes)];
        let _ = message::recv(peer.lifeline.as_fd(), into, Blocking::Never);
        if self.random.u8(0..4) == 0 {
            let _ = peer.send(&Note::Bell.to_bytes(), &[]);
        }
        let moves = manner != Manner::Idle || self.random.u32(0..1000) == 0;
        let has_room = self.board.read.load(Relaxed) + CAPACITY as u64 > self.tail;
        if manner != Manner::Noise && moves && has_room && self.random.u8(0..4) == 0 {
            let count = self.random.usize(1..4);
            let fds = vec![self.file.as_fd(); count];
            self.notes = self.notes % u16::MAX + 1;
            let note = Note::Fds { count: count as u8, at: self.tail }.numbered(self.notes);
            if peer.send(&note.to_bytes(), &fds) {
                self.mark(peer, self.tail, self.notes);
                self.batches += 1;
                peer.own().written.batches.store(self.batches, Release);
                self.tail += 1;
                peer.own().written.tail.store(self.tail, Release);
            }
        }
        if !manner.is_right() && self.random.u16(..) < 64 {
            self.send_something_wrong(peer);
        }
    }

    /// Says where the next batch of descriptors belongs.
    fn mark(&self, peer: &Peer, position: u64, number: u16) {
        let marks = &peer.own().marks.0;
        let mark = Mark::new(position, number).to_word();
        marks[self.batches as usize % marks.len()].store(mark, Release);
    }

    fn send_something_wrong(&mut self, peer: &Peer) {
        let mut bytes = [0; 48];
        self.random.fill(&mut bytes);
        let count = self.random.u8(0..254);
        let mut len = streampipe_wire::NOTE_LEN;
        let note = match self.random.u8(0..8) {
            0 => None,
            1 => Some(Note::Memory { capacity: CAPACITY as u64 }),
            2 => Some(Note::Hello),
            3 => Some(Note::Bell),
            4 => Some(Note::Fds { count: self.random.u8(1..254), at: self.tail }),
            _ => Some(Note::Fds { count: count.max(1), at: self.any(self.tail) }),
        };
        // That of the note before, the right one, or any.
        let number = self.notes.wrapping_add([0, 1, self.random.u16(..)][self.random.usize(0..3)]);
        match note {
            Some(note) => bytes[..len].copy_from_slice(&note.numbered(number).to_bytes()),
            None => len = self.random.usize(1..48),
        }
        let _ = peer.send(&bytes[..len], &vec![self.file.as_fd(); count.into()]);
        let wrong = self.any(self.tail);
        self.mark(peer, wrong, number);
        self.batches += self.random.u64(0..3);
        peer.own().written.batches.store(self.batches, Release);
    }
}

// --- the victim ---

/// How calls ended.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    bytes: u64,
    fds: u64,
    rings: u64,
    ends: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn note(&mut self, end: &'static str) {
        *self.ends.entry(end).or_default() += 1;
    }

    /// Everything that can happen did: else the test was of something else.
    fn check(&self) {
        let _ = writeln!(io::stdout(), "{self:?}");
        if std::env::var_os(ONE).is_some() {
            return;
        }
        assert!(self.bytes > self.calls && self.fds > self.calls / 1000, "{self:?}");
        let expected = [
            "done",
            "the end",
            "would block",
            "timed out",
            "broken pipe",
            "fds waiting",
            "fds orphaned",
            "poisoned: position",
            "poisoned: fds",
            "poisoned: note",
        ];
        for end in expected {
            assert!(self.ends.contains_key(end), "never {end}: {self:?}");
        }
    }
}

/// How long this thread has run so far.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it does not run backwards")
}

struct Victim<'test> {
    stream: Stream,
    file: &'test File,
    board: &'test Board<'test>,
    pace: Pace,
    is_poisoned: bool,
}

impl Victim<'_> {
    fn suffer(mut self, manner: Manner, random: &mut Rng, tally: &mut Tally) -> Result<(), String> {
        tally.rings += 1;
        self.stream.set_wait([Wait::Adaptive, Wait::Spin, Wait::Block][random.usize(0..3)]);
        for timeout in [&self.stream].map(|it| it.set_read_timeout(Some(PATIENCE))) {
            timeout.map_err(|error| error.to_string())?;
        }
        self.stream.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut after = 0;
        for _ in 0..manner.life(self.pace) {
            let (start, busy) = (Instant::now(), busy());
            let which = random.u8(0..40);
            let done = self.call(which, random, tally);
            let took = start.elapsed();
            tally.calls += 1;
            if took > PATIENCE + MARGIN {
                let busy = self::busy() - busy;
                let wait = self.stream.wait_policy();
                let ran = format!("of which it ran {busy:?}, {wait:?}: {done:?}");
                return Err(format!("call {which} took {took:?}, {ran}"));
            }
            match done {
                Ok(end) => tally.note(end),
                Err(error) => tally.note(self.explain(&error, manner)?),
            }
            // And for some calls after that, each of which says so.
            after += u32::from(self.is_poisoned);
            if after > 20 {
                break;
            }
        }
        Ok(())
    }

    /// Which documented error it is.
    fn explain(&mut self, error: &io::Error, manner: Manner) -> Result<&'static str, String> {
        if let Some(poisoned) = poisoned(error) {
            self.is_poisoned = true;
            if manner.is_right() {
                return Err(format!("it was poisoned: {poisoned}"));
            }
            return Ok(match poisoned {
                Poisoned::Position(_) => "poisoned: position",
                Poisoned::Note(_) | Poisoned::LifelineCut | Poisoned::UnexpectedNote => {
                    "poisoned: note"
                }
                _ => "poisoned: fds",
            });
        }
        match error.get_ref().and_then(|inside| inside.downcast_ref::<FdError>()) {
            Some(FdError::Waiting { .. }) => return Ok("fds waiting"),
            Some(FdError::Refused { .. }) => return Ok("fds refused"),
            // An honest peer is not killed between two steps, and nobody else reads.
            Some(FdError::Orphaned { .. }) if !manner.is_right() => return Ok("fds orphaned"),
            Some(FdError::Lost { .. }) if !manner.is_right() => return Ok("fds lost"),
            Some(other) => return Err(format!("{other:?}")),
            None => {}
        }
        match error.kind() {
            ErrorKind::WouldBlock => Ok("would block"),
            ErrorKind::TimedOut => Ok("timed out"),
            ErrorKind::BrokenPipe => Ok("broken pipe"),
            ErrorKind::ConnectionReset => Ok("reset"),
            // Of a commit: it looks as if a copy of the victim had written.
            ErrorKind::Other if !manner.is_right() => Ok("overtaken"),
            _ => Err(format!("an error that is not documented: {error:?}")),
        }
    }

    fn call(&mut self, which: u8, random: &mut Rng, tally: &mut Tally) -> io::Result<&'static str> {
        let mut buffer = [0; 5000];
        let len = if random.bool() { random.usize(1..64) } else { random.usize(1..5000) };
        match which {
            0..=9 => {
                let read = self.stream.read(&mut buffer[..len])?;
                Ok(self.has_read(read, tally))
            }
            10..=16 => {
                let written = self.stream.write(&buffer[..len])?;
                Ok(self.has_written(written, tally))
            }
            17 | 18 => {
                let (one, two) = buffer[..len].split_at(len / 2);
                let parts = [IoSlice::new(one), IoSlice::new(two)];
                let written = self.stream.write_vectored(&parts)?;
                Ok(self.has_written(written, tally))
            }
            19..=23 => {
                let (read, fds) = self.stream.recv_fds(&mut buffer[..len])?;
                tally.fds += fds.len() as u64;
                Ok(self.has_read(read, tally))
            }
            24 | 25 => {
                let fds = vec![self.file.as_fd(); random.usize(1..4)];
                let written = self.stream.send_fds(&buffer[..len], &fds)?;
                Ok(self.has_written(written, tally))
            }
            26..=29 => self.read_in_place(random, tally),
            30..=32 => self.write_in_place(len, random, tally),
            33..=35 => {
                self.stream.set_nonblocking(random.u32(0..self.pace.waits) != 0)?;
                Ok("set")
            }
            36 => {
                self.stream.set_wait([Wait::Adaptive, Wait::Spin, Wait::Block][random.usize(0..3)]);
                Ok("set")
            }
            37 | 38 => {
                let copy = self.stream.try_clone()?;
                self.stream = copy;
                Ok("set")
            }
            _ => self.end_something(random),
        }
    }

    fn end_something(&mut self, random: &mut Rng) -> io::Result<&'static str> {
        match random.u16(0..self.pace.ends * 2) {
            0 => self.stream.refuse_fds()?,
            1 => self.stream.shutdown(Shutdown::Write)?,
            2 => self.stream.shutdown(Shutdown::Read)?,
            _ => {}
        }
        Ok("set")
    }

    fn read_in_place(&mut self, random: &mut Rng, tally: &mut Tally) -> io::Result<&'static str> {
        let mut there = self.stream.readable()?;
        let len = there.len();
        assert!(len <= CAPACITY, "{len} bytes in a ring of {CAPACITY}");
        let read = random.usize(0..=len);
        let mut buffer = [0; CAPACITY];
        self.call_meanwhile(random)?;
        there.read_exact(&mut buffer[..read / 2])?;
        there.skip(read - read / 2);
        if read == len {
            assert_eq!(there.read(&mut buffer)?, 0, "no more than there was");
        }
        there.release();
        Ok(if len == 0 { "the end" } else { self.has_read(read, tally) })
    }

    fn write_in_place(
        &mut self,
        len: usize,
        random: &mut Rng,
        tally: &mut Tally,
    ) -> io::Result<&'static str> {
        let len = len.min(CAPACITY);
        let mut room = self.stream.reserve(len)?;
        self.call_meanwhile(random)?;
        let at = random.usize(0..len);
        room.write_at(at, &[7; CAPACITY][..len - at]);
        let some = random.usize(0..=len);
        room.commit(some)?;
        Ok(self.has_written(some, tally))
    }

    /// Now and then, other threads call while something is lent to this one.
    fn call_meanwhile(&self, random: &mut Rng) -> io::Result<()> {
        if random.u8(0..32) > 0 {
            return Ok(());
        }
        let handle = self.stream.try_clone()?;
        handle.set_nonblocking(true)?;
        let handle = &handle;
        std::thread::scope(|scope| {
            for reads in [true, false] {
                scope.spawn(move || {
                    for _ in 0..20 {
                        // What these say, the calls that follow say as well; none may panic, or move what is lent.
                        let done = if reads {
                            { handle }.read(&mut [0; 8])
                        } else {
                            { handle }.write(b"8 bytes!")
                        };
                        assert!(done.is_err() || done.is_ok_and(|len| len <= 8));
                        let _ = handle.bytes_queued();
                    }
                });
            }
        });
        Ok(())
    }

    fn has_read(&self, len: usize, tally: &mut Tally) -> &'static str {
        tally.bytes += len as u64;
        self.board.read.fetch_add(len as u64, Relaxed);
        if len == 0 { "the end" } else { "done" }
    }

    fn has_written(&self, len: usize, tally: &mut Tally) -> &'static str {
        tally.bytes += len as u64;
        self.board.written.fetch_add(len as u64, Relaxed);
        "done"
    }
}
