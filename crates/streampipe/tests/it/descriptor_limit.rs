//! A process that confines itself by `RLIMIT_NOFILE` 0 once it has its ends, as sandboxes do: it can open nothing any
//! more, and Linux refuses `poll` to it. Every bounded wait works all the same.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use streampipe::{
    Channel, Command, Datagram, FdError, PacketError, RecvError, SeqPacket, Stream,
    copy_both_timeout,
};

use crate::engines::{engine, pair, tests_of_engines};
use crate::support::tests_alone;

/// Long enough for whatever must come.
const AMPLE: Duration = Duration::from_secs(60);
/// For what does not come.
const SHORT: Duration = Duration::from_millis(30);

/// The limit, until this is dropped.
struct NoDescriptors {
    before: Rlimit,
}

impl NoDescriptors {
    fn from_now_on() -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).expect("lowered");
        // The control: it holds, and what is waited with elsewhere is refused.
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, 0.into());
        assert_eq!(null.err(), Some(rustix::io::Errno::MFILE));
        let stderr = std::io::stderr();
        let mut watched = [rustix::event::PollFd::new(&stderr, rustix::event::PollFlags::OUT)];
        let polled = rustix::event::poll(&mut watched, Some(&rustix::event::Timespec::default()));
        assert_eq!(polled, Err(rustix::io::Errno::INVAL));
        Self { before }
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).expect("back to what it was");
    }
}

/// Bounds a receive that has nothing to wait for.
fn times_out<T: std::fmt::Debug>(call: impl FnOnce() -> std::io::Result<T>) {
    let start = Instant::now();
    assert_eq!(call().unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= SHORT, "before its time");
}

tests_of_engines! {
    fn reads_and_writes_wait_within_their_timeouts() {
        let (a, b) = pair().unwrap();
        let (both, limit) = (Barrier::new(2), NoDescriptors::from_now_on());
        (&b).write_all(b"here").unwrap();
        a.set_read_timeout(Some(AMPLE)).unwrap();
        let mut four = [0; 4];
        (&a).read_exact(&mut four).unwrap();
        for timeout in [None, Some(AMPLE)] {
            b.set_read_timeout(timeout).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    (&a).write_all(b"late").unwrap();
                });
                both.wait();
                (&b).read_exact(&mut four).unwrap();
            });
        }
        b.set_read_timeout(Some(SHORT)).unwrap();
        times_out(|| (&b).read(&mut four));
        times_out(|| b.recv_fds(&mut four));
        a.set_write_timeout(Some(SHORT)).unwrap();
        let much = vec![0; 8 << 20];
        times_out(|| (&a).write_all(&much));
        drop(limit);
    }

    fn a_write_that_waits_is_told_of_room_and_of_the_end() {
        let (a, b) = pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        a.set_write_timeout(Some(AMPLE)).unwrap();
        b.set_read_timeout(Some(AMPLE)).unwrap();
        let much = vec![7; 4 << 20];
        thread::scope(|scope| {
            scope.spawn(|| (&a).write_all(&much).unwrap());
            let mut all = vec![0; much.len()];
            (&b).read_exact(&mut all).unwrap();
            assert!(all == much);
        });
        thread::scope(|scope| {
            let writer = scope.spawn(|| (&a).write_all(&much).unwrap_err().kind());
            assert_ne!((&b).read(&mut [0; 16]).unwrap(), 0);
            drop(b);
            assert!(matches!(writer.join().unwrap(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
        });
        drop(limit);
    }

    fn a_read_that_waits_is_told_of_the_end() {
        let (a, b) = pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        a.set_read_timeout(Some(AMPLE)).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| (&a).read(&mut [0; 8]).unwrap());
            drop(b);
            assert_eq!(reader.join().unwrap(), 0);
        });
        assert!(matches!((&a).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe));
        drop(limit);
    }

    fn descriptors_that_come_are_lost_with_a_word() {
        let (a, b) = pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        b.set_read_timeout(Some(AMPLE)).unwrap();
        // Who sends them is confined in the same way: the limit is also for what is in flight, but not for root.
        if a.send_fds(b"x", &[std::io::stderr().as_fd()]).is_ok() {
            let error = b.recv_fds(&mut [0; 8]).unwrap_err();
            let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<FdError>());
            assert!(matches!(inside, Some(FdError::Lost { arrived: 0, bytes: 1 })), "{error}");
            assert_eq!((&b).read(&mut [0; 8]).unwrap(), 1);
        }
        drop(limit);
    }

    fn channels_send_receive_and_call_within_their_timeouts() {
        let (a, b) = pair().unwrap();
        let (client, server) = (Channel::<u64, u64>::from(a), Channel::<u64, u64>::from(b));
        let limit = NoDescriptors::from_now_on();
        thread::scope(|scope| {
            scope.spawn(|| server.serve(|value| value + 1).unwrap());
            assert_eq!(client.call(4).unwrap(), 5);
            assert_eq!(client.call_timeout(5, AMPLE).unwrap(), 6);
            assert!(matches!(client.recv_timeout(SHORT), Err(RecvError::TimedOut)));
            client.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.shutdown(std::net::Shutdown::Both).unwrap();
        drop(limit);
    }

    fn a_relay_goes_on_and_ends_in_time() {
        let ((a, left), (right, b)) = (pair().unwrap(), pair().unwrap());
        let limit = NoDescriptors::from_now_on();
        thread::scope(|scope| {
            let relay = scope.spawn(|| copy_both_timeout(&left, &right, AMPLE));
            (&a).write_all(b"across").unwrap();
            let mut across = [0; 6];
            (&b).read_exact(&mut across).unwrap();
            assert_eq!(&across, b"across");
            drop((a, b));
            assert_eq!(relay.join().unwrap().unwrap(), (6, 0));
        });
        drop(limit);
    }

    fn the_death_of_a_child_ends_every_wait() {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("1000").engine(engine());
            command.spawn().unwrap()
        };
        let mut children = [start(), start()];
        let limit = NoDescriptors::from_now_on();
        for (child, timeout) in children.iter_mut().zip([None, Some(AMPLE)]) {
            child.stream().set_read_timeout(timeout).unwrap();
            assert_eq!(child.wait_timeout(SHORT).unwrap(), None);
            child.kill().unwrap();
            assert_eq!(child.stream().read(&mut [0; 8]).unwrap(), 0);
            assert!(child.wait_timeout(AMPLE).unwrap().is_some());
        }
        drop(limit);
    }
}

tests_of_engines! {
    /// What a runtime looks after already, it goes on looking after.
    fn tasks_wait_for_what_was_registered_before() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (a, b) = pair().unwrap();
            let mut cat = Command::new("cat").on_stdio().spawn().unwrap();
            let mut a = streampipe::tokio::Stream::try_from(a).unwrap();
            let mut b = streampipe::tokio::Stream::try_from(b).unwrap();
            let mut pipes = streampipe::tokio::Stream::try_from(cat.take_stream().unwrap()).unwrap();
            let limit = NoDescriptors::from_now_on();
            let much = vec![7; 2 << 20];
            let mut all = vec![0; much.len()];
            let (written, read) = tokio::join!(a.write_all(&much), b.read_exact(&mut all));
            written.unwrap();
            read.unwrap();
            assert!(all == much);
            // Where it writes cannot be registered now: it is tried again and again.
            let (mut reader, mut writer) = tokio::io::split(&mut pipes);
            let (written, read) = tokio::join!(
                async {
                    writer.write_all(&much[..300_000]).await.unwrap();
                    writer.shutdown().await.unwrap();
                },
                async {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all).await.unwrap();
                    all
                },
            );
            assert_eq!((written, read.len()), ((), 300_000));
            drop(limit);
            assert!(cat.wait().unwrap().success());
        });
    }
}

tests_alone! {
    fn packets_wait_within_their_timeouts_and_tell_the_end() {
        let (a, b) = SeqPacket::pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        b.set_read_timeout(Some(SHORT)).unwrap();
        times_out(|| b.recv(&mut [0; 8]));
        a.set_write_timeout(Some(SHORT)).unwrap();
        times_out(|| -> std::io::Result<()> { loop { a.send(&[0; 1000])?; } });
        b.set_read_timeout(Some(AMPLE)).unwrap();
        assert_eq!(b.recv(&mut [0; 1000]).unwrap(), 1000);
        let too_long = b.recv(&mut [0; 10]).unwrap_err();
        assert!(too_long.get_ref().is_some_and(|inside| inside.is::<PacketError>()), "{too_long}");
        drop(a);
        while b.recv(&mut [0; 1000]).unwrap() > 0 {}
        drop(limit);
    }

    /// A packet without bytes is told apart from the end.
    fn an_empty_packet_is_no_end() {
        let (a, b) = SeqPacket::pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        b.set_read_timeout(Some(AMPLE)).unwrap();
        let is_refused = || {
            let error = b.recv(&mut [0; 8]).unwrap_err();
            assert!(error.get_ref().is_some_and(|inside| inside.is::<PacketError>()), "{error}");
        };
        let send_nothing = || rustix::net::send(&a, b"", rustix::net::SendFlags::empty()).unwrap();
        send_nothing();
        is_refused();
        send_nothing();
        a.send(b"more").unwrap();
        is_refused();
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 4);
        drop(a);
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 0);
        drop(limit);
    }

    fn datagrams_wait_within_their_timeouts() {
        let (a, b) = Datagram::pair().unwrap();
        let limit = NoDescriptors::from_now_on();
        b.set_read_timeout(Some(SHORT)).unwrap();
        times_out(|| b.recv(&mut [0; 8]));
        a.send(b"one").unwrap();
        assert_eq!(b.recv(&mut [0; 8]).unwrap(), 3);
        drop(limit);
    }

    fn two_pipes_wait_within_their_timeouts() {
        let mut cat = Command::new("cat").on_stdio().spawn().unwrap();
        let mut sleep = Command::new("sleep").arg("1000").on_stdio().spawn().unwrap();
        let limit = NoDescriptors::from_now_on();
        let stream: &mut Stream = cat.stream();
        stream.set_read_timeout(Some(AMPLE)).unwrap();
        stream.write_all(b"there and back").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there and back");
        stream.set_read_timeout(Some(SHORT)).unwrap();
        times_out(|| stream.read(&mut [0; 8]));
        let stream = sleep.stream();
        stream.set_write_timeout(Some(SHORT)).unwrap();
        times_out(|| stream.write_all(&vec![0; 4 << 20]));
        sleep.kill().unwrap();
        assert_eq!(sleep.stream().read(&mut [0; 8]).unwrap(), 0);
        sleep.wait().unwrap();
        assert!(cat.wait().unwrap().success());
        drop(limit);
    }
}
