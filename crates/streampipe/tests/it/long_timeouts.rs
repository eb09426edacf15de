//! Each call that takes a time or an instant takes the longest there is: it waits for as long as it must.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use streampipe::join::Join;
use streampipe::{
    Channel, Command, Datagram, RawChannel, SeqPacket, StopSchedule, copy_both_timeout,
};

use crate::engines::{over_each_carrier, pair, tests_of_engines};
use crate::support::tests_alone;

/// Longer than `int` milliseconds, than 32-bit seconds, than 64-bit nanoseconds; and the longest.
const LONG: [Duration; 4] = [
    Duration::from_secs(25 * 24 * 3600),
    Duration::from_secs(100 * 365 * 24 * 3600),
    Duration::from_secs(1000 * 365 * 24 * 3600),
    Duration::MAX,
];

/// An instant so far away, if there is one.
fn far(timeout: Duration) -> Instant {
    Instant::now().checked_add(timeout.min(LONG[2])).expect("an instant")
}

tests_of_engines! {
    fn reads_and_writes_take_the_longest_timeouts() {
        for timeout in LONG {
            let (a, b) = pair().unwrap();
            a.set_write_timeout(Some(timeout)).unwrap();
            b.set_read_timeout(Some(timeout)).unwrap();
            let much = vec![1; 1 << 20];
            thread::scope(|scope| {
                // Both sides have to wait.
                scope.spawn(|| (&a).write_all(&much).unwrap());
                let mut all = vec![0; much.len()];
                (&b).read_exact(&mut all).unwrap();
            });
            thread::scope(|scope| {
                scope.spawn(|| a.send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap());
                assert_eq!(b.recv_fds(&mut [0; 8]).unwrap().1.len(), 1);
            });
            thread::scope(|scope| {
                scope.spawn(|| a.send_hello().unwrap());
                // Nobody asked the kernel who sent it.
                b.recv_hello().unwrap_err();
            });
        }
    }

    fn channels_take_the_longest_timeouts() {
        for timeout in LONG {
            let channels = over_each_carrier(
                |a, b| (Channel::<u64, u64>::from(a), Channel::<u64, u64>::from(b)),
                |a, b| (Channel::<u64, u64>::from(a), Channel::<u64, u64>::from(b)),
            );
            for (a, b) in channels {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        assert_eq!(b.recv_timeout(timeout).unwrap(), 1);
                        assert_eq!(b.recv_deadline(far(timeout)).unwrap(), 2);
                        let request = b.recv_request_timeout(timeout).unwrap();
                        request.answer(3).unwrap();
                        let request = b.recv_request_deadline(far(timeout)).unwrap();
                        request.answer(4).unwrap();
                    });
                    a.send_timeout(1, timeout).unwrap();
                    a.send_deadline(2, far(timeout)).unwrap();
                    assert_eq!(a.call_timeout(0, timeout).unwrap(), 3);
                    assert_eq!(a.call_deadline(0, far(timeout)).unwrap(), 4);
                });
            }
        }
    }

    fn raw_channels_take_the_longest_timeouts() {
        for timeout in LONG {
            let channels = over_each_carrier(
                |a, b| (RawChannel::from(a), RawChannel::from(b)),
                |a, b| (RawChannel::from(a), RawChannel::from(b)),
            );
            let much = vec![0; 2 << 20];
            for (a, b) in channels {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        assert_eq!(b.recv_timeout(timeout).unwrap().bytes.len(), much.len());
                        assert_eq!(b.recv_deadline(far(timeout)).unwrap().bytes.len(), much.len());
                        b.recv_request_timeout(timeout).unwrap().answer(b"1", &[]).unwrap();
                        b.recv_request_deadline(far(timeout)).unwrap().answer(b"2", &[]).unwrap();
                    });
                    a.send_timeout(&much, &[], timeout).unwrap();
                    a.send_deadline(&much, &[], far(timeout)).unwrap();
                    assert_eq!(&*a.call_timeout(b"", &[], timeout).unwrap().bytes, b"1");
                    assert_eq!(&*a.call_deadline(b"", &[], far(timeout)).unwrap().bytes, b"2");
                });
            }
        }
    }

    fn a_relay_takes_the_longest_timeouts() {
        for timeout in LONG {
            let ((a, left), (right, b)) = (pair().unwrap(), pair().unwrap());
            thread::scope(|scope| {
                let relay = scope.spawn(|| copy_both_timeout(&left, &right, timeout));
                (&a).write_all(b"across").unwrap();
                (&b).read_exact(&mut [0; 6]).unwrap();
                drop((a, b));
                assert_eq!(relay.join().unwrap().unwrap(), (6, 0));
            });
        }
    }
}

tests_alone! {
    fn packets_take_the_longest_timeouts() {
        for timeout in LONG {
            let (a, b) = SeqPacket::pair().unwrap();
            b.set_read_timeout(Some(timeout)).unwrap();
            let (c, d) = Datagram::pair().unwrap();
            d.set_read_timeout(Some(timeout)).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| (a.send(b"packet").unwrap(), c.send(b"packet").unwrap()));
                assert_eq!(b.recv(&mut [0; 8]).unwrap(), 6);
                assert_eq!(d.recv(&mut [0; 8]).unwrap(), 6);
            });
        }
    }

    fn waits_for_children_take_the_longest_timeouts() {
        for timeout in LONG {
            let start = || Command::new("cat").on_stdio().spawn().unwrap();
            let mut cat = start();
            cat.stream().set_read_timeout(Some(timeout)).unwrap();
            cat.stream().write_all(b"there and back").unwrap();
            cat.stream().read_exact(&mut [0; 14]).unwrap();
            cat.kill().unwrap();
            assert!(cat.wait_timeout(timeout).unwrap().is_some());
            let mut cat = start();
            cat.kill().unwrap();
            assert!(cat.wait_deadline(far(timeout)).unwrap().is_some());
            let schedule = StopSchedule::new().after_close(timeout).after_term(timeout);
            assert!(start().stop_with(schedule).unwrap().success());
        }
    }

    fn a_join_takes_the_longest_timeouts() {
        for timeout in LONG {
            let program = |name| std::process::Command::new(name);
            let join = Join::new(program("true"), program("cat"));
            let outcome = join.timeout(timeout).kill_after(timeout).run().unwrap();
            assert!(!outcome.timed_out);
        }
    }
}
