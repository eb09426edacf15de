//! Taking over a number: the very socket that is expected, or nothing at all.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use streampipe_sys::inherited::{
    Expected, Mismatch, SocketIdentity, has_more_rights_than_its_caller, take,
};
use streampipe_sys::{open, sockopt};

use crate::support::{FreeDescriptors, tests_alone};

fn stream_pair() -> (OwnedFd, OwnedFd) {
    open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).expect("a pair")
}

/// What this socket is.
fn expected(fd: impl AsFd) -> Expected {
    let kind = sockopt::socket_kind(&fd).expect("a socket");
    let identity = SocketIdentity::of(fd.as_fd()).expect("a socket");
    Expected { domain: kind.domain, kind: kind.kind, identity }
}

/// Leaves the descriptor open under its number, not close-on-exec, as a parent would.
fn left_open(fd: OwnedFd) -> i32 {
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).expect("open");
    fd.into_raw_fd()
}

fn close(number: i32) {
    // SAFETY: the test left this number open on purpose, and nobody owns it.
    unsafe { libc::close(number) };
}

/// All that the kernel says of a number: file, flags, position.
fn facts(number: i32) -> (String, String) {
    let target = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
    let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("it is open");
    (target.to_string_lossy().into_owned(), facts)
}

fn mismatch(number: i32, expected: Expected) -> Mismatch {
    take(number, expected).expect("the questions are answered").expect_err("it is not the one")
}

/// Puts this socket in place of standard input while the body runs.
fn as_standard_input(socket: &OwnedFd, body: impl FnOnce()) {
    // SAFETY: the number is open, and borrowed for this one call.
    let standard = unsafe { BorrowedFd::borrow_raw(0) };
    let kept = streampipe_sys::fd::duplicate(standard).expect("a free descriptor");
    // SAFETY: both are open; this process runs one test, which does not read its standard input.
    unsafe { libc::dup2(socket.as_raw_fd(), 0) };
    body();
    // SAFETY: both are open; puts back what was there.
    unsafe { libc::dup2(kept.as_raw_fd(), 0) };
}

tests_alone! {
    fn the_socket_is_taken_over_where_it_is_and_close_on_exec() {
        let (_ours, theirs) = stream_pair();
        let what = expected(&theirs);
        let number = left_open(theirs);
        let taken = take(number, what).expect("answered").expect("it is the one");
        assert_eq!(taken.as_raw_fd(), number);
        let flags = rustix::io::fcntl_getfd(&taken).expect("open");
        assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
        assert_eq!(expected(&taken), what);
    }

    fn a_number_that_is_not_open_is_told() {
        let (_ours, theirs) = stream_pair();
        let what = expected(&theirs);
        let number = left_open(theirs);
        close(number);
        for closed in [number, 999, i32::MAX, -1, -100, i32::MIN] {
            assert_eq!(mismatch(closed, what), Mismatch::NotOpen, "{closed}");
        }
    }

    /// Each differs from what is expected in one thing.
    fn another_file_is_told_and_left_as_it_is() {
        let (ours, theirs) = stream_pair();
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("here")).expect("a listener");
        let packets = open::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).expect("a pair");
        let of_file = expected(&theirs);
        let SocketIdentity::Cookie(cookie) = of_file.identity else { panic!("sockets have cookies") };
        let other_cookie = Expected { identity: SocketIdentity::Cookie(cookie + 1), ..of_file };
        let other_kind = Expected { kind: libc::SOCK_STREAM, ..expected(&packets.0) };
        let other_domain = Expected { domain: libc::AF_INET, ..of_file };
        let of_listener = expected(&listener);
        let cases = [
            (File::open("/proc/version").expect("a file").into(), of_file),
            (open::pipe().expect("a pipe").0, of_file),
            (stream_pair().0, of_file),
            (ours, of_file),
            (listener.into(), of_listener),
            (packets.0, other_kind),
            (streampipe_sys::fd::duplicate(&theirs).expect("a copy"), other_cookie),
            (streampipe_sys::fd::duplicate(&theirs).expect("a copy"), other_domain),
        ];
        for (index, (fd, what)) in cases.into_iter().enumerate() {
            let number = left_open(fd);
            let before = facts(number);
            assert_eq!(mismatch(number, what), Mismatch::Another, "case {index}");
            assert_eq!(facts(number), before, "case {index}");
            close(number);
        }
    }

    fn in_place_of_standard_input_stands_dev_null_afterwards() {
        let (_ours, theirs) = stream_pair();
        as_standard_input(&theirs, || {
            let what = expected(&theirs);
            let taken = take(0, what).expect("answered").expect("it is the one");
            assert!(taken.as_raw_fd() >= 3);
            assert_eq!(expected(&taken), what);
            assert!(rustix::io::fcntl_getfd(&taken).expect("open").contains(rustix::io::FdFlags::CLOEXEC));
            let (target, flags) = facts(0);
            assert_eq!(target, "/dev/null");
            // The children of this process have a standard input, too.
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
            let flags = i32::from_str_radix(flags.trim(), 8).expect("a number");
            assert_eq!(flags & libc::O_CLOEXEC, 0);
            assert_eq!(flags & libc::O_ACCMODE, libc::O_RDWR);
        });
    }

    fn another_file_as_standard_input_is_left_there() {
        let (ours, theirs) = stream_pair();
        as_standard_input(&theirs, || {
            let before = facts(0);
            assert_eq!(mismatch(0, expected(&ours)), Mismatch::Another);
            assert_eq!(facts(0), before);
        });
    }

    /// The errors of the calls are not those of the socket, and change nothing.
    fn without_room_for_a_descriptor_standard_input_stays_what_it_is() {
        let (_ours, theirs) = stream_pair();
        as_standard_input(&theirs, || {
            let before = (facts(0), expected(&theirs));
            for free in 0..2 {
                let limit = FreeDescriptors::exactly(free);
                let error = take(0, expected(&theirs)).map(drop).expect_err("there is no room");
                drop(limit);
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{free} free");
                assert_eq!((facts(0), expected(&theirs)), before);
            }
            let limit = FreeDescriptors::exactly(2);
            let taken = take(0, expected(&theirs));
            drop(limit);
            assert!(taken.expect("there is room").is_ok(), "the control");
        });
    }

    /// That a set-uid program does have more is shown in the tests of `streampipe`.
    fn this_program_has_no_more_rights_than_its_caller() {
        assert!(!has_more_rights_than_its_caller());
    }
}
