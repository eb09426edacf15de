//! Random schedules against a naive model: a queue of payloads and descriptors.
//!
//! A schedule follows from its seed. One in four has a thread that sends and one that receives, and one in four of
//! these is interrupted by signals all the time; in the others one thread does both, so that it is known what must
//! have come. `STREAMPIPE_SCHEDULE=<seed>` runs that one alone; the many more than CI has time for are
//!
//! ```text
//! cargo test --release -p streampipe --test it a_million_random_schedules -- --ignored
//! ```

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use streampipe::{Budget, Engine, Message, RawChannel, RecvError, SendReason, SeqPacket};
use streampipe_wire::{HEADER_LEN, MAX_PAYLOAD};

use super::interrupt::{self, Target};
use super::peer::{Files, are_same};
use crate::engines::{engine, pair, pair_with_room, tests_of_engines};
use crate::support::checked;

/// The seed of the only schedule that is run.
const ONE: &str = "STREAMPIPE_SCHEDULE";

const MAX: usize = MAX_PAYLOAD as usize;

/// Of room for what was not read; less than a page is more.
const LEAST: usize = 4096;

/// What is sent: descriptors and payload follow from these.
#[derive(Clone, Copy, Debug)]
struct Item {
    len: usize,
    fds: usize,
    salt: usize,
}

/// What became of the send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// The channel says that nothing of it arrives.
    Not,
}

/// How a send, or a receive, waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Never,
    Timeout(Duration),
    Deadline(Duration),
    Forever,
}

/// All that a seed decides.
#[derive(Debug)]
struct Schedule {
    is_stream: bool,
    /// Whether the two sides have a thread each, and whether signals interrupt them.
    threads: bool,
    signals: bool,
    room: Option<usize>,
    most_bytes: usize,
    most_fds: usize,
    sends: Vec<(Item, Wait)>,
    receives: Vec<Wait>,
}

fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

fn a_size(random: &mut Rng) -> usize {
    let small = [0, 1, 8, 31, 32, 33, 64, 1023, 1024, 1025, 1056, 1057];
    let middle = [4063, 4064, 4065, 4095, 4096, 4097, 4128, 4129, 9000, 18_431, 18_432, 40_000];
    let large = [MAX - 1, MAX, MAX + 1, MAX + 1024, MAX + 1025, 2 * MAX, 2 * MAX + 1, 3 * MAX + 7];
    match random.u8(..16) {
        0 => pick(random, &large),
        1..6 => pick(random, &middle),
        _ => pick(random, &small),
    }
}

fn a_number_of_fds(random: &mut Rng) -> usize {
    match random.u16(..400) {
        0 => pick(random, &[253, 254, 600]),
        1..200 => 0,
        200..300 => 1,
        _ => random.usize(2..=16),
    }
}

fn a_wait(random: &mut Rng, forever: bool) -> Wait {
    let short = Duration::from_micros(random.u64(..60));
    match random.u8(..if forever { 6 } else { 4 }) {
        0 | 1 => Wait::Never,
        2 => Wait::Timeout(short),
        3 => Wait::Deadline(short),
        _ => Wait::Forever,
    }
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let threads = random.u8(..4) == 0;
        let mut sends: Vec<(Item, Wait)> = Vec::new();
        for salt in 0..random.usize(1..10) {
            let (len, fds) = (a_size(&mut random), a_number_of_fds(&mut random));
            // No two alike, so that an error with the size says which one it was.
            if sends.iter().all(|(it, _)| (it.len, it.fds) != (len, fds)) {
                sends.push((Item { len, fds, salt: salt * 5 }, a_wait(&mut random, threads)));
            }
        }
        Self {
            is_stream: random.bool() | (engine() == Engine::Ring),
            threads,
            signals: random.u8(..4) == 0,
            room: pick(&mut random, &[None, Some(LEAST), Some(LEAST), Some(10_000), Some(60_000)]),
            most_bytes: pick(
                &mut random,
                &[usize::MAX, usize::MAX, 0, 31, 1024, 4096, MAX, 2 * MAX],
            ),
            most_fds: pick(&mut random, &[1000, 1000, 1000, 0, 1, 10, 253]),
            sends,
            receives: (0..16).map(|_| a_wait(&mut random, threads)).collect(),
        }
    }

    fn ends(&self) -> (RawChannel, RawChannel) {
        let (ours, theirs): (RawChannel, RawChannel) = if self.is_stream {
            let (ours, theirs) = self.room.map_or_else(pair, pair_with_room).expect("a pair");
            (ours.into(), theirs.into())
        } else {
            let (ours, theirs) = SeqPacket::pair().expect("a pair");
            if let Some(room) = self.room {
                ours.set_send_buffer_size(room).expect("room");
            }
            (ours.into(), theirs.into())
        };
        let budget = Budget::default().message_bytes(self.most_bytes as u64);
        theirs.set_budget(budget.message_fds(self.most_fds as u32));
        (ours, theirs)
    }

    fn is_too_large(&self, item: Item) -> bool {
        item.len > self.most_bytes || item.fds > self.most_fds
    }
}

/// What does not change between schedules.
struct Stage {
    files: Files,
    /// Payloads are slices of it.
    bytes: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let mut random = Rng::with_seed(7);
        Self { files: Files::new(), bytes: (0..3 * MAX + 1000).map(|_| random.u8(..)).collect() }
    }

    fn payload(&self, item: Item) -> &[u8] {
        &self.bytes[item.salt..item.salt + item.len]
    }

    fn fds(&self, item: Item) -> Vec<BorrowedFd<'_>> {
        self.files.some(item.salt, item.fds)
    }

    fn is(&self, message: &Message, item: Item) -> bool {
        message.bytes == self.payload(item) && are_same(&message.fds, &self.fds(item))
    }
}

fn send(ours: &RawChannel, stage: &Stage, item: Item, wait: Wait) -> Result<(), SendReason> {
    let (bytes, fds) = (stage.payload(item), stage.fds(item));
    let sent = match wait {
        Wait::Never => ours.try_send(bytes, &fds),
        Wait::Timeout(timeout) => ours.send_timeout(bytes, &fds, timeout),
        Wait::Deadline(timeout) => ours.send_deadline(bytes, &fds, Instant::now() + timeout),
        Wait::Forever => ours.send(bytes, &fds),
    };
    sent.map_err(|error| error.into_parts().1)
}

fn receive(theirs: &RawChannel, wait: Wait) -> Result<Message, RecvError> {
    match wait {
        Wait::Never => theirs.try_recv(),
        Wait::Timeout(timeout) => theirs.recv_timeout(timeout),
        Wait::Deadline(timeout) => theirs.recv_deadline(Instant::now() + timeout),
        Wait::Forever => theirs.recv(),
    }
}

/// Sends as the schedule says, and checks what is said about it.
fn send_one(schedule: &Schedule, ours: &RawChannel, stage: &Stage, at: usize) -> Sent {
    let (item, wait) = schedule.sends[at];
    let reason = match send(ours, stage, item, wait) {
        Ok(()) => return Sent::Whole,
        Err(reason) => reason,
    };
    let packet = item.len.min(MAX) + HEADER_LEN;
    let room = || rustix::net::sockopt::socket_send_buffer_size(ours.as_fd()).expect("a socket");
    let may_be = match &reason {
        SendReason::Full => wait == Wait::Never,
        SendReason::TimedOut => matches!(wait, Wait::Timeout(_) | Wait::Deadline(_)),
        // A packet larger than the room for all of them.
        SendReason::Io(error) => {
            const EMSGSIZE: Option<i32> = Some(90);
            error.raw_os_error() == EMSGSIZE && !schedule.is_stream && packet + 32 > room()
        }
        _ => false,
    };
    assert!(may_be, "{item:?} {wait:?}: {reason:?}");
    Sent::Not
}

/// The queue that the channel should be.
struct Model<'test> {
    schedule: &'test Schedule,
    stage: &'test Stage,
    /// What was sent and has not come, in order.
    queue: std::collections::VecDeque<(Item, Sent)>,
    /// Whether the last was not sent: all that came of it may be that it is too large, and its end is open.
    is_open: bool,
}

impl<'test> Model<'test> {
    fn new(schedule: &'test Schedule, stage: &'test Stage) -> Self {
        Self { schedule, stage, queue: Default::default(), is_open: false }
    }

    /// Takes the first that was sent; all before it was not.
    fn next_sent(&mut self) -> Option<Item> {
        while let Some((item, sent)) = self.queue.pop_front() {
            if sent == Sent::Whole {
                self.is_open = false;
                return Some(item);
            }
        }
        None
    }

    /// Takes the first that is too large; what was not sent may have been announced, or not.
    fn next_too_large(&mut self, bytes: u64, fds: u32) -> Option<Item> {
        let is_it = |item: Item| (item.len as u64, item.fds as u32) == (bytes, fds);
        while let Some((item, sent)) = self.queue.pop_front() {
            if self.schedule.is_too_large(item) && is_it(item) {
                self.is_open = sent == Sent::Not;
                return Some(item);
            }
            if sent == Sent::Whole {
                return None;
            }
        }
        None
    }

    fn has_sent(&self) -> bool {
        self.queue.iter().any(|it| it.1 == Sent::Whole)
    }

    /// Compares; returns whether more can come.
    fn check(&mut self, received: &Result<Message, RecvError>) -> bool {
        match received {
            Ok(message) => {
                let item = self.next_sent().expect("nothing that was sent has not come");
                assert!(!self.schedule.is_too_large(item), "{item:?} is beyond the budget");
                let (bytes, fds) = (message.bytes.len(), message.fds.len());
                assert!(self.stage.is(message, item), "{item:?}: {bytes} bytes, {fds} descriptors");
                true
            }
            Err(RecvError::TooLarge(it)) => {
                let item = self.next_too_large(it.bytes, it.fds);
                assert!(item.is_some(), "none that was sent is: {it}");
                true
            }
            Err(RecvError::Empty | RecvError::TimedOut) => true,
            Err(RecvError::Closed | RecvError::Torn(_)) => {
                assert!(!self.has_sent(), "the end, and this has not come: {:?}", self.queue);
                let torn = matches!(received, Err(RecvError::Torn(_)));
                let is_open = self.is_open || !self.queue.is_empty();
                assert!(!torn || is_open, "torn, and all was sent whole");
                false
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// What was sent has come, or is there.
    fn check_presence(&self, received: &Result<Message, RecvError>) {
        let is_empty = matches!(received, Err(RecvError::Empty));
        assert!(!is_empty || !self.has_sent(), "it was sent: {:?}", self.queue);
    }
}

/// One thread sends and receives in turn.
fn run_in_one_thread(schedule: &Schedule, stage: &Stage, random: &mut Rng) {
    let (ours, theirs) = schedule.ends();
    let mut model = Model::new(schedule, stage);
    let mut receives = schedule.receives.iter().copied().cycle();
    for at in 0..schedule.sends.len() {
        let sent = send_one(schedule, &ours, stage, at);
        model.queue.push_back((schedule.sends[at].0, sent));
        for _ in 0..random.u8(..3) {
            let received = receive(&theirs, receives.next().expect("for ever"));
            model.check_presence(&received);
            model.check(&received);
        }
    }
    drop(ours);
    while model.check(&theirs.recv()) {}
}

/// One thread sends while another receives.
fn run_in_two_threads(schedule: &Schedule, stage: &Stage) {
    let (ours, theirs) = schedule.ends();
    let is_over = AtomicBool::new(false);
    let (sender, receiver) = (Target::new(), Target::new());
    std::thread::scope(|scope| {
        if schedule.signals {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sender.interrupt();
                    receiver.interrupt();
                    (0..10).for_each(|_| std::thread::yield_now());
                }
            });
        }
        // Both go with a panic, so that nobody waits for ever.
        let _over = Over(&is_over);
        let theirs = theirs;
        let sending = scope.spawn(|| {
            sender.is_this_thread();
            let ours = ours;
            let sent = (0..schedule.sends.len()).map(|at| send_one(schedule, &ours, stage, at));
            sent.collect::<Vec<_>>()
        });
        receiver.is_this_thread();
        let mut log = Vec::new();
        for wait in schedule.receives.iter().copied().cycle() {
            let received = receive(&theirs, wait);
            let is_end = matches!(received, Err(RecvError::Closed | RecvError::Torn(_)));
            log.push(received);
            if is_end {
                break;
            }
        }
        let sent = sending.join().expect("the sender's checks hold");
        let mut model = Model::new(schedule, stage);
        model.queue = schedule.sends.iter().map(|it| it.0).zip(sent).collect();
        for received in &log {
            model.check(received);
        }
    });
}

/// Says so when it goes.
struct Over<'test>(&'test AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run(seed: u64, stage: &Stage) {
    /// Says which one it was, if it fails.
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("{ONE}={}\n{:#?}\n", self.0, Schedule::of(self.0)),
                );
            }
        }
    }
    let _seed = Seed(seed);
    let schedule = Schedule::of(seed);
    if schedule.threads {
        run_in_two_threads(&schedule, stage);
    } else {
        run_in_one_thread(&schedule, stage, &mut Rng::with_seed(!seed));
    }
}

fn run_schedules(seeds: std::ops::Range<u64>) {
    interrupt::catch();
    let stage = Stage::new();
    match std::env::var(ONE) {
        Ok(seed) => run(seed.parse().expect("a number"), &stage),
        Err(_) => seeds.for_each(|seed| run(seed, &stage)),
    }
}

tests_of_engines! {
    fn twenty_thousand_random_schedules_follow_the_model() {
        run_schedules(0..20_000);
    }
}

/// In this process, for longer than one of its own may take.
#[test]
#[ignore = "takes many minutes; the command is above"]
fn a_million_random_schedules_follow_the_model() {
    checked(|| run_schedules(20_000..1_020_000));
}
