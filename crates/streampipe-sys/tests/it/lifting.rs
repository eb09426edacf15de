//! Standard input, output and error closed: whatever is made then must not become one of them.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use streampipe_sys::message::{Blocking, recv, send_with_fds};
use streampipe_sys::signal::{SignalFd, SignalSet};
use streampipe_sys::{arrivals, fd, open, process};

use crate::support::tests_alone;

/// Runs the body while the standard descriptors are closed; returns whether it said yes.
fn without_standard_descriptors(body: impl FnOnce() -> bool) -> bool {
    let kept = [0, 1, 2].map(|number| {
        // SAFETY: the number is open, and borrowed for this one call.
        let standard = unsafe { BorrowedFd::borrow_raw(number) };
        fd::duplicate(standard).expect("a free descriptor")
    });
    for number in 0..3 {
        // SAFETY: this process runs one test; nobody uses the standard descriptors until they are
        // back.
        unsafe { libc::close(number) };
    }
    let verdict = body();
    for (number, kept) in (0..3).zip(&kept) {
        // SAFETY: puts back what was there; whatever the body may have left there is closed.
        unsafe { libc::dup2(kept.as_raw_fd(), number) };
    }
    verdict
}

fn high(fd: &OwnedFd) -> bool {
    let flags = rustix::io::fcntl_getfd(fd).expect("open");
    fd.as_raw_fd() >= 3 && flags.contains(rustix::io::FdFlags::CLOEXEC)
}

tests_alone! {
    fn the_ends_of_a_pair_and_of_a_pipe_are_above_2() {
        assert!(without_standard_descriptors(|| {
            let (a, b) = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
            let (c, d) = open::pipe().unwrap();
            [&a, &b, &c, &d].into_iter().all(high) && a.as_raw_fd() < b.as_raw_fd()
        }));
    }

    fn received_descriptors_are_above_2() {
        assert!(without_standard_descriptors(|| {
            let (a, b) = open::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).unwrap();
            let four = [a.as_fd(); 4];
            send_with_fds(a.as_fd(), &[IoSlice::new(b"x")], &four, Blocking::AsIs).unwrap();
            let mut byte = [0; 1];
            let into = &mut [IoSliceMut::new(&mut byte)];
            let received = recv(b.as_fd(), into, Blocking::AsIs).unwrap();
            received.fds.len() == 4 && !received.fds_lost && received.fds.iter().all(high)
        }));
    }

    fn helpers_of_a_join_are_above_2() {
        assert!(without_standard_descriptors(|| {
            let signals = SignalFd::open(&SignalSet::of(&[libc::SIGUSR1])).unwrap();
            let pidfd = process::open(process::own_id() as i32).unwrap();
            let set = arrivals::Arrivals::new().unwrap();
            set.add(&signals, 1).unwrap();
            // The set's own descriptor shows by what is free: 0 must be.
            // SAFETY: asks for flags only, and a closed number is an error.
            let zero_is_closed = unsafe { libc::fcntl(0, libc::F_GETFD) } == -1;
            signals.as_fd().as_raw_fd() >= 3 && high(&pidfd) && zero_is_closed
        }));
    }

    /// The positive control: without lifting, the numbers are taken.
    fn a_plain_call_does_take_the_numbers() {
        assert!(without_standard_descriptors(|| {
            let mut ends = [-1; 2];
            // SAFETY: `ends` is valid for two ints.
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) };
            ends == [0, 1]
        }));
    }
}
