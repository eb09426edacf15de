//! An end that is two pipes, across a fork.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use streampipe::{Command, Stream};

use crate::child::forked;
use crate::support::Descriptors;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_fork_that_ends_reading_wakes_nobody_in_its_parent", a_fork_wakes_nobody),
    ("a_fork_is_told_of_the_end_of_its_own_reading", a_fork_is_told),
];

const SHORT: Duration = Duration::from_millis(20);

/// Waits once, so that all that a wait needs is there.
fn waits_in_vain(stream: &mut Stream) {
    stream.set_read_timeout(Some(SHORT)).expect("a timeout");
    assert_eq!(stream.read(&mut [0; 8]).expect_err("nothing").kind(), ErrorKind::TimedOut);
}

fn a_fork_wakes_nobody() {
    let mut cat = Command::new("cat").on_stdio().spawn().expect("cat");
    waits_in_vain(cat.stream());
    let copy = cat.stream().try_clone().expect("a copy");
    let (_, mut child) = forked(|_| {
        copy.shutdown(Shutdown::Read).expect("room");
        i32::from((&copy).read(&mut [0; 8]).expect("the end") != 0)
    });
    assert!(child.wait().expect("a status").success());
    // Nothing that this process waits for says that it is ready.
    for (number, target) in Descriptors::now().targets() {
        if target.contains("eventfd") {
            let path = format!("/proc/self/fdinfo/{number}");
            let facts = std::fs::read_to_string(path).expect("it is open");
            assert!(facts.contains("eventfd-count:                0"), "{facts}");
        }
    }
    waits_in_vain(cat.stream());
    cat.stream().write_all(b"there and back").expect("room");
    cat.stream().set_read_timeout(None).expect("no timeout");
    cat.stream().read_exact(&mut [0; 14]).expect("it goes on");
    drop(copy);
    assert!(cat.wait().expect("a status").success());
}

fn a_fork_is_told() {
    let mut cat = Command::new("cat").on_stdio().spawn().expect("cat");
    waits_in_vain(cat.stream());
    let copy = cat.stream().try_clone().expect("a copy");
    copy.set_read_timeout(None).expect("no timeout");
    let (_, mut child) = forked(|_| {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&copy).read(&mut [0; 8]).expect("the end"));
            copy.shutdown(Shutdown::Read).expect("room");
            i32::from(reader.join().expect("no panic") != 0)
        })
    });
    assert!(child.wait().expect("a status").success());
    drop(copy);
    assert!(cat.wait().expect("a status").success());
}
