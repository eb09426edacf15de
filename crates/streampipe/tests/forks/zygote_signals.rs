//! A zygote is sent what its parent is sent, by a terminal or a service manager: the parent decides.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, setpgid};
use streampipe::os::linux::ChildExt;
use streampipe::{StopSchedule, Stream, Zygote};
use streampipe_sys::signal::{SignalFd, SignalSet};

use crate::support;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_zygote_outlives_what_its_process_group_is_sent", outlives),
    ("a_worker_ignores_what_its_parent_ignored_at_the_start", ignores),
    ("a_worker_does_with_signals_what_its_parent_did_at_the_start", same_dispositions),
    ("workers_are_signalled_where_pidfd_send_signal_is_refused", refused_pidfd_signals),
];

const HANG: Duration = Duration::from_secs(60);

/// What a terminal, a service manager or an administrator sends.
const ASKING: [Signal; 7] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::TSTP,
    Signal::ALARM,
];

/// Answers each byte with itself, and `s` with what it does with signals.
fn work(mut stream: Stream) -> i32 {
    let mut job = [0; 1];
    while stream.read(&mut job).is_ok_and(|n| n > 0) {
        let answer = match job[0] {
            b's' => format!("{}\n", dispositions("self")).into_bytes(),
            _ => job.to_vec(),
        };
        let _ = stream.write_all(&answer);
    }
    0
}

fn answers(stream: &mut Stream) {
    stream.write_all(b"x").expect("it listens");
    stream.read_exact(&mut [0]).expect("it answers");
}

/// The lines of `/proc/PID/status` about blocked, ignored and handled signals.
fn dispositions(process: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("/proc");
    let is_one = |line: &&str| ["SigBlk", "SigIgn", "SigCgt"].iter().any(|it| line.starts_with(it));
    status.lines().filter(is_one).collect::<Vec<_>>().join(" ")
}

/// As ^C does: to this process, its zygote, and its workers.
fn send_to_our_group(signal: Signal) {
    kill_process_group(getpid(), signal).expect("we are in it");
}

fn outlives() {
    setpgid(None, None).expect("a group of our own");
    let zygote = Zygote::start(work).expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    answers(worker.stream());
    // The parent handles them itself, from now on.
    let handled = SignalSet::of(&ASKING.map(Signal::as_raw));
    let before = handled.block();
    let arrivals = SignalFd::open(&handled).expect("a descriptor");
    for signal in ASKING {
        send_to_our_group(signal);
        let arrived = arrivals.take().expect("a signal").expect("it reached us");
        assert_eq!(arrived.signal, signal.as_raw());
        if signal == Signal::INT {
            // It does as this process did at the start.
            assert_eq!(worker.wait().expect("the zygote tells").signal(), Some(2));
        }
        let mut next = zygote.fork().expect("the zygote is there");
        answers(next.stream());
        assert!(next.wait().expect("the zygote tells").success());
    }
    drop(arrivals);
    before.set();
}

fn ignores() {
    const PATH: &str = "forks::a_worker_ignores_what_its_parent_ignored_at_the_start";
    if std::env::var_os("SIGINT_IS_IGNORED").is_none() {
        let ran = support::rerun(PATH, &["env", "--ignore-signal=INT", "SIGINT_IS_IGNORED=1"]);
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    setpgid(None, None).expect("a group of our own");
    let zygote = Zygote::start(work).expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    send_to_our_group(Signal::INT);
    answers(worker.stream());
    assert!(worker.wait().expect("a status").success());
}

fn same_dispositions() {
    const PATH: &str = "forks::a_worker_does_with_signals_what_its_parent_did_at_the_start";
    if std::env::var_os("SIGNALS_ARE_SET").is_none() {
        let options = [
            "--ignore-signal=HUP",
            "--ignore-signal=CHLD",
            "--block-signal=USR2",
            "SIGNALS_ARE_SET=1",
        ];
        let ran = support::rerun(PATH, &[&["env"][..], &options].concat());
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    let ours = dispositions("self");
    let zygote = Zygote::start(work).expect("a zygote");
    assert_eq!(dispositions("self"), ours, "the start has changed this process");
    for _ in 0..2 {
        let mut worker = zygote.fork().expect("a worker");
        worker.stream().write_all(b"s").expect("it listens");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(worker.stream());
        std::io::BufRead::read_line(&mut reader, &mut line).expect("it answers");
        assert_eq!(line.trim_end(), ours);
        assert!(worker.wait().expect("a status").success());
    }
    // The control: the zygote itself does not.
    assert_ne!(dispositions(&zygote.id().to_string()), ours);
}

fn refused_pidfd_signals() {
    const PATH: &str = "forks::workers_are_signalled_where_pidfd_send_signal_is_refused";
    if std::env::var_os("IT_IS_REFUSED").is_none() {
        if !support::has_program("strace", "a refused pidfd_send_signal") {
            return;
        }
        for error in ["EPERM", "ENOSYS"] {
            let inject = format!("inject=pidfd_send_signal:error={error}");
            let quiet = ["env", "IT_IS_REFUSED=1", "strace", "-f", "-qq", "-o", "/dev/null"];
            let ran = support::rerun(PATH, &[&quiet[..], &["-e", &inject]].concat());
            assert!(ran.status.success(), "{error}: {}", ran.output);
        }
        return;
    }
    let zygote = Zygote::start(work).expect("a zygote");
    let mut worker = zygote.fork().expect("a worker");
    worker.signal(0).expect("it is there");
    worker.signal(15).expect("the zygote sends it");
    assert_eq!(worker.wait().expect("a status").signal(), Some(15));
    assert_eq!(worker.signal(15).expect_err("reaped").raw_os_error(), Some(3));
    worker.kill().expect("one that has ended is no error");

    let mut worker = zygote.fork().expect("a worker");
    assert_eq!(worker.signal(1000).expect_err("no signal").raw_os_error(), Some(22));
    assert_eq!(worker.signal(-1).expect_err("no signal").raw_os_error(), Some(22));
    worker.kill().expect("the zygote sends it");
    assert_eq!(worker.wait().expect("a status").signal(), Some(9));

    let mut worker = zygote.fork().expect("a worker");
    let kept = worker.take_stream();
    let schedule = StopSchedule::new().after_close(Duration::ZERO);
    assert_eq!(worker.stop_with(schedule).expect("a status").signal(), Some(15));
    drop(kept);

    // Without the zygote, nobody may use the number.
    let mut worker = zygote.fork().expect("a worker");
    let id = Pid::from_raw(i32::try_from(zygote.id()).expect("small")).expect("an id");
    kill_process(id, Signal::KILL).expect("it is ours");
    let error = worker.kill().expect_err("nobody can");
    assert!(matches!(error.raw_os_error(), Some(1 | 38)), "{error}");
    answers(worker.stream());
    let pidfd = worker.pidfd().try_clone_to_owned().expect("a duplicate");
    drop(worker);
    assert!(support::readable_within(pidfd.as_fd(), HANG), "it read the end");
}
