//! R3: limits, blocking, buffers.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::process::{Pid, Signal, WaitOptions};
use streampipe::os::linux::EndExt;

use super::{
    Datagram, End, LONG, NOTHING, RESET, SHORT, SeqPacket, SocketStream, Stream, datagram, fill,
    hand, hear, hears, hears_no_more, refused, say, seqpacket, stream, take, tests_of_types,
    with_child,
};
use crate::engines::tests_of_engines;
use crate::support::{file_with, skip, tests_alone};

/// What Linux gives where `net.core.wmem_default` was not changed.
const USUAL_SIZE: usize = 212_992;

/// More than any send buffer here holds.
const LOTS: usize = 4 << 20;

/// Bytes in which a byte lost or misplaced shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

/// Sends all of it: a stream with a deadline may take it in parts.
fn say_all(end: &impl End, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        bytes = &bytes[end.send(bytes).expect("somebody reads")..];
    }
}

/// Receives until so many bytes are there.
fn hear_all(end: &impl End, len: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(len);
    let mut buffer = vec![0; 32 << 10];
    while all.len() < len {
        match end.recv(&mut buffer).expect("a receive") {
            0 => break,
            n => all.extend_from_slice(&buffer[..n]),
        }
    }
    all
}

/// Sends random pieces while another thread takes them; returns what went in and what came out.
fn pour<E: End>(a: &E, b: &E, random: &mut fastrand::Rng) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let pieces: Vec<Vec<u8>> =
        (0..200).map(|_| (0..random.usize(1..=2048)).map(|_| random.u8(..)).collect()).collect();
    let total: usize = pieces.iter().map(Vec::len).sum();
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| {
            for piece in &pieces {
                say_all(a, piece);
            }
        });
        let mut heard: Vec<Vec<u8>> = Vec::new();
        let mut buffer = [0; 2048];
        while heard.iter().map(Vec::len).sum::<usize>() < total {
            let len = b.recv(&mut buffer).expect("a receive");
            heard.push(buffer[..len].to_vec());
        }
        heard
    });
    (pieces, heard)
}

/// Whether every thread of a process waits for something.
fn all_threads_wait(process: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it is there");
    tasks.filter_map(Result::ok).all(|task| {
        let text = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    })
}

/// Stops a process and lets it go on.
fn interrupt(process: u32) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, Signal::STOP).expect("our child");
    let stopped = rustix::process::waitpid(Some(pid), WaitOptions::UNTRACED);
    assert!(stopped.expect("our child").expect("stopped").1.stopped());
    rustix::process::kill_process(pid, Signal::CONT).expect("our child");
}

tests_of_types! {
    fn a_packet_larger_than_the_send_buffer_is_refused_at_once<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let packet = vec![0; a.send_buffer_size()];
        let file = file_with(b"");
        for nonblocking in [false, true] {
            a.set_nonblocking(nonblocking);
            for sent in [a.send(&packet), a.send_fds(&packet, &[file.as_fd()])] {
                let error = sent.expect_err("too large");
                assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
            }
        }
        hears_no_more(&b);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
    }

    /// Engine probe: how much of the buffer is the kernel's own.
    fn the_longest_packet_is_the_send_buffer_less_32_bytes<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for asked in [None, Some(4096), Some(40_000)] {
            if let Some(asked) = asked {
                a.set_send_buffer_size(asked);
            }
            let packet = pattern(a.send_buffer_size() - 32);
            say(&a, &packet);
            assert!(hear_one(&b, packet.len() + 1) == packet);
            let longer = pattern(packet.len() + 1);
            let error = a.send(&longer).expect_err("a byte too long");
            assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
        }
    }

    fn a_full_pipe_would_block_and_loses_nothing<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        a.set_nonblocking(true);
        let mut sent = 0_u32;
        while a.send(&sent.to_ne_bytes()).is_ok_and(|len| len == 4) {
            sent += 1;
        }
        assert!(sent > 1);
        assert_eq!(refused(&a, b"more"), ErrorKind::WouldBlock);
        a.set_nonblocking(false);
        a.set_write_timeout(Some(SHORT)).unwrap();
        assert_eq!(refused(&a, b"more"), ErrorKind::TimedOut);

        let mut buffer = [0; 4];
        for number in 0..sent {
            assert_eq!(b.recv(&mut buffer).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(buffer), number);
        }
        hears_no_more(&b);
        say(&a, b"again");
        hears(&b, &[Ok(b"again")]);
    }

    /// Engine probe: what a small message costs of the default buffer.
    fn a_default_pipe_holds_278_bytes_or_93_thousands<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        if a.send_buffer_size() != USUAL_SIZE {
            return skip("what a small message costs", "another default size of send buffers");
        }
        assert_eq!(fill(&a, b"x"), 278);
        b.set_recv_buffer_size(1);
        assert_eq!(fill(&b, &[b'x'; 1000]), 93, "the receiver's size is ignored");
    }

    fn any_mix_of_sizes_loses_nothing_and_keeps_the_order<E: Stream | SeqPacket | Datagram>() {
        let mut random = fastrand::Rng::with_seed(7);
        for asked in [4096, 5000, 20_000, 106_496] {
            let (a, b) = E::pair_with_room(asked);
            for timeout in [None, Some(LONG)] {
                a.set_write_timeout(timeout).unwrap();
                b.set_read_timeout(timeout).unwrap();
                let (said, heard) = pour(&a, &b, &mut random);
                assert!(said.concat() == heard.concat(), "with room for {asked}");
            }
            hears_no_more(&b);
        }
    }

    fn packets_of_any_mix_of_sizes_stay_whole<E: SeqPacket | Datagram>() {
        let mut random = fastrand::Rng::with_seed(11);
        let (a, b) = E::pair();
        a.set_send_buffer_size(1);
        let (said, heard) = pour(&a, &b, &mut random);
        assert!(said == heard);
    }

    /// Engine probe: the kernel's bookkeeping.
    fn the_buffers_are_doubled_and_kept_in_bounds<E: SocketStream | SeqPacket | Datagram>() {
        let most = |name: &str| -> usize {
            let path = format!("/proc/sys/net/core/{name}");
            let text = std::fs::read_to_string(path).expect("/proc is mounted");
            2 * text.trim().parse::<usize>().expect("a number")
        };
        let (a, b) = E::pair();
        assert_eq!(a.set_send_buffer_size(40_000), 80_000);
        assert_eq!(a.send_buffer_size(), 80_000);
        assert_eq!(a.set_recv_buffer_size(50_000), 100_000);
        assert_eq!(a.recv_buffer_size(), 100_000);
        assert_eq!(a.send_buffer_size(), 80_000, "one does not move the other");
        assert_ne!(b.send_buffer_size(), 80_000, "nor that of the peer");
        let least = (a.set_send_buffer_size(1), a.set_recv_buffer_size(1));
        assert_eq!(least, (a.set_send_buffer_size(0), a.set_recv_buffer_size(0)));
        assert!(least.0 > 1 && least.1 > 1);
        assert_eq!(a.set_send_buffer_size(1 << 30), most("wmem_max"));
        assert_eq!(a.set_recv_buffer_size(1 << 30), most("rmem_max"));
    }

    /// Engine probe: a buffer that shrinks.
    fn a_send_buffer_below_its_queue_is_full<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for _ in 0..20 {
            say(&a, &[b'x'; 1000]);
        }
        a.set_send_buffer_size(1);
        a.set_nonblocking(true);
        assert_eq!(refused(&a, b"more"), ErrorKind::WouldBlock);
        assert!(hear_all(&b, 20_000) == [b'x'; 20_000], "what was queued stays");
        say(&a, b"again");
        hears(&b, &[Ok(b"again")]);
    }

    /// Engine probe: a buffer that grows.
    fn a_send_buffer_that_grows_wakes_a_writer<E: SocketStream | SeqPacket | Datagram>() {
        for timeout in [None, Some(LONG)] {
            let (a, b) = E::pair();
            a.set_send_buffer_size(1);
            let queued = fill(&a, b"x");
            a.set_write_timeout(timeout).unwrap();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| a.send(b"x"));
                a.set_send_buffer_size(USUAL_SIZE / 2);
                assert_eq!(writer.join().unwrap().expect("there is room now"), 1);
            });
            let mut byte = [0];
            for _ in 0..=queued {
                assert_eq!(b.recv(&mut byte).unwrap(), 1);
            }
            hears_no_more(&b);
        }
    }

    fn a_wait_that_reaches_its_timeout_changes_nothing<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        b.set_read_timeout(Some(SHORT)).unwrap();
        hears(&b, &[Err(ErrorKind::TimedOut), Err(ErrorKind::TimedOut)]);
        assert_eq!(b.recv_fds(&mut [0; 8]).expect_err("nothing").kind(), ErrorKind::TimedOut);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);

        a.set_write_timeout(Some(SHORT)).unwrap();
        fill(&a, b"full");
        assert_eq!(refused(&a, b"more"), ErrorKind::TimedOut);
        let file = file_with(b"");
        let error = a.send_fds(b"more", &[file.as_fd()]).expect_err("full");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(hear_one(&b, 4), b"full");
    }

    /// The kernel takes 0 for no timeout at all, and refuses more than a second of microseconds.
    fn a_timeout_is_none_at_first_and_never_0<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        assert_eq!((a.read_timeout(), a.write_timeout()), (None, None));
        a.set_read_timeout(Some(SHORT)).unwrap();
        a.set_write_timeout(Some(LONG)).unwrap();
        for error in [
            a.set_read_timeout(Some(Duration::ZERO)).unwrap_err(),
            a.set_write_timeout(Some(Duration::ZERO)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!((a.read_timeout(), a.write_timeout()), (Some(SHORT), Some(LONG)));
        assert_eq!((b.read_timeout(), b.write_timeout()), (None, None), "the peer's are its own");

        a.set_read_timeout(Some(Duration::MAX)).unwrap();
        a.set_write_timeout(Some(Duration::MAX)).unwrap();
        say(&a, b"ping");
        say(&b, b"pong");
        hears(&a, &[Ok(b"pong")]);
        a.set_read_timeout(None).unwrap();
        assert_eq!(a.read_timeout(), None);
    }

    fn each_handle_waits_in_its_own_way<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        b.set_read_timeout(Some(SHORT)).unwrap();
        let timed = b.try_clone().expect("room");
        b.set_nonblocking(true);
        let nonblocking = b.try_clone().expect("room");
        b.set_nonblocking(false);
        b.set_read_timeout(None).unwrap();
        hears(&timed, &[Err(ErrorKind::TimedOut)]);
        hears(&nonblocking, &[Err(ErrorKind::WouldBlock)]);
        std::thread::scope(|scope| {
            let patient = scope.spawn(|| hear(&b));
            hears(&nonblocking, &[Err(ErrorKind::WouldBlock)]);
            say(&a, b"x");
            assert_eq!(patient.join().unwrap(), Ok(b"x".to_vec()));
        });
    }

    /// Engine probe: what another process shares.
    fn no_way_of_waiting_is_kept_in_the_socket<E: SocketStream | SeqPacket | Datagram>() {
        let (a, _b) = E::pair();
        a.set_nonblocking(true);
        a.set_read_timeout(Some(SHORT)).unwrap();
        a.set_write_timeout(Some(SHORT)).unwrap();
        assert!(!rustix::fs::fcntl_getfl(&a).unwrap().contains(OFlags::NONBLOCK));
        assert_eq!(sockopt::socket_timeout(&a, Timeout::Recv), Ok(None));
        assert_eq!(sockopt::socket_timeout(&a, Timeout::Send), Ok(None));
    }

    /// `O_NONBLOCK`, that is, which somebody else set.
    fn a_blocking_handle_waits_whatever_the_description_says<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair_with_room(4096);
        for end in [&a, &b] {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).expect("its own end");
        }
        fill(&a, &[b'x'; 64]);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| a.send(&[b'y'; 64]));
            loop {
                let heard = hear(&b).expect("something comes");
                if heard.contains(&b'y') {
                    break;
                }
            }
            assert_eq!(writer.join().unwrap().expect("there was room at last"), 64);
        });
    }

    /// Engine probe: a receive with `SO_RCVTIMEO` is one that a stop and a continuation interrupt.
    fn a_signal_never_reaches_the_caller<E: SocketStream | SeqPacket | Datagram>() {
        const ROUNDS: usize = 20;
        with_child(
            |end: E, child| {
                for _ in 0..ROUNDS {
                    say(&end, b"ping");
                    hears(&end, &[Ok(b"pong")]);
                    while !all_threads_wait(child.id()) {
                        std::thread::yield_now();
                    }
                    interrupt(child.id());
                }
                say(&end, b"done");
            },
            |end: E| {
                sockopt::set_socket_timeout(&end, Timeout::Recv, Some(LONG)).expect("a socket");
                for _ in 0..ROUNDS {
                    hears(&end, &[Ok(b"ping")]);
                    say(&end, b"pong");
                }
                hears(&end, &[Ok(b"done")]);
            },
        );
    }
}

/// Receives one packet, or the bytes that are there.
fn hear_one(end: &impl End, room: usize) -> Vec<u8> {
    let mut buffer = vec![0; room];
    let len = end.recv(&mut buffer).expect("a receive");
    buffer.truncate(len);
    buffer
}

tests_of_engines! {
    fn a_blocking_write_to_a_stream_takes_all() {
        for timeout in [None, Some(LONG)] {
            let (a, b) = stream();
            a.set_write_timeout(timeout).unwrap();
            let bytes = pattern(LOTS);
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| (&a).write_all(&bytes));
                assert!(hear_all(&b, LOTS) == bytes);
                writer.join().unwrap().expect("all of it");
            });
        }
    }

    /// With a deadline the library waits between the kernel's calls, so only then it may be less.
    fn one_blocking_write_takes_all_that_it_is_given() {
        let (a, b) = stream();
        let bytes = pattern(LOTS);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| a.send(&bytes));
            assert!(hear_all(&b, LOTS) == bytes);
            assert_eq!(writer.join().unwrap().expect("all of it"), LOTS);
        });
    }

    fn a_nonblocking_write_takes_what_there_is_room_for() {
        let (a, b) = stream();
        a.set_nonblocking(true).unwrap();
        let bytes = pattern(LOTS);
        let taken = a.send(&bytes).expect("room for some");
        assert!(0 < taken && taken < LOTS);
        assert!(hear_all(&b, taken) == bytes[..taken]);
        hears_no_more(&b);
    }

    fn one_timeout_bounds_the_whole_call_of_a_stream() {
        let (mut a, mut b) = stream();
        a.set_write_timeout(Some(SHORT)).unwrap();
        let error = a.write_all(&pattern(LOTS)).expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        b.set_read_timeout(Some(SHORT)).unwrap();
        let error = b.read_to_end(&mut Vec::new()).expect_err("no end comes");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
    }

    fn a_write_cut_short_by_a_close_returns_what_was_taken() {
        for timeout in [None, Some(LONG)] {
            let (a, b) = stream();
            a.set_write_timeout(timeout).unwrap();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| a.send(&pattern(LOTS)));
                assert_eq!(b.recv(&mut [0]).unwrap(), 1, "it has begun");
                drop(b);
                let taken = writer.join().unwrap().expect("a part");
                assert!(0 < taken && taken < LOTS);
            });
            let kind = refused(&a, b"x");
            assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}");
        }
    }

    fn what_is_queued_is_counted_without_control_data() {
        let file = file_with(b"");
        let (a, b) = stream();
        say(&a, b"four");
        hand(&a, b"seven77", &[file.as_fd()]);
        assert_eq!((b.bytes_queued().unwrap(), b.fds_queued()), (11, Some(1)));
        assert_eq!((a.bytes_queued().unwrap(), a.fds_queued()), (0, Some(0)));
        let taken = std::iter::from_fn(|| (b.bytes_queued().unwrap() > 0).then(|| take(&b)));
        assert_eq!(taken.map(|(_, fds)| fds.len()).sum::<usize>(), 1);
        assert_eq!((b.bytes_queued().unwrap(), b.fds_queued()), (0, Some(0)));
    }
}

tests_alone! {
    fn a_blocked_sender_of_packets_is_told_of_the_close() {
        for timeout in [None, Some(LONG)] {
            let (a, b) = seqpacket();
            fill(&a, b"unread");
            a.set_write_timeout(timeout).unwrap();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| refused(&a, b"x"));
                drop(b);
                assert_eq!(writer.join().unwrap(), ErrorKind::ConnectionReset);
            });
            assert_eq!(refused(&a, b"x"), ErrorKind::BrokenPipe);
            hears(&a, &[RESET, NOTHING]);

            let (a, b) = datagram();
            fill(&a, b"unread");
            a.set_write_timeout(timeout).unwrap();
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| refused(&a, b"x"));
                drop(b);
                assert_eq!(writer.join().unwrap(), ErrorKind::ConnectionRefused);
            });
        }
    }

    /// The one type of which the kernel counts the first message only.
    fn of_queued_datagrams_the_first_is_counted() {
        let (a, b) = datagram();
        say(&a, b"four");
        say(&a, b"seven77");
        assert_eq!(b.bytes_queued().unwrap(), 4);
        hears(&b, &[Ok(b"four")]);
        assert_eq!(b.bytes_queued().unwrap(), 7);
    }

    fn of_queued_packets_with_an_end_all_are_counted() {
        let (a, b) = seqpacket();
        say(&a, b"four");
        say(&a, b"seven77");
        assert_eq!(b.bytes_queued().unwrap(), 11);
        hears(&b, &[Ok(b"four")]);
        assert_eq!(b.bytes_queued().unwrap(), 7);
    }
}
