//! Waits that are longer than a kernel can count.

use std::io::Error;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use streampipe_sys::arrivals::Arrivals;
use streampipe_sys::open;
use streampipe_sys::wait::{Interest, Ready, Woken, wait, wait_any, wait_beside};

use crate::describe::behind_a_filter;
use crate::support::tests_alone;

/// More than `int` milliseconds, more than 32-bit seconds, more than anybody will see.
fn far() -> [Instant; 3] {
    let year = 365 * 24 * 3600;
    [25 * 24 * 3600, 100 * year, 1_000_000_000 * year]
        .map(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)).expect("counted"))
}

const OLD: &str =
    concat!(module_path!(), "::before_linux_5_11_the_first_to_arrive_can_be_long_in_coming");

/// `epoll_wait` counts at most 24.8 days, and `epoll_pwait2` came with Linux 5.11.
#[test]
fn before_linux_5_11_the_first_to_arrive_can_be_long_in_coming() {
    behind_a_filter(OLD, "inject=epoll_pwait2:error=ENOSYS", || {
        let (a, b) = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("a pair");
        let arrivals = Arrivals::new().expect("a set");
        arrivals.add(&a, 7).expect("room");
        drop(b);
        for deadline in far() {
            assert_eq!(arrivals.next(Some(deadline)).expect("a wait"), Some(7));
        }
        // The control: the newer call is refused here.
        // SAFETY: with a descriptor that is none, no memory is looked at.
        let waited = unsafe { libc::syscall(libc::SYS_epoll_pwait2, -1, 0, 0, 0, 0, 0) };
        assert_eq!(
            (waited, Errno::from_io_error(&Error::last_os_error())),
            (-1, Some(Errno::NOSYS))
        );
    });
}

tests_alone! {
    fn a_wait_may_have_any_deadline() {
        let (a, b) = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("a pair");
        let quiet = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("a pair");
        drop(b);
        for deadline in far().map(Some) {
            let (fd, other) = (a.as_fd(), quiet.0.as_fd());
            assert_eq!(wait(fd, Interest::Readable, deadline).expect("a wait"), Ready::Yes);
            let beside = wait_beside(other, Interest::Readable, fd, deadline);
            assert_eq!(beside.expect("a wait"), Woken::Gone);
            let any = [(other, Interest::Readable), (fd, Interest::Readable)];
            assert_eq!(wait_any(&any, deadline).expect("a wait"), Ready::Yes);
        }
    }
}
