//! Pipes as one direction of a stream.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use streampipe_sys::fork::{FromFork, Side, exit_now, fork_unchecked};
use streampipe_sys::{open, pipe, process};

use crate::describe::behind_a_filter;
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

/// How a child ends in which this runs, with `SIGPIPE` at its default action.
fn fate(body: impl FnOnce()) -> std::process::ExitStatus {
    // SAFETY: the child makes system calls only, and calls `_exit`.
    match unsafe { fork_unchecked::<Bare>() }.expect("a fork").0 {
        Side::Child => {
            let_sigpipe_kill();
            body();
            exit_now(0)
        }
        Side::Parent(pid) => {
            let pidfd = process::open(pid).expect("a child not waited for");
            process::wait(pidfd.as_fd()).expect("our child")
        }
    }
}

fn let_sigpipe_kill() {
    // SAFETY: the default action runs no code of ours; this process runs one test.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// The signals that one of the calls that report a set reports.
fn signals(report: impl FnOnce(*mut libc::sigset_t)) -> Vec<i32> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    report(set.as_mut_ptr());
    // SAFETY: all zeros is a valid set, whether or not the call wrote to it.
    let set = unsafe { set.assume_init() };
    // SAFETY: the set is initialised, and the numbers are those of signals.
    (1..=64).filter(|&signal| unsafe { libc::sigismember(&raw const set, signal) } == 1).collect()
}

fn pending() -> Vec<i32> {
    signals(|set| {
        // SAFETY: the pointer is valid for writing a set.
        unsafe { libc::sigpending(set) };
    })
}

fn mask() -> Vec<i32> {
    signals(|set| {
        // SAFETY: a null new mask only reads; the pointer is valid for writing a set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set) };
    })
}

fn write(end: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    pipe::write(end.as_fd(), &[IoSlice::new(bytes)])
}

fn read(end: &OwnedFd, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let length = pipe::read(end.as_fd(), &mut [IoSliceMut::new(&mut bytes)])?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A pipe that nobody reads.
fn broken() -> OwnedFd {
    open::pipe().expect("a pipe").1
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.expect_err("an error").raw_os_error()
}

tests_alone! {
    fn a_write_that_nobody_reads_is_epipe_and_no_signal() {
        let_sigpipe_kill();
        let end = broken();
        for _ in 0..3 {
            assert_eq!(errno(write(&end, b"x")), Some(libc::EPIPE));
        }
        assert_eq!(pending(), []);
        let ended = fate(|| drop(write(&end, b"x")));
        assert_eq!(ended.code(), Some(0));
    }

    /// The control: a plain write is deadly there.
    fn a_plain_write_that_nobody_reads_kills() {
        use std::os::unix::process::ExitStatusExt;

        let end = broken();
        let ended = fate(|| {
            // SAFETY: the pointer and the length describe one byte.
            unsafe { libc::write(end.as_raw_fd(), b"x".as_ptr().cast(), 1) };
        });
        assert_eq!(ended.signal(), Some(libc::SIGPIPE));
    }

    fn the_mask_is_as_before_after_success_and_after_failure() {
        let_sigpipe_kill();
        let (reader, writer) = open::pipe().expect("a pipe");
        for blocked in [&[][..], &[libc::SIGUSR1], &[libc::SIGPIPE], &[libc::SIGPIPE, libc::SIGTERM]] {
            let set = streampipe_sys::signal::SignalSet::of(blocked);
            let before = set.set();
            let expected = mask();
            let wrote = write(&writer, b"x");
            let after_success = mask();
            let failed = write(&broken(), b"x");
            let (after_failure, left) = (mask(), pending());
            before.set();
            assert_eq!(expected, blocked);
            assert_eq!((after_success, after_failure), (expected.clone(), expected));
            assert_eq!((wrote.expect("room"), errno(failed)), (1, Some(libc::EPIPE)));
            assert_eq!(left, [], "with {blocked:?} blocked");
        }
        assert_eq!(read(&reader, 8).expect("four bytes"), b"xxxx");
    }

    /// It was somebody else's, and is not taken away.
    fn a_signal_that_was_pending_before_stays_pending() {
        let_sigpipe_kill();
        let set = streampipe_sys::signal::SignalSet::of(&[libc::SIGPIPE]);
        let before = set.block();
        // SAFETY: the signal is blocked in this thread, to which alone it is sent.
        unsafe { libc::raise(libc::SIGPIPE) };
        assert_eq!(pending(), [libc::SIGPIPE]);
        assert_eq!(errno(write(&broken(), b"x")), Some(libc::EPIPE));
        assert_eq!(pending(), [libc::SIGPIPE]);
        assert!(streampipe_sys::signal::SignalFd::open(&set).expect("room").take().expect("it").is_some());
        assert_eq!(pending(), [], "it was one");
        before.set();
    }

    fn a_signal_that_is_ignored_stays_ignored() {
        // SAFETY: to ignore a signal runs no code of ours; this process runs one test.
        let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        assert_eq!(errno(write(&broken(), b"x")), Some(libc::EPIPE));
        // SAFETY: puts back the action that was there before.
        let after = unsafe { libc::signal(libc::SIGPIPE, before) };
        assert_eq!((after, pending()), (libc::SIG_IGN, Vec::new()));
    }

    fn bytes_from_several_places_arrive_in_several_places() {
        let (reader, writer) = open::pipe().expect("a pipe");
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(pipe::write(writer.as_fd(), &parts).expect("room"), 5);
        let (mut one, mut two) = ([0; 3], [0; 8]);
        let into = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(pipe::read(reader.as_fd(), into).expect("bytes"), 5);
        assert_eq!((&one, &two[..2]), (b"abc", &b"de"[..]));
        drop(writer);
        assert_eq!(read(&reader, 8).expect("the end"), b"");
    }

    /// What a program that has a copy of either end sees does not change.
    fn an_end_that_does_not_wait_leaves_all_flags_as_they_are() {
        let (reader, writer) = open::pipe().expect("a pipe");
        let flags = || [&reader, &writer].map(|end| rustix::fs::fcntl_getfl(end).expect("open"));
        let before = flags();
        assert!(!before.iter().any(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK)));
        assert_eq!(errno(read(&reader, 8)), Some(libc::EAGAIN));
        let room = (0..).find(|_| write(&writer, &[0; 4096]).is_err()).expect("it fills");
        assert!(room > 0);
        assert_eq!(errno(write(&writer, b"x")), Some(libc::EAGAIN));
        assert_eq!(flags(), before);
    }

    fn a_reading_that_is_ended_reads_the_end_under_the_same_number() {
        let_sigpipe_kill();
        let (reader, writer) = open::pipe().expect("a pipe");
        write(&writer, b"unread").expect("room");
        let number = reader.as_raw_fd();
        pipe::end_reading([number].into_iter()).expect("room for two more");
        let (now, other) = (crate::support::identity(&reader), crate::support::identity(&writer));
        assert_ne!(now, other, "another pipe");
        let flags = rustix::io::fcntl_getfd(&reader).expect("open");
        assert_eq!(flags, rustix::io::FdFlags::CLOEXEC);
        assert_eq!(read(&reader, 8).expect("the end"), b"");
        assert_eq!(errno(write(&writer, b"x")), Some(libc::EPIPE));
        pipe::end_reading([number].into_iter()).expect("twice is no error");
    }

    fn a_copy_of_the_reading_end_reads_on() {
        let (reader, writer) = open::pipe().expect("a pipe");
        let copy = File::from(streampipe_sys::fd::duplicate(&reader).expect("a copy"));
        pipe::end_reading([reader.as_raw_fd()].into_iter()).expect("room for two more");
        File::from(writer).write_all(b"to the copy").expect("somebody reads");
        assert_eq!(io::read_to_string(&copy).expect("text"), "to the copy");
        assert_eq!((&copy).read(&mut [0]).expect("the end"), 0);
    }
}

/// What kernels and filters of system calls answer to a call or a flag that they do not know.
const NO_ANSWERS: &[&str] = &["EOPNOTSUPP", "ENOSYS", "EPERM", "EACCES", "EINVAL"];

/// Runs the body once for each way in which a call cannot be told not to wait.
fn where_calls_cannot_be_told_not_to_wait(path: &str, body: impl Fn()) {
    for errno in NO_ANSWERS {
        behind_a_filter(path, &format!("inject=preadv2,pwritev2:error={errno}"), &body);
    }
}

const SEVERAL: &str = concat!(module_path!(), "::without_the_flag_several_slices_go_in_one_call");

/// Linux before 6.4 took the first slice alone.
#[test]
fn without_the_flag_several_slices_go_in_one_call() {
    where_calls_cannot_be_told_not_to_wait(SEVERAL, || {
        let (reader, writer) = open::pipe().expect("a pipe");
        let parts = [&b"ab"[..], b"", b"cde", &[b'x'; 5000], b"f"].map(IoSlice::new);
        assert_eq!(pipe::write(writer.as_fd(), &parts).expect("room"), 5006);
        let all = [&b"abcde"[..], &[b'x'; 5000], b"f"].concat();
        assert_eq!(read(&reader, 8192).expect("bytes"), all);
        let many = [IoSlice::new(b"y"); 1000];
        assert_eq!(pipe::write(writer.as_fd(), &many).expect("room"), 1000);
        assert_eq!(read(&reader, 8192).expect("bytes"), [b'y'; 1000]);
        assert_eq!(pipe::write(writer.as_fd(), &[IoSlice::new(b"")]).expect("nothing"), 0);
        assert_eq!(errno(read(&reader, 8)), Some(libc::EAGAIN));
    });
}

const FULL: &str =
    concat!(module_path!(), "::without_the_flag_a_write_takes_what_there_is_room_for");

#[test]
fn without_the_flag_a_write_takes_what_there_is_room_for() {
    where_calls_cannot_be_told_not_to_wait(FULL, || {
        let (reader, writer) = open::pipe().expect("a pipe");
        let much = vec![0; 4 << 20];
        let room = rustix::pipe::fcntl_getpipe_size(&writer).expect("a pipe");
        let written = write(&writer, &much).expect("room");
        // Less by a part of a page, where pages are larger than 4096 bytes.
        assert!(written > room / 2 && written <= room, "{written} of {room}");
        assert_eq!(errno(write(&writer, b"x")), Some(libc::EAGAIN));
        assert_eq!(read(&reader, 4 << 20).expect("bytes").len(), written);
        drop(writer);
        assert_eq!(read(&reader, 8).expect("the end"), b"");
        let_sigpipe_kill();
        assert_eq!(errno(write(&broken(), &much)), Some(libc::EPIPE));
        assert_eq!(pending(), []);
    });
}

const PENDING: &str =
    concat!(module_path!(), "::a_filter_that_keeps_the_signal_pending_makes_it_no_deadlier");

#[test]
fn a_filter_that_keeps_the_signal_pending_makes_it_no_deadlier() {
    for answer in ["EPERM", "ENOSYS"] {
        behind_a_filter(PENDING, &format!("inject=rt_sigtimedwait:error={answer}"), || {
            let_sigpipe_kill();
            assert_eq!(errno(write(&broken(), b"x")), Some(libc::EPIPE));
            assert_eq!(pending(), []);
            // SAFETY: reads the action by setting it, and sets it again; this process runs one test.
            let action = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            assert_eq!(action, libc::SIG_DFL, "the action is what it was");
        });
    }
}
