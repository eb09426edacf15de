//! What reviews found in forks and fork servers: each defect as it showed, and gone.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use streampipe::{Command, Stream, Zygote};

use crate::child::forked;
use crate::support::{self, Descriptors};

pub(crate) const TESTS: &[crate::Test] = &[
    ("deaths_are_told_after_the_zygote_was_dropped", told_after_the_drop),
    ("a_stopped_zygote_keeps_nobody_waiting_longer_than_asked", stopped_zygote),
    ("a_zygote_that_somebody_waits_for_keeps_nobody_else_waiting", stopped_and_asked),
    ("a_fork_right_after_a_dropped_child_was_reaped_is_not_refused", fork_after_reaping),
    ("a_fork_beside_a_thread_that_has_reaped_and_ends_is_not_refused", fork_after_slow_reaping),
    ("workers_of_a_second_zygote_hold_nothing_of_the_first", second_zygote),
];

/// Longer than anything here takes: what takes longer hangs.
const HANG: Duration = Duration::from_secs(10);

/// What ends with 7 when its end is closed; until then it answers each byte with its descriptors.
fn work(mut stream: Stream) -> i32 {
    while stream.read(&mut [0]).is_ok_and(|n| n > 0) {
        let list: Vec<String> = links("self").into_iter().collect();
        let _ = stream.write_all(format!("{}\n", list.join(" ")).as_bytes());
    }
    7
}

/// What a process's descriptors from 3 on refer to.
fn links(process: &str) -> BTreeSet<String> {
    let at = format!("/proc/{process}/fd");
    let listing = std::fs::read_dir(&at).expect("/proc is mounted");
    let number = |name: &std::ffi::OsStr| name.to_str()?.parse::<u32>().ok();
    let numbers = listing.filter_map(|entry| number(&entry.ok()?.file_name()));
    let links = numbers.filter(|number| *number > 2).filter_map(|number| {
        let link = std::fs::read_link(format!("{at}/{number}")).ok()?;
        Some(link.to_string_lossy().into_owned())
    });
    links.collect()
}

fn sockets(links: &BTreeSet<String>) -> BTreeSet<&String> {
    links.iter().filter(|link| link.starts_with("socket:")).collect()
}

fn process(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a small number")).expect("a process id")
}

/// Waits for something that comes without an event to wait for; says whether it came.
fn eventually(mut it: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + HANG;
    while !it() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// The state of a process or thread, as `ps` shows it.
fn state_of(id: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Waits until the thread that reaps has done so, and has closed what it held.
fn settles_to(before: &Descriptors) {
    assert!(support::is_childless_within(HANG), "nobody reaped a child");
    assert!(eventually(|| Descriptors::now() == *before), "a descriptor is left");
}

/// A zygote that `SIGSTOP` holds until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn of(zygote: &Zygote) -> Self {
        let it = Self(process(zygote.id()));
        kill_process(it.0, Signal::STOP).expect("it is ours");
        let number = it.0.as_raw_nonzero().get();
        assert!(eventually(|| state_of(number) == Some('T')), "it was not stopped");
        it
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn told_after_the_drop() {
    let before = Descriptors::now();
    let (zygote, deaths) = Zygote::start_reporting(work).expect("a zygote");
    let mut expected = BTreeSet::new();
    let mut kept = Vec::new();
    for round in 0..400 {
        let mut worker = zygote.fork().expect("a worker");
        expected.insert(worker.id());
        match round % 3 {
            0 => assert_eq!(worker.wait().expect("a status").code(), Some(7)),
            1 => drop(worker),
            _ => kept.push(worker),
        }
    }
    // Most of them die after this, and nobody has read one report: more than the socket holds.
    drop(kept);
    drop(zygote);
    let mut told = BTreeSet::new();
    while let Some(death) = deaths.recv_timeout(HANG).expect("in time") {
        assert_eq!(death.status.and_then(|it| it.code()), Some(7));
        assert!(told.insert(death.id), "{} was told twice", death.id);
    }
    assert_eq!(told, expected);
    drop(deaths);
    settles_to(&before);
}

fn stopped_zygote() {
    let zygote = Zygote::start(work).expect("a zygote");
    let mut killed = zygote.fork().expect("a worker");
    let mut other = zygote.fork().expect("a worker");
    let stopped = Stopped::of(&zygote);
    killed.kill().expect("it is there");
    let began = Instant::now();
    let told = killed.wait_timeout(Duration::from_millis(100));
    let took = began.elapsed();
    let tried = killed.try_wait();
    drop(stopped);
    assert!(took < HANG / 2, "it took {took:?}");
    assert_eq!(told.expect("not an error"), None, "nobody could have told it");
    assert_eq!(tried.expect("not an error"), None, "nobody could have told it");
    // The answers that came too late are none to the questions that follow.
    assert_eq!(killed.wait().expect("the zygote goes on").signal(), Some(9));
    assert_eq!(other.try_wait().expect("the zygote goes on"), None);
    assert_eq!(other.wait().expect("the zygote goes on").code(), Some(7));
    let mut worker = zygote.fork().expect("the zygote goes on");
    assert_eq!(worker.wait().expect("a status").code(), Some(7));
}

fn stopped_and_asked() {
    let zygote = Zygote::start(work).expect("a zygote");
    let mut killed = zygote.fork().expect("a worker");
    let id = zygote.id();
    let stopped = Stopped::of(&zygote);
    killed.kill().expect("it is there");
    let asker = AtomicI32::new(0);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            asker.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::SeqCst);
            zygote.fork()
        });
        let waits = eventually(|| match asker.load(Ordering::SeqCst) {
            0 => false,
            thread => state_of(thread) == Some('S'),
        });
        let began = Instant::now();
        let now = zygote.id();
        let told = killed.wait_timeout(Duration::from_millis(100));
        let took = began.elapsed();
        drop(stopped);
        assert!(waits, "the asking thread never waits");
        assert_eq!(now, id);
        assert!(took < HANG / 2, "it took {took:?}");
        assert_eq!(told.expect("not an error"), None, "nobody could have told it");
        let mut worker = asks.join().expect("a thread").expect("the zygote goes on");
        assert_eq!(worker.wait().expect("a status").code(), Some(7));
    });
    assert_eq!(killed.wait().expect("the zygote goes on").signal(), Some(9));
}

/// The thread that reaped it is about to end then, and is not one that a fork may be refused for.
fn fork_after_reaping() {
    fork_after_reaping_times(300);
}

/// The same where each thread takes its time to end.
fn fork_after_slow_reaping() {
    const PATH: &str = "forks::a_fork_beside_a_thread_that_has_reaped_and_ends_is_not_refused";
    const SLOW: &str = "inject=exit:delay_enter=2000";
    if std::env::var_os("THREADS_END_SLOWLY").is_some() {
        return fork_after_reaping_times(20);
    }
    if support::has_program("strace", "threads that end slowly") {
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", SLOW];
        let ran = support::rerun(PATH, &[&strace[..], &["env", "THREADS_END_SLOWLY=1"]].concat());
        assert!(ran.status.success(), "{}", ran.output);
    }
}

fn fork_after_reaping_times(rounds: usize) {
    let before = Descriptors::now();
    for _ in 0..rounds {
        let child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let dropped = process(child.id());
        drop(child);
        kill_process(dropped, Signal::KILL).expect("it was not reaped");
        assert!(eventually(|| test_kill_process(dropped).is_err()), "nobody reaped it");
        let (_stream, mut child) = forked(|_| 0);
        assert!(child.wait().expect("a status").success());
    }
    settles_to(&before);
}

fn second_zygote() {
    let before = links("self");
    let first = Zygote::start(work).expect("a zygote");
    let ours = links("self");
    let of_first: BTreeSet<String> = ours.difference(&before).cloned().collect();
    assert_eq!(sockets(&of_first).len(), 1, "the control: {of_first:?}");
    let second = Zygote::start(work).expect("a zygote");
    // Answered, so it has done what it does at first.
    let mut worker = second.fork().expect("a worker");
    worker.stream().write_all(b"?").expect("it listens");
    let mut answer = String::new();
    let mut reader = std::io::BufReader::new(worker.stream());
    std::io::BufRead::read_line(&mut reader, &mut answer).expect("it answers");
    let of_worker: BTreeSet<String> = answer.split_whitespace().map(str::to_owned).collect();
    let of_second = links(&second.id().to_string());
    assert_eq!(sockets(&of_worker).len(), 1, "its own end alone: {answer}");
    assert!(!answer.contains("pidfd"), "{answer}");
    assert!(sockets(&of_worker).is_disjoint(&sockets(&of_first)), "{answer}");
    assert!(sockets(&of_second).is_disjoint(&sockets(&of_first)), "{of_second:?}");
    let first_process = process(first.id());
    let began = Instant::now();
    drop(first);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "the drop took {took:?}");
    assert!(eventually(|| test_kill_process(first_process).is_err()), "the first lives on");
    assert_eq!(worker.wait().expect("a status").code(), Some(7));
    assert!(second.fork().is_ok(), "the second lives");
}
