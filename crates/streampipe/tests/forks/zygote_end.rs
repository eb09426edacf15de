//! When a zygote is gone, everybody who waits for it is told.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};
use streampipe::{StatusUnavailable, Stream, Worker, Zygote};

use crate::support;

pub(crate) const TESTS: &[crate::Test] = &[
    ("all_who_wait_for_a_worker_are_told_when_the_zygote_is_gone", all_waits),
    ("all_who_ask_for_a_worker_are_told_when_the_zygote_is_gone", all_forks),
    ("all_who_receive_deaths_are_told_when_the_zygote_is_gone", all_receives),
    ("one_that_takes_in_the_workers_of_a_zygote_has_their_statuses", subreaper),
    (
        "a_worker_whose_zygote_is_gone_leaves_no_zombie_to_a_subreaper",
        dropped_workers_of_a_subreaper,
    ),
];

/// How many threads wait: with 4 or 6, only 2 were told.
const THREADS: usize = 6;

/// Longer than anything here takes, and shorter than the time that the zygote has for an answer.
const HANG: Duration = Duration::from_secs(8);

/// Reads one byte, or the end.
fn work(mut stream: Stream) -> i32 {
    let _ = stream.read(&mut [0]);
    0
}

fn send(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("small")).expect("an id");
    kill_process(id, signal).expect("it is there");
}

/// Waits until each thread besides the first one sleeps, for a few seconds at most.
///
/// One that has not come to its wait yet is told, too; then it is just no proof.
fn until_all_sleep() {
    let deadline = Instant::now() + HANG / 2;
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    let sleeps = |task: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
    };
    while Instant::now() < deadline {
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
        let others: Vec<_> =
            tasks.flatten().filter(|task| task.file_name() != own.as_str()).collect();
        if others.len() == THREADS && others.iter().all(sleeps) {
            return;
        }
        std::thread::yield_now();
    }
}

/// Has all threads do this, and kills the stopped zygote when they wait; each has to end in time.
fn told<T: Send, U: Send>(zygote: u32, given: Vec<T>, wait: impl Fn(T) -> U + Sync) -> Vec<U> {
    let (says, said) = mpsc::channel();
    std::thread::scope(|scope| {
        for given in given {
            let (says, wait) = (says.clone(), &wait);
            scope.spawn(move || says.send(wait(given)));
        }
        until_all_sleep();
        send(zygote, Signal::KILL);
        let all = (0..THREADS).map_while(|_| said.recv_timeout(HANG).ok()).collect::<Vec<_>>();
        if all.len() < THREADS {
            // The scope would wait for the others for ever.
            let _ = writeln!(std::io::stderr(), "{} of {THREADS} were told", all.len());
            std::process::exit(1);
        }
        all
    })
}

fn all_waits() {
    let zygote = Zygote::start(work).expect("a zygote");
    let workers: Vec<Worker> = (0..THREADS).map(|_| zygote.fork().expect("a worker")).collect();
    send(zygote.id(), Signal::STOP);
    for worker in &workers {
        worker.kill().expect("it is there");
    }
    let ends = told(zygote.id(), workers, |mut worker| worker.wait());
    for end in ends {
        let error = end.expect_err("nobody knows");
        assert!(error.get_ref().expect("a reason").is::<StatusUnavailable>(), "{error}");
    }
}

fn all_forks() {
    let zygote = Zygote::start(work).expect("a zygote");
    send(zygote.id(), Signal::STOP);
    let errors = told(zygote.id(), vec![(); THREADS], |()| zygote.fork().map(drop));
    for error in errors {
        let error = error.expect_err("there is no zygote");
        assert_ne!(error.kind(), ErrorKind::TimedOut, "not told before its time was up");
    }
}

fn all_receives() {
    let (zygote, deaths) = Zygote::start_reporting(work).expect("a zygote");
    send(zygote.id(), Signal::STOP);
    let ends = told(zygote.id(), vec![(); THREADS], |()| deaths.recv());
    assert!(ends.into_iter().all(|end| end.expect("no error").is_none()));
}

/// As process 1 of a container is without asking for it.
fn become_subreaper() {
    set_child_subreaper(Some(rustix::process::getpid())).expect("anybody may");
}

fn subreaper() {
    become_subreaper();
    let zygote = Zygote::start(work).expect("a zygote");
    let [mut running, mut dead] = [(); 2].map(|()| zygote.fork().expect("a worker"));
    send(zygote.id(), Signal::STOP);
    dead.kill().expect("it is there");
    send(zygote.id(), Signal::KILL);
    let signal = std::os::unix::process::ExitStatusExt::signal;
    assert_eq!(signal(&dead.wait().expect("it came to us")), Some(9));
    assert_eq!(running.try_wait().expect("it can be asked"), None);
    assert!(running.wait().expect("it came to us").success());
    assert!(running.wait().expect("the same again").success());
}

fn dropped_workers_of_a_subreaper() {
    become_subreaper();
    let zygote = Zygote::start(work).expect("a zygote");
    let workers: Vec<Worker> = (0..4).map(|_| zygote.fork().expect("a worker")).collect();
    // Their ends stay open, so that they outlive the zygote.
    let ends: Vec<Stream> =
        workers.into_iter().map(|mut worker| worker.take_stream().expect("an end")).collect();
    drop(zygote);
    drop(ends);
    assert!(support::is_childless_within(HANG), "a zombie is left");
}
