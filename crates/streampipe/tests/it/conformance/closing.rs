//! R4: close and shutdown.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::{
    Datagram, End, Heard, LONG, NOTHING, RESET, SHORT, SeqPacket, SocketStream, Stream, datagram,
    hear, hears, hears_no_more, refused, say, seqpacket, stream, take, tests_of_types, with_child,
};
use crate::engines::{tests_of_engines, with_each_engine};
use crate::support::{checked, file_with, has_program, is_alone, rerun, skip, tests_alone};

const WOULD_BLOCK: Heard<'static> = Err(ErrorKind::WouldBlock);
const TIMED_OUT: Heard<'static> = Err(ErrorKind::TimedOut);

/// Why a send of a descriptor fails.
#[track_caller]
fn refused_with_fd(end: &impl End, bytes: &[u8]) -> ErrorKind {
    let file = file_with(b"");
    end.send_fds(bytes, &[file.as_fd()]).expect_err("nobody can take it").kind()
}

/// Checks that the reader is not told of an end: neither at once nor within a timeout.
#[track_caller]
fn hears_of_no_end(end: &impl End) {
    hears_no_more(end);
    end.set_read_timeout(Some(SHORT)).unwrap();
    hears(end, &[TIMED_OUT]);
    end.set_read_timeout(None).unwrap();
}

/// What a receive brings that waits while another thread sends and then shuts down, many times.
///
/// The thread is released by a flag and takes a little longer each time, so that it meets the
/// receive at every step. What comes first has to come first wherever that is.
fn heard_while_closing<E: End>(close: impl Fn(&E, &E) + Sync) {
    for round in 0..5000 {
        let (a, b) = E::pair();
        b.set_read_timeout(Some(LONG)).unwrap();
        let go = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !go.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                (0..round % 200).for_each(|_| std::hint::spin_loop());
                say(&a, b"queued");
                close(&a, &b);
            });
            go.store(true, Ordering::Relaxed);
            hears(&b, &[Ok(b"queued"), NOTHING]);
        });
    }
}

tests_of_types! {
    fn what_is_sent_just_before_a_shutdown_comes_before_the_end<E: Stream | SeqPacket>() {
        heard_while_closing::<E>(|a, _| a.shutdown(Shutdown::Write).unwrap());
    }

    fn what_is_queued_before_own_shutdown_comes_before_the_end<E: Stream | SeqPacket | Datagram>() {
        heard_while_closing::<E>(|_, b| b.shutdown(Shutdown::Read).unwrap());
    }

    fn the_end_comes_after_the_queue_when_the_peer_closes<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        say(&a, b"queued");
        drop(a);
        hears(&b, &[Ok(b"queued"), NOTHING, NOTHING]);
        b.set_nonblocking(true);
        hears(&b, &[NOTHING]);
        b.set_nonblocking(false);
        b.set_read_timeout(Some(SHORT)).unwrap();
        hears(&b, &[NOTHING]);
        let (bytes, fds) = take(&b);
        assert_eq!((bytes.len(), fds.len()), (0, 0));
    }

    fn a_write_to_a_closed_peer_is_a_broken_pipe<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        drop(b);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused_with_fd(&a, b"x"), ErrorKind::BrokenPipe);
        a.set_nonblocking(true);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
    }

    fn own_shutdown_of_reading_leaves_the_queue_and_then_the_end<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        say(&a, b"queued");
        b.shutdown(Shutdown::Read).unwrap();
        hears(&b, &[Ok(b"queued"), NOTHING, NOTHING]);
        b.set_nonblocking(true);
        hears(&b, &[NOTHING]);
    }

    fn a_write_to_a_peer_that_reads_no_more_is_a_broken_pipe<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        b.shutdown(Shutdown::Read).unwrap();
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused_with_fd(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        say(&b, b"the other direction");
        hears(&a, &[Ok(b"the other direction")]);
    }

    fn own_shutdown_of_writing_makes_writes_fail<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"queued");
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused_with_fd(&a, b"x"), ErrorKind::BrokenPipe);
        hears(&b, &[Ok(b"queued")]);
        say(&b, b"the other direction");
        hears(&a, &[Ok(b"the other direction")]);
    }

    fn the_end_comes_after_the_queue_when_the_peer_writes_no_more<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        say(&a, b"queued");
        a.shutdown(Shutdown::Write).unwrap();
        hears(&b, &[Ok(b"queued"), NOTHING, NOTHING]);
        b.set_nonblocking(true);
        hears(&b, &[NOTHING]);
    }

    fn a_shutdown_clears_neither_queue<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"for b");
        say(&b, b"for a");
        a.shutdown(Shutdown::Both).unwrap();
        hears(&b, &[Ok(b"for b")]);
        hears(&a, &[Ok(b"for a")]);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused(&b, b"x"), ErrorKind::BrokenPipe);
    }

    fn a_shutdown_may_come_twice_and_in_any_order<E: Stream | SeqPacket | Datagram>() {
        let all = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
        for first in all {
            for second in all {
                let (a, b) = E::pair();
                a.shutdown(first).expect("never an error on a pair");
                a.shutdown(second).expect("never an error on a pair");
                b.shutdown(second).expect("never an error on a pair");
                let reads = |how| how != Shutdown::Write;
                let writes = |how| how != Shutdown::Read;
                let open = !writes(first) && !writes(second) && !reads(second);
                assert_eq!(a.send(b"x").is_ok(), open, "{first:?}, then {second:?}");
            }
        }
    }

    fn a_shutdown_concerns_every_handle_of_the_end<E: Stream | SeqPacket | Datagram>() {
        let (a, _b) = E::pair();
        let again = a.try_clone().expect("room");
        again.shutdown(Shutdown::Write).unwrap();
        drop(again);
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
    }

    fn own_shutdown_wakes_a_blocked_receive<E: Stream | SeqPacket | Datagram>() {
        let (_a, b) = E::pair();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| hear(&b));
            b.shutdown(Shutdown::Read).unwrap();
            assert_eq!(reader.join().unwrap(), Ok(Vec::new()));
        });
    }

    fn the_peers_shutdown_wakes_a_blocked_receive<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| hear(&b));
            a.shutdown(Shutdown::Write).unwrap();
            assert_eq!(reader.join().unwrap(), Ok(Vec::new()));
        });
    }

    fn the_peers_close_wakes_a_blocked_receive<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| hear(&b));
            drop(a);
            assert_eq!(reader.join().unwrap(), Ok(Vec::new()));
        });
    }

    fn the_end_comes_with_the_last_handle<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        let again = a.try_clone().expect("room");
        drop(a);
        hears_of_no_end(&b);
        say(&again, b"still here");
        drop(again);
        hears(&b, &[Ok(b"still here"), NOTHING]);
    }

    /// Engine probe: an end that arrives is made of a descriptor, as in the next ones.
    fn the_end_comes_when_the_last_process_closes<E: SocketStream | SeqPacket>() {
        with_child(
            |carrier: E, _| {
                // Not earlier: what waits in its end is part of what the child compares.
                hears(&carrier, &[Ok(b"ready")]);
                let (a, b) = E::pair();
                carrier.send_fds(b"hold it", &[a.as_fd()]).expect("another pair's end can travel");
                hears(&carrier, &[Ok(b"I have it")]);
                say(&a, b"ours");
                drop(a);
                hears(&b, &[Ok(b"ours")]);
                hears_of_no_end(&b);
                say(&carrier, b"let go");
                hears(&b, &[NOTHING]);
            },
            |carrier: E| {
                say(&carrier, b"ready");
                let held = take(&carrier).1;
                say(&carrier, b"I have it");
                hears(&carrier, &[Ok(b"let go")]);
                drop(held);
            },
        );
    }

    fn a_copy_in_flight_keeps_the_end_open<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        let (carrier, far) = stream();
        carrier.send_fds(b"x", &[a.as_fd()]).expect("another pair's end can travel");
        drop(a);
        hears_of_no_end(&b);
        let (_, fds) = take(&far);
        hears_no_more(&b);
        let arrived = fds.into_iter().next().expect("an end");
        let arrived = E::try_from(arrived).expect("of the type it was");
        say(&arrived, b"from afar");
        drop(arrived);
        hears(&b, &[Ok(b"from afar"), NOTHING]);
    }

    fn the_end_comes_when_the_last_copy_in_flight_is_dropped<E: SocketStream | SeqPacket>() {
        let (a, b) = E::pair();
        let (carrier, far) = stream();
        carrier.send_fds(b"x", &[a.as_fd()]).expect("another pair's end can travel");
        drop((a, carrier));
        hears_no_more(&b);
        drop(far);
        hears(&b, &[NOTHING]);
    }
}

tests_of_engines! {
    fn stream_delivers_the_queue_before_the_reset() {
        let (a, b) = stream();
        say(&a, b"queued");
        say(&b, b"never read");
        drop(a);
        hears(&b, &[Ok(b"queued"), RESET, NOTHING, NOTHING]);
    }

    fn a_write_after_a_reset_leaves_the_reset_to_the_reader_of_a_stream() {
        let (a, b) = stream();
        say(&a, b"queued");
        say(&b, b"never read");
        drop(a);
        assert_eq!(refused(&b, b"x"), ErrorKind::BrokenPipe);
        assert_eq!(refused_with_fd(&b, b"x"), ErrorKind::BrokenPipe);
        hears(&b, &[Ok(b"queued"), RESET, NOTHING]);
        assert_eq!(refused(&b, b"x"), ErrorKind::BrokenPipe);
    }
}

tests_alone! {
    fn a_datagram_reader_is_not_told_that_the_peer_closed() {
        let (a, b) = datagram();
        say(&a, b"queued");
        drop(a);
        hears(&b, &[Ok(b"queued")]);
        hears_of_no_end(&b);
    }

    fn a_datagram_reader_is_not_told_that_the_peer_writes_no_more() {
        let (a, b) = datagram();
        say(&a, b"queued");
        a.shutdown(Shutdown::Write).unwrap();
        hears(&b, &[Ok(b"queued")]);
        hears_of_no_end(&b);
    }

    fn a_datagram_to_a_closed_peer_is_refused_once_and_then_there_is_no_peer() {
        let (a, b) = datagram();
        drop(b);
        assert_eq!(refused(&a, b"x"), ErrorKind::ConnectionRefused);
        assert_eq!(refused(&a, b"x"), ErrorKind::NotConnected);
        assert_eq!(refused(&a, b"x"), ErrorKind::NotConnected);
        // Engine probe: names.
        assert_eq!(rustix::net::getpeername(&a).expect_err("no peer"), Errno::NOTCONN);
        hears_no_more(&a);
    }

    /// Engine probe: Linux empties the queue of the end whose peer it finds gone.
    fn a_refused_datagram_discards_what_was_not_read() {
        let (a, b) = datagram();
        say(&b, b"last words");
        say(&b, b"never read");
        drop(b);
        hears(&a, &[Ok(b"last words")]);
        assert_eq!(refused(&a, b"x"), ErrorKind::ConnectionRefused);
        hears_no_more(&a);
    }

    fn a_datagram_with_a_descriptor_to_a_closed_peer_is_refused() {
        let (a, b) = datagram();
        drop(b);
        assert_eq!(refused_with_fd(&a, b"x"), ErrorKind::ConnectionRefused);
        assert_eq!(refused_with_fd(&a, b"x"), ErrorKind::NotConnected);
    }

    fn a_datagram_end_hears_of_no_reset() {
        let (a, b) = datagram();
        say(&a, b"queued");
        say(&b, b"never read");
        drop(a);
        hears(&b, &[Ok(b"queued")]);
        hears_of_no_end(&b);
        assert_eq!(refused(&b, b"x"), ErrorKind::ConnectionRefused);
        assert_eq!(refused(&b, b"x"), ErrorKind::NotConnected);
    }

    /// Engine probe: names. The peer that reads no more is still the peer.
    fn a_datagram_end_stays_connected_to_a_peer_that_reads_no_more() {
        let (a, b) = datagram();
        b.shutdown(Shutdown::Read).unwrap();
        assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
        rustix::net::getpeername(&a).expect("still connected");
        say(&b, b"x");
        hears(&a, &[Ok(b"x")]);
    }

    fn own_shutdown_of_reading_ends_a_datagram_end_that_may_wait() {
        let (a, b) = datagram();
        say(&a, b"queued");
        b.shutdown(Shutdown::Read).unwrap();
        hears(&b, &[Ok(b"queued"), NOTHING, NOTHING]);
        b.set_nonblocking(true).unwrap();
        hears(&b, &[WOULD_BLOCK]);
    }

    fn own_shutdown_of_reading_ends_a_datagram_end_that_may_wait_for_a_time() {
        let (_a, b) = datagram();
        b.shutdown(Shutdown::Read).unwrap();
        b.set_read_timeout(Some(SHORT)).unwrap();
        hears(&b, &[NOTHING]);
    }

    /// The kernel reports the reset first.
    fn seqpacket_delivers_the_queue_before_the_reset() {
        let (a, b) = seqpacket();
        say(&a, b"one");
        say(&a, b"two");
        say(&b, b"never read");
        drop(a);
        hears(&b, &[Ok(b"one"), Ok(b"two"), RESET, NOTHING, NOTHING]);
    }

    fn seqpacket_delivers_descriptors_before_the_reset() {
        let (a, b) = seqpacket();
        a.send_fds(b"file", &[file_with(b"").as_fd()]).unwrap();
        say(&b, b"never read");
        drop(a);
        let (bytes, fds) = take(&b);
        assert_eq!((&bytes[..], fds.len()), (&b"file"[..], 1));
        let error = b.recv_fds(&mut [0; 8]).expect_err("the reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        hears(&b, &[NOTHING]);
    }

    /// In the kernel whoever meets it first, sender or receiver, is the only one who is told.
    fn seqpacket_tells_the_receiver_of_a_reset_that_a_send_met_first() {
        let (a, b) = seqpacket();
        say(&a, b"one");
        say(&b, b"never read");
        drop(a);
        assert_eq!(refused(&b, b"x"), ErrorKind::ConnectionReset);
        assert_eq!(refused(&b, b"x"), ErrorKind::BrokenPipe);
        hears(&b, &[Ok(b"one"), RESET, NOTHING, NOTHING]);
        assert_eq!(refused(&b, b"x"), ErrorKind::BrokenPipe);
    }

    fn seqpacket_tells_of_a_reset_once_over_all_handles() {
        let (a, b) = seqpacket();
        let again = b.try_clone().expect("room");
        say(&a, b"one");
        say(&a, b"two");
        say(&b, b"never read");
        drop(a);
        hears(&b, &[Ok(b"one")]);
        hears(&again, &[Ok(b"two"), RESET, NOTHING]);
        hears(&b, &[NOTHING]);
    }

    fn seqpacket_reports_a_reset_without_a_queue_once() {
        for nonblocking in [false, true] {
            let (a, b) = seqpacket();
            say(&b, b"never read");
            drop(a);
            b.set_nonblocking(nonblocking).unwrap();
            hears(&b, &[RESET, NOTHING, NOTHING]);
        }
    }

    fn a_datagram_end_can_be_shut_down_when_the_peer_is_gone() {
        let (a, b) = datagram();
        drop(b);
        assert_eq!(refused(&a, b"x"), ErrorKind::ConnectionRefused);
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            a.shutdown(how).expect("never an error");
        }
    }

    /// Engine probe: an end is its descriptor.
    fn an_end_given_up_as_a_descriptor_still_counts() {
        let (a, b) = stream();
        let a = OwnedFd::from(a);
        hears_no_more(&b);
        drop(a);
        hears(&b, &[NOTHING]);
    }
}

/// Whether `SIGPIPE` waits for this thread. Only a blocked signal waits: see the test.
fn sigpipe_is_pending() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).expect("a mask");
    let pending = u64::from_str_radix(pending.trim(), 16).expect("a mask");
    pending & (1 << (rustix::process::Signal::PIPE.as_raw() - 1)) != 0
}

/// Checks that a send fails, and that no signal came with it.
#[track_caller]
fn fails_in_silence(end: &impl End, expected: ErrorKind) {
    assert_eq!(refused(end, b"x"), expected);
    assert_eq!(refused_with_fd(end, b"x"), expected);
    assert!(!sigpipe_is_pending(), "{end:?}");
}

/// Rust ignores `SIGPIPE`, and an ignored signal leaves no trace, unless it is blocked as well. So
/// the body runs behind `env --block-signal`.
fn a_write_that_nobody_will_read_raises_no_signal(path: &str) {
    const BLOCKED: &str = "--block-signal=PIPE";
    if is_alone(path) {
        return checked(|| {
            let (bytes, _) = stream();
            fails_in_silence(&bytes, ErrorKind::BrokenPipe);
            let (packets, _) = seqpacket();
            fails_in_silence(&packets, ErrorKind::BrokenPipe);
            let (loose, peer) = datagram();
            peer.shutdown(Shutdown::Read).unwrap();
            fails_in_silence(&loose, ErrorKind::BrokenPipe);
            let (own, _peer) = stream();
            own.shutdown(Shutdown::Write).unwrap();
            fails_in_silence(&own, ErrorKind::BrokenPipe);
            // The check itself, on what a socket does without the library.
            let (raw, _) = SocketStream::pair().unwrap();
            let sent = rustix::net::send(&raw, b"x", SendFlags::empty());
            assert_eq!(sent, Err(Errno::PIPE));
            assert!(sigpipe_is_pending(), "the signal is not blocked");
        });
    }
    let what = "that no SIGPIPE comes";
    if !has_program("env", what) {
        return;
    }
    let blocks = Command::new("env").args([BLOCKED, "true"]).output().expect("env runs");
    if !blocks.status.success() {
        return skip(what, "this env cannot block signals");
    }
    let ran = rerun(path, &["env", BLOCKED]);
    assert!(ran.status.success(), "in its own process: {}\n{}", ran.status, ran.output);
}
with_each_engine!(a_write_that_nobody_will_read_raises_no_signal);
