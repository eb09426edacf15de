//! The longest timeouts and deadlines of a zygote's workers, and waits for them in a process that may open nothing.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use streampipe::{StopSchedule, Stream, Zygote};

pub(crate) const TESTS: &[crate::Test] = &[
    ("workers_are_waited_for_within_the_longest_timeouts", longest_timeouts),
    ("workers_are_waited_for_without_a_descriptor_to_open", nothing_to_open),
];

const LONG: [Duration; 3] = [
    Duration::from_secs(25 * 24 * 3600),
    Duration::from_secs(1000 * 365 * 24 * 3600),
    Duration::MAX,
];

/// Reads to the end.
fn work(mut stream: Stream) -> i32 {
    let _ = stream.read(&mut [0]);
    0
}

fn longest_timeouts() {
    let (zygote, deaths) = Zygote::start_reporting(work).expect("a zygote");
    for timeout in LONG {
        let mut worker = zygote.fork().expect("a worker");
        worker.stream().set_read_timeout(Some(timeout)).expect("a timeout");
        drop(worker.take_stream());
        assert!(worker.wait_timeout(timeout).expect("a status").expect("in time").success());
        assert!(deaths.recv_timeout(timeout).expect("a death").is_some());
        let mut worker = zygote.fork().expect("a worker");
        worker.kill().expect("it runs");
        let far = Instant::now().checked_add(timeout.min(LONG[1])).expect("an instant");
        assert!(worker.wait_deadline(far).expect("a status").is_some());
        let schedule = StopSchedule::new().after_close(timeout).after_term(timeout);
        let mut worker = zygote.fork().expect("a worker");
        assert!(worker.stop_with(schedule).expect("a status").success());
    }
}

fn nothing_to_open() {
    let zygote = Zygote::start(work).expect("a zygote");
    let mut workers = [zygote.fork().expect("a worker"), zygote.fork().expect("a worker")];
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).expect("lowered");
    for worker in &mut workers {
        assert_eq!(worker.wait_timeout(Duration::from_millis(20)).expect("it can be asked"), None);
    }
    workers[0].kill().expect("it runs");
    assert_eq!(workers[0].stream().read(&mut [0]).expect("the end"), 0);
    assert!(workers[0].wait_timeout(Duration::from_secs(60)).expect("a status").is_some());
    drop(workers[1].take_stream());
    assert!(workers[1].wait().expect("a status").success());
    setrlimit(Resource::Nofile, before).expect("back to what it was");
}
