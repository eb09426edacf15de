//! A fork server: its workers, their ends, their deaths, and its own.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use streampipe::os::linux::ChildExt;
use streampipe::{
    Fork, ForkRefused, PeerGone, StatusUnavailable, StopSchedule, Stream, Zygote, fork,
};

use crate::support;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_worker_answers_and_its_status_is_told", a_worker_answers),
    ("workers_hold_their_own_end_and_nothing_of_others", nothing_of_others),
    ("a_worker_that_dies_is_noticed_by_a_blocked_read", a_blocked_read),
    ("signals_codes_and_panics_of_workers_are_told_apart", kinds_of_ends),
    ("deaths_are_reported_once_each", deaths_are_reported),
    ("a_zygote_without_reports_forgets_dropped_workers", dropped_workers),
    ("a_zygote_is_refused_beside_threads", refused_beside_threads),
    ("a_zygote_that_was_killed_is_an_error_and_no_hang", killed_zygote),
    ("a_zygote_dies_with_its_parent_and_its_workers_read_the_end", dies_with_its_parent),
    ("threads_may_ask_at_the_same_time", threads_ask),
    ("a_worker_is_stopped_by_steps", stopped_by_steps),
    ("an_ignored_sigchld_of_the_parent_costs_no_status", ignored_sigchld),
    ("a_parent_without_descriptors_gets_an_error_and_no_leak", no_descriptors),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// Doubles bytes until the end; some bytes are orders.
fn work(mut stream: Stream) -> i32 {
    let mut job = [0; 1];
    while stream.read(&mut job).is_ok_and(|n| n > 0) {
        match job[0] {
            b'p' => panic!("as ordered"),
            b'x' => return 7,
            // Descriptors, as a count and a list.
            b'd' => {
                let list = descriptors();
                let _ = stream.write_all(format!("{list}\n").as_bytes());
            }
            job => {
                let _ = stream.write_all(&[job.wrapping_mul(2)]);
            }
        }
    }
    0
}

/// The links of this process's descriptors from 3 on.
fn descriptors() -> String {
    let list = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let numbers = list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut numbers: Vec<u32> = numbers.filter(|number| *number > 2).collect();
    numbers.sort_unstable();
    let links = numbers.into_iter().filter_map(|number| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        Some(link.to_string_lossy().into_owned())
    });
    links.collect::<Vec<_>>().join(" ")
}

fn doubled(stream: &mut Stream, byte: u8) -> u8 {
    let mut answer = [0; 1];
    stream.write_all(&[byte]).expect("it listens");
    stream.read_exact(&mut answer).expect("it answers");
    answer[0]
}

fn a_worker_answers() {
    let zygote = Zygote::start(work).expect("a zygote");
    for round in 0..50 {
        let mut worker = zygote.fork().expect("a worker");
        assert_eq!(doubled(worker.stream(), round), round * 2);
        assert_eq!(worker.try_wait().expect("it can be asked"), None);
        assert!(worker.wait().expect("a status").success());
        assert!(worker.wait().expect("the same again").success());
    }
}

fn nothing_of_others() {
    let (zygote, _deaths) = Zygote::start_reporting(work).expect("a zygote");
    let mut workers: Vec<_> = (0..4).map(|_| zygote.fork().expect("a worker")).collect();
    for worker in &mut workers {
        worker.stream().write_all(b"d").expect("it listens");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(worker.stream());
        std::io::BufRead::read_line(&mut reader, &mut line).expect("it answers");
        let sockets = line.split_whitespace().filter(|link| link.starts_with("socket:")).count();
        let pidfds = line.matches("pidfd").count();
        assert_eq!((sockets, pidfds), (1, 0), "{line}");
    }
    // Each sees the end at once when its own end is dropped, whatever its siblings do.
    for mut worker in workers {
        drop(worker.take_stream());
        assert!(worker.wait_timeout(PATIENCE).expect("a status").expect("in time").success());
    }
}

fn a_blocked_read() {
    let zygote = Zygote::start(|mut stream| {
        // A child of the worker's keeps a copy of its end.
        match fork().expect("a child of the worker's") {
            Fork::Parent { stream: _kept, child } => {
                let _ = stream.write_all(&child.id().to_ne_bytes());
                loop {
                    std::thread::park();
                }
            }
            Fork::Child { stream: mut lifeline } => {
                let _ = lifeline.read(&mut [0]);
                drop(stream);
                0
            }
        }
    })
    .expect("a zygote");
    for _ in 0..20 {
        let mut worker = zygote.fork().expect("a worker");
        let mut id = [0; 4];
        worker.stream().read_exact(&mut id).expect("its word");
        let own = Pid::from_raw(i32::try_from(worker.id()).expect("small")).expect("an id");
        let killer = std::thread::spawn(move || kill_process(own, Signal::KILL));
        let error = worker.stream().read(&mut [0]);
        killer.join().expect("a thread").expect("it was there");
        match error {
            // Its child read the end of its lifeline, and closed the last copy, before we looked.
            Ok(0) => {}
            other => {
                let error = other.expect_err("no data");
                assert!(error.get_ref().expect("a reason").is::<PeerGone>(), "{error}");
            }
        }
        assert_eq!(worker.wait().expect("a status").signal(), Some(9));
    }
}

fn kinds_of_ends() {
    let zygote = Zygote::start(work).expect("a zygote");
    let ends = [(b'x', Some(7)), (b'p', Some(101))];
    for (order, code) in ends {
        let mut worker = zygote.fork().expect("a worker");
        worker.stream().write_all(&[order]).expect("it listens");
        assert_eq!(worker.wait().expect("a status").code(), code);
    }
    let mut worker = zygote.fork().expect("a worker");
    worker.signal(15).expect("it is there");
    assert_eq!(worker.wait().expect("a status").signal(), Some(15));
    worker.kill().expect("one that has ended is no error");
    assert_eq!(worker.signal(15).expect_err("gone").raw_os_error(), Some(3));
}

fn deaths_are_reported() {
    let (zygote, deaths) = Zygote::start_reporting(work).expect("a zygote");
    let error = deaths.try_recv().expect_err("nobody died");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    let mut expected = Vec::new();
    for round in 0..300 {
        let mut worker = zygote.fork().expect("a worker");
        expected.push(worker.id());
        match round % 3 {
            0 => drop(worker.wait().expect("a status")),
            1 => worker.kill().expect("it is there"),
            _ => {}
        }
    }
    // Every one, whether it was waited for or dropped, and more than the socket holds.
    let mut told: Vec<u32> = Vec::new();
    while told.len() < expected.len() {
        let death = deaths.recv_timeout(PATIENCE).expect("in time").expect("the zygote lives");
        assert!(death.status.is_some());
        told.push(death.id);
    }
    let order = |mut ids: Vec<u32>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!(order(told), order(expected));
    drop(zygote);
    assert_eq!(deaths.recv_timeout(PATIENCE).expect("in time"), None);
}

fn dropped_workers() {
    let zygote = Zygote::start(work).expect("a zygote");
    let mut pidfds = Vec::new();
    for _ in 0..100 {
        let mut worker = zygote.fork().expect("a worker");
        assert_eq!(doubled(worker.stream(), 2), 4);
        pidfds.push(worker.pidfd().try_clone_to_owned().expect("a duplicate"));
    }
    for pidfd in &pidfds {
        assert!(support::readable_within(pidfd.as_fd(), PATIENCE), "its end was closed");
    }
    // Asking once more lets the zygote hear of the dropped; then none of its children is left over.
    drop(zygote.fork().expect("a worker"));
    let path = format!("/proc/{0}/task/{0}/children", zygote.id());
    let left = std::fs::read_to_string(path).unwrap_or_default();
    assert!(left.split_whitespace().count() <= 1, "{left}");
}

fn refused_beside_threads() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    let error = Zygote::start(work).expect_err("there is another thread");
    assert!(error.get_ref().expect("a reason").is::<ForkRefused>());
    drop(stop);
    thread.join().expect("a thread").expect_err("hung up");
}

fn killed_zygote() {
    let zygote = Zygote::start(work).expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    let own = Pid::from_raw(i32::try_from(zygote.id()).expect("small")).expect("an id");
    kill_process(own, Signal::KILL).expect("it is ours");
    assert!(zygote.fork().is_err());
    assert!(zygote.fork().is_err(), "and again");
    // The worker goes on; its status is lost with the zygote.
    assert_eq!(doubled(worker.stream(), 4), 8);
    let error = worker.wait().expect_err("nobody knows");
    assert!(error.get_ref().expect("a reason").is::<StatusUnavailable>(), "{error}");
}

fn dies_with_its_parent() {
    let (mut ours, theirs) = streampipe::pair().expect("a pair");
    let Fork::Parent { stream, mut child } = fork().expect("a fork") else {
        // The parent of a zygote and of two workers, which tells their ids and is killed.
        drop(ours);
        let zygote = Zygote::start(work).expect("a zygote");
        let workers = [zygote.fork().expect("a worker"), zygote.fork().expect("a worker")];
        for id in [zygote.id(), workers[0].id(), workers[1].id()] {
            (&theirs).write_all(&id.to_ne_bytes()).expect("we listen");
        }
        loop {
            std::thread::park();
        }
    };
    drop(theirs);
    let mut pidfds = Vec::new();
    for _ in 0..3 {
        let mut id = [0; 4];
        ours.read_exact(&mut id).expect("an id");
        let id = Pid::from_raw(i32::from_ne_bytes(id)).expect("an id");
        let none = rustix::process::PidfdFlags::empty();
        pidfds.push(rustix::process::pidfd_open(id, none).expect("it lives"));
    }
    child.kill().expect("it is ours");
    child.wait().expect("a status");
    for pidfd in &pidfds {
        assert!(support::readable_within(pidfd.as_fd(), PATIENCE), "it outlived its parent");
    }
    drop(stream);
}

fn threads_ask() {
    let zygote = Zygote::start(work).expect("a zygote");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25 {
                    let mut worker = zygote.fork().expect("a worker");
                    assert_eq!(doubled(worker.stream(), round), round * 2);
                    assert!(worker.wait().expect("a status").success());
                }
            });
        }
    });
}

fn stopped_by_steps() {
    let zygote = Zygote::start(|stream| {
        let _kept = stream;
        loop {
            std::thread::park();
        }
    })
    .expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    let schedule = StopSchedule::new().after_close(Duration::from_millis(1));
    assert_eq!(worker.stop_with(schedule).expect("a status").signal(), Some(15));
}

fn ignored_sigchld() {
    const PATH: &str = "forks::an_ignored_sigchld_of_the_parent_costs_no_status";
    if std::env::var_os("SIGCHLD_IS_IGNORED").is_none() {
        let ran = support::rerun(PATH, &["env", "--ignore-signal=CHLD", "SIGCHLD_IS_IGNORED=1"]);
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    let zygote = Zygote::start(work).expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    worker.stream().write_all(b"x").expect("it listens");
    assert_eq!(worker.wait().expect("the zygote knows").code(), Some(7));
}

fn no_descriptors() {
    let zygote = Zygote::start(work).expect("a zygote");
    for free in 0..2 {
        let limit = support::FreeDescriptors::exactly(free);
        let error = zygote.fork().expect_err("two are needed");
        assert_eq!(error.raw_os_error(), Some(24), "{free} free: {error}");
        drop(limit);
    }
    // And it goes on as if nothing had been.
    let mut worker = zygote.fork().expect("a worker");
    assert_eq!(doubled(worker.stream(), 9), 18);
}
