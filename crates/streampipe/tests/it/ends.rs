//! Conversions, halves, timeouts, threads.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use streampipe::os::linux::EndExt;
use streampipe::{Datagram, SeqPacket, Stream};

use crate::engines::{pair, tests_of_engines};
use crate::support::{self, tests_alone};

const SHORT: Duration = Duration::from_millis(30);

fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).expect("flags").contains(OFlags::NONBLOCK)
}

/// What a child that shares the open file description may do to it.
fn set_nonblocking_behind_our_back(fd: impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(&fd).expect("flags");
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).expect("set");
}

/// Send and sync, as every end must be.
fn crosses_threads<T: Send + Sync + 'static>(_: &T) {}

tests_of_engines! {
    fn nonblocking_is_a_flag_of_the_handle_and_not_of_the_description() {
        let (a, b) = pair().unwrap();
        let again = a.try_clone().unwrap();
        a.set_nonblocking(true).unwrap();
        assert!(!is_nonblocking(&a) && !is_nonblocking(&b));
        assert_eq!((&a).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        again.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!((&again).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(a.try_clone().is_ok_and(|it| (&it).read(&mut [0]).is_err()), "copied to a clone");
    }

    fn a_blocking_end_waits_although_somebody_set_o_nonblock() {
        let (a, b) = pair().unwrap();
        set_nonblocking_behind_our_back(&a);
        let large = vec![1; 4 << 20];
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&a).read(&mut [0; 4]));
            (&b).write_all(b"x").unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), 1);
            let writer = scope.spawn(|| (&a).write_all(&large));
            (&b).read_exact(&mut vec![0; 4 << 20]).unwrap();
            writer.join().unwrap().unwrap();
        });
    }

    fn one_deadline_bounds_the_whole_call_however_many_bytes_trickle() {
        let (ours, theirs) = pair().unwrap();
        ours.set_read_timeout(Some(SHORT * 4)).unwrap();
        let stop = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (sender, stopped) = stop;
            scope.spawn(move || {
                // A byte well before each deadline of a single read, for ever.
                while stopped.recv_timeout(SHORT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    if (&theirs).write_all(b"x").is_err() {
                        return;
                    }
                }
            });
            for attempt in 0..2 {
                let error = if attempt == 0 {
                    (&ours).read_exact(&mut [0; 1 << 16]).unwrap_err()
                } else {
                    (&ours).read_to_end(&mut Vec::new()).unwrap_err()
                };
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            }
            drop(sender);
        });
    }

    fn a_write_to_a_peer_that_never_reads_ends_at_its_deadline() {
        let (ours, _theirs) = pair().unwrap();
        ours.set_write_timeout(Some(SHORT)).unwrap();
        let error = (&ours).write_all(&vec![0; 8 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (packets, _theirs) = SeqPacket::pair().unwrap();
        packets.set_write_timeout(Some(SHORT)).unwrap();
        let error = (0..10_000).find_map(|_| packets.send(&[0; 1000]).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    fn a_deadline_that_has_passed_still_takes_what_is_there() {
        let (a, b) = pair().unwrap();
        (&a).write_all(b"there").unwrap();
        b.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 5);
        let before = Instant::now();
        assert_eq!((&b).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(before.elapsed() < Duration::from_secs(60), "it waited");
    }

    fn halves_work_from_two_threads_and_come_together_again() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, mut writer) = ours.into_split();
        crosses_threads(&reader);
        crosses_threads(&writer);
        let echo = std::thread::spawn(move || io::copy(&mut &theirs, &mut &theirs));
        let writing = std::thread::spawn(move || writer.write_all(&vec![7; 3 << 20]).map(|()| writer));
        let mut back = vec![0; 3 << 20];
        reader.read_exact(&mut back).unwrap();
        let ours = reader.reunite(writing.join().unwrap().unwrap()).expect("halves of one stream");
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(echo.join().unwrap().unwrap(), 3 << 20);
    }

    fn halves_of_two_streams_are_given_back() {
        let (a, b) = pair().unwrap();
        let ((a_reader, a_writer), (b_reader, b_writer)) = (a.into_split(), b.into_split());
        let error = a_reader.reunite(b_writer).unwrap_err();
        let a = error.0.reunite(a_writer).expect("halves of one stream");
        let mut b = error.1.reunite(b_reader).expect("the other way round");
        (&a).write_all(b"x").unwrap();
        assert_eq!(b.read(&mut [0; 4]).unwrap(), 1, "a failed reunion shut something down");
    }

    fn a_forgotten_writing_half_ends_nothing() {
        let (a, b) = pair().unwrap();
        let (reader, writer) = a.into_split();
        writer.forget();
        b.set_nonblocking(true).unwrap();
        assert_eq!((&b).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(reader);
        assert_eq!((&b).read(&mut [0]).unwrap(), 0);
    }

    fn vectored_calls_gather_and_scatter() {
        let (a, b) = pair().unwrap();
        assert_eq!((&a).write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")]).unwrap(), 5);
        let (mut one, mut two) = ([0; 3], [0; 9]);
        let n = (&b).read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
        assert_eq!((n, &one, &two[..2]), (5, b"abc", &b"de"[..]));
    }

    fn an_empty_read_asks_nothing_and_an_empty_write_sends_nothing() {
        let (a, b) = pair().unwrap();
        assert_eq!((&b).read(&mut []).unwrap(), 0);
        assert_eq!((&a).write(&[]).unwrap(), 0);
        assert_eq!(b.bytes_queued().unwrap(), 0);
    }

    fn a_blocked_read_is_woken_by_a_shutdown_from_another_thread() {
        let (ours, _theirs) = pair().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&ours).read(&mut [0]));
            ours.shutdown(Shutdown::Read).unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), 0);
        });
    }
}

tests_alone! {
    fn a_descriptor_of_another_kind_is_given_back() {
        let file = support::file_with(b"still open");
        let error = Stream::try_from(OwnedFd::from(file)).unwrap_err();
        assert!(error.to_string().starts_with("not an AF_LOCAL socket of type SOCK_STREAM"), "{error}");
        let mut text = String::new();
        std::fs::File::from(error.into_fd()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "still open");

        let (a, b) = SeqPacket::pair().unwrap();
        let back = Datagram::try_from(OwnedFd::from(a)).unwrap_err().into_fd();
        let back = Stream::try_from(back).unwrap_err().into_fd();
        SeqPacket::try_from(back).expect("what it was").send(b"x").unwrap();
        assert_eq!(b.recv(&mut [0; 4]).unwrap(), 1);
    }

    fn a_listener_and_a_network_socket_are_not_ends() {
        let directory = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
        assert!(Stream::try_from(OwnedFd::from(listener)).unwrap_err().to_string().contains("listening"));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Stream::try_from(OwnedFd::from(tcp)).unwrap_err().to_string().contains("AF_INET"));
    }

    fn a_std_stream_becomes_an_end_and_an_end_a_std_stream() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut a = Stream::try_from(a).unwrap();
        let mut b = std::os::unix::net::UnixStream::from(Stream::try_from(b).unwrap());
        a.write_all(b"x").unwrap();
        assert_eq!(b.read(&mut [0; 4]).unwrap(), 1);
    }

    fn an_end_can_be_a_childs_standard_input_and_output() {
        let (mut ours, theirs) = pair().unwrap();
        let again = theirs.try_clone().unwrap();
        let mut child = Command::new("tr").args(["a-z", "A-Z"])
            .stdin(Stdio::from(theirs)).stdout(Stdio::from(again)).spawn().unwrap();
        ours.write_all(b"shout").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "SHOUT");
        assert!(child.wait().unwrap().success());
    }

    fn a_nonblocking_descriptor_becomes_a_nonblocking_end() {
        let (a, _b) = pair().unwrap();
        set_nonblocking_behind_our_back(&a);
        let a = Stream::try_from(OwnedFd::from(a)).unwrap();
        assert_eq!((&a).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        a.set_nonblocking(false).unwrap();
        a.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!((&a).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    fn a_timeout_of_zero_is_refused_and_the_setting_reads_back() {
        let (a, _b) = Datagram::pair().unwrap();
        assert_eq!(a.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        a.set_read_timeout(Some(SHORT)).unwrap();
        a.set_write_timeout(Some(SHORT * 2)).unwrap();
        assert_eq!((a.read_timeout().unwrap(), a.write_timeout().unwrap()), (Some(SHORT), Some(SHORT * 2)));
        a.set_read_timeout(None).unwrap();
        a.set_write_timeout(Some(Duration::MAX)).unwrap();
        assert_eq!(a.read_timeout().unwrap(), None);
        a.send(b"the longest deadline does not overflow").unwrap();
    }

    fn the_send_buffer_reads_back_what_the_kernel_made_of_it() {
        let (a, _b) = pair().unwrap();
        let least = a.set_send_buffer_size(1).unwrap();
        assert!(least >= 2048, "clamped: {least}");
        let given = a.set_send_buffer_size(50_000).unwrap();
        assert_eq!((given, a.send_buffer_size().unwrap()), (100_000, 100_000), "doubled");
        let most = a.set_send_buffer_size(usize::MAX >> 1);
        assert!(most.is_err() || most.is_ok_and(|most| most < usize::MAX >> 1), "clamped");
    }

    fn packets_of_many_threads_on_one_end_never_mix() {
        let (ours, theirs) = SeqPacket::pair().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let ours = &ours;
                scope.spawn(move || {
                    for round in 0..200 {
                        ours.send(&vec![thread; 1 + round * 40]).unwrap();
                    }
                });
            }
            let mut buffer = vec![0; 16 << 10];
            for _ in 0..800 {
                let n = theirs.recv(&mut buffer).unwrap();
                assert!(buffer[1..n].iter().all(|&byte| byte == buffer[0]), "two packets mixed");
            }
        });
    }
}

tests_of_engines! {
    /// A peer that always has something ready must not keep a call beyond its deadline.
    fn a_flood_does_not_outlast_the_deadline() {
        let (ours, theirs) = pair().unwrap();
        ours.set_read_timeout(Some(SHORT)).unwrap();
        std::thread::scope(|scope| {
            let flood = vec![1; 1 << 16];
            scope.spawn(move || while (&theirs).write_all(&flood).is_ok() {});
            // With no look at the clock this would go on for as long as the flood does, for ever.
            let error = (&ours).read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            drop(ours);
        });
    }

    fn what_a_failed_read_exact_had_read_is_read_again() {
        let (a, b) = pair().unwrap();
        b.set_read_timeout(Some(SHORT)).unwrap();
        (&a).write_all(b"four").unwrap();
        assert_eq!((&b).read_exact(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        a.send_fds(b"more", &[std::io::stderr().as_fd()]).unwrap();
        assert_eq!((&b).read_exact(&mut [0; 8]).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut buffer = [0; 8];
        (&b).read_exact(&mut buffer[..4]).unwrap();
        assert_eq!(b.recv_fds(&mut buffer[4..]).unwrap().1.len(), 1);
        assert_eq!(&buffer, b"fourmore");
        (&a).write_all(b"last").unwrap();
        drop(a);
        assert_eq!((&b).read_exact(&mut [0; 8]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!((&b).read(&mut buffer).unwrap(), 4);
    }

    fn refusing_descriptors_frees_an_end_on_which_they_wait() {
        let (a, b) = pair().unwrap();
        a.send_fds(b"data", &[std::io::stderr().as_fd()]).unwrap();
        assert!((&b).read(&mut [0; 8]).is_err());
        b.refuse_fds().unwrap();
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 4);
    }

    fn what_waits_comes_before_the_end() {
        let (a, b) = pair().unwrap();
        let again = b.try_clone().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&b).read(&mut [0; 8]));
            let receiver = scope.spawn(|| again.recv_fds(&mut [0; 8]));
            a.send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap();
            drop(a);
            // Whichever of the two the kernel gives it to, the end is not reported in front of it.
            let (read, received) = (reader.join().unwrap(), receiver.join().unwrap().unwrap());
            let got = received.1.len();
            assert!(got == 1 || (read.is_err() && again.recv_fds(&mut [0; 8]).unwrap().1.len() == 1));
        });
    }
}
