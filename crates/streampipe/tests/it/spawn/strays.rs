//! P3: everything is close-on-exec from its first instant, and a child holds what was listed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::io::FdFlags;
use streampipe::{Command, SeqPacket, Stdio, Stream};

use super::helpers::{HANG, link_of, path_of, pipe, sh};
use crate::support::{self, tests_alone};

/// How many children each of two threads starts.
const CHILDREN: usize = 350;

/// What a lister holds that was given nothing but its end: the last is that of its own listing.
const HELD: &str = "0\n1\n2\n3\n4\n";

/// What a child of ours lists.
fn listing() -> String {
    let output = Command::new("ls").arg("/proc/self/fd").output().expect("there is ls");
    String::from_utf8(output.stdout).expect("numbers")
}

/// What a child of std's lists, which closes nothing by itself: so only close-on-exec helps.
///
/// Compared with an earlier one, for this process may have been started with strays of its own.
fn listing_by_std() -> String {
    let mut command = std::process::Command::new("ls");
    let output = command.arg("/proc/self/fd").output().expect("there is ls");
    String::from_utf8(output.stdout).expect("numbers")
}

/// A descriptor that other code forgot to mark, or marks too late.
fn inheritable() -> File {
    let (_, writer) = pipe();
    rustix::io::fcntl_setfd(&writer, FdFlags::empty()).expect("it is open");
    writer
}

/// Makes pairs and receives descriptors until told to stop.
fn traffic(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (a, b) = Stream::pair().expect("a pair");
        let (c, d) = SeqPacket::pair().expect("a pair");
        let copy = a.try_clone().expect("a duplicate");
        a.send_fds(b"x", &[c.as_fd(), d.as_fd(), std::io::stderr().as_fd()]).expect("room");
        let (_, fds) = b.recv_fds(&mut [0]).expect("three descriptors");
        c.send_fds(b"x", &[fds[2].as_fd(); 2]).expect("room");
        drop((d.recv_fds(&mut [0]).expect("two descriptors"), copy));
    }
}

/// Runs the work on two threads beside four that make and receive descriptors.
fn beside_traffic(work: impl Fn() + Sync) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| traffic(&stop));
        }
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(&work)).collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a stray, see above");
    });
}

tests_alone! {
    fn no_child_of_ours_inherits_a_stray_while_other_threads_make_and_receive() {
        let usual = listing_by_std();
        let forgotten = inheritable();
        beside_traffic(|| {
            for _ in 0..CHILDREN {
                assert_eq!(listing(), HELD);
            }
        });
        // The control: the one that was forgotten is a stray of std's children.
        assert_ne!(listing_by_std(), usual);
        drop(forgotten);
        assert_eq!(listing_by_std(), usual);
    }

    /// Children that close nothing show whether anything was without close-on-exec for an instant.
    fn nothing_of_ours_is_inheritable_for_an_instant() {
        let usual = listing_by_std();
        beside_traffic(|| {
            for _ in 0..CHILDREN {
                assert_eq!(listing_by_std(), usual);
            }
        });
    }

    /// What a start makes for its own child is no stray of another's.
    fn nothing_of_a_start_is_inheritable_for_an_instant() {
        let file = support::file_with(b"");
        let usual = listing_by_std();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut command = Command::new("true");
                    command.inherit(&file, 9).stdin(Stdio::piped()).stderr(Stdio::null());
                    assert!(command.stdout(Stdio::piped()).status().expect("it runs").success());
                    assert!(Command::new("true").on_stdio().status().expect("it runs").success());
                }
            });
            let listings: Vec<String> = (0..CHILDREN).map(|_| listing_by_std()).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(starter.join().is_ok());
            assert_eq!(listings.iter().find(|it| **it != usual), None);
        });
    }

    /// The control of the two above: marked a moment late, some child inherits it.
    fn a_descriptor_marked_too_late_is_seen_as_a_stray() {
        let file = support::file_with(b"");
        let usual = listing_by_std();
        let stop = AtomicBool::new(false);
        let deadline = Instant::now() + HANG;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let late = rustix::io::dup(&file).expect("a duplicate");
                        rustix::io::fcntl_setfd(&late, FdFlags::CLOEXEC).expect("it is open");
                    }
                });
            }
            let mut stray = false;
            while !stray && Instant::now() < deadline {
                stray = listing_by_std() != usual;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(stray, "no stray in {HANG:?}");
        });
    }

    fn a_child_holds_exactly_what_was_asked_for() {
        let forgotten: Vec<File> = (0..5).map(|_| inheritable()).collect();
        let (file, lent) = (support::file_with(b""), support::file_with(b""));
        let expected = [link_of(&file), link_of(&lent)];
        let output = Command::new("ls")
            .args(["-l", "/proc/self/fd"])
            .inherit(file, 40)
            .inherit(&lent, 7)
            .fd(12)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let held: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next()).collect();
        let mut numbers: Vec<i32> = held.iter().map(|number| number.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 7, 12, 40], "3 is the listing's own: {text}");
        for link in expected {
            assert!(text.contains(&link), "{link} is not in {text}");
        }
        for stray in &forgotten {
            assert!(!text.contains(&link_of(stray)), "a stray in {text}");
        }
    }

    fn high_numbers_that_were_left_inheritable_are_closed_too() {
        let low = inheritable();
        let high = rustix::io::fcntl_dupfd_cloexec(&low, 5000).unwrap();
        rustix::io::fcntl_setfd(&high, FdFlags::empty()).unwrap();
        assert_eq!(listing(), HELD);
        assert!(listing_by_std().contains("5000"), "the control");
    }

    /// A shell of the child's own sees no more than the child.
    fn a_grandchild_inherits_the_end_and_nothing_else() {
        let forgotten = inheritable();
        let output = sh("(ls /proc/self/fd)").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), HELD);
        drop(forgotten);
    }

    fn without_close_range_the_others_are_closed_all_the_same() {
        let path = path_of!(closed_without_close_range);
        if !support::has_program("strace", "closing without close_range") {
            return;
        }
        let inject = "inject=close_range:error=ENOSYS";
        let ran = support::rerun(path, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]);
        assert!(ran.status.success(), "{}", ran.output);
    }
}

#[test]
fn closed_without_close_range() {
    // The body runs here without a prefix, too, which does no harm.
    support::alone(path_of!(closed_without_close_range), || {
        let forgotten = inheritable();
        let high: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&forgotten, 3000).unwrap();
        rustix::io::fcntl_setfd(&high, FdFlags::empty()).unwrap();
        writeln!(&forgotten, "nobody reads").unwrap_err();
        assert_eq!(listing(), HELD);
    });
}
