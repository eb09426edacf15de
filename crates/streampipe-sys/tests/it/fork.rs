//! The fork that asks nothing.

use std::io;
use std::os::fd::AsFd;

use streampipe_sys::fork::{FromFork, Side, exit_now, fork, fork_unchecked};
use streampipe_sys::process;

use crate::support::tests_alone;

/// Keeps nothing but the side.
struct Bare(Side);

impl FromFork for Bare {
    type Prepared = ();

    fn prepare() -> io::Result<()> {
        Ok(())
    }

    fn split((): (), side: Side) -> io::Result<Self> {
        Ok(Self(side))
    }
}

tests_alone! {
    /// The std harness always has a second thread.
    fn with_threads_the_checked_fork_refuses_and_the_unchecked_one_does_not() {
        assert!(fork::<Bare>().expect("the question is answered").is_none());
        // SAFETY: the child calls `_exit` at once.
        match unsafe { fork_unchecked::<Bare>() }.expect("a fork").0 {
            Side::Child => exit_now(7),
            Side::Parent(pid) => {
                let pidfd = process::open(pid).expect("a child not waited for");
                assert_eq!(process::wait(pidfd.as_fd()).expect("our child").code(), Some(7));
            }
        }
    }
}
