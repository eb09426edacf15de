use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use streampipe::os::linux::EndExt;
use streampipe::{Builder, Engine, Stream, Wait};

use crate::spawn::helpers::Sleeper;
use crate::support::tests_alone;

const WAITS: [Wait; 3] = [Wait::Adaptive, Wait::Spin, Wait::Block];

/// How long a call that has no chance waits here.
const SHORT: Duration = Duration::from_millis(20);

fn pair(wait: Wait) -> (Stream, Stream) {
    Builder::new().engine(Engine::Ring).capacity(4096).wait(wait).pair().expect("a pair")
}

fn kind<T: Debug>(done: io::Result<T>) -> ErrorKind {
    done.expect_err("it is in use").kind()
}

/// What another thread is told that calls meanwhile.
fn told_elsewhere<T: Debug + Send>(call: impl FnOnce() -> io::Result<T> + Send) -> ErrorKind {
    std::thread::scope(|scope| scope.spawn(|| kind(call())).join().expect("no panic"))
}

tests_alone! {
    fn who_writes_beside_a_reservation_is_told_in_time() {
        for wait in WAITS {
            let (ours, mut theirs) = pair(wait);
            let hasty = ours.try_clone().expect("a handle");
            hasty.set_nonblocking(true).expect("a flag");
            let bounded = ours.try_clone().expect("a handle");
            bounded.set_write_timeout(Some(SHORT)).expect("not zero");
            let mut room = ours.reserve(8).expect("room");
            assert_eq!(told_elsewhere(|| (&bounded).write(b"x")), ErrorKind::TimedOut, "{wait:?}");
            assert_eq!(told_elsewhere(|| (&hasty).write(b"x")), ErrorKind::ResourceBusy, "{wait:?}");
            assert_eq!(told_elsewhere(|| bounded.reserve(1).map(drop)), ErrorKind::TimedOut);
            assert_eq!(told_elsewhere(|| hasty.reserve(1).map(drop)), ErrorKind::ResourceBusy);
            // Whoever has it could wait for nobody but themselves.
            for own in [&ours, &bounded, &hasty] {
                assert_eq!(kind((&*own).write(b"x")), ErrorKind::Deadlock, "{wait:?}");
                assert_eq!(kind(own.reserve(1).map(drop)), ErrorKind::Deadlock, "{wait:?}");
            }
            // The other direction is nobody's.
            theirs.write_all(b"y").expect("room");
            assert_eq!((&ours).read(&mut [0; 8]).expect("there"), 1);
            room.write_at(0, b"all of 8");
            room.commit(8).expect("somebody reads");
            (&hasty).write_all(b"!").expect("nobody has it");
            let mut heard = [0; 16];
            assert_eq!(theirs.read(&mut heard).expect("there"), 9);
            assert_eq!(&heard[..9], b"all of 8!");
        }
    }

    fn who_reads_beside_a_look_in_place_is_told_in_time() {
        for wait in WAITS {
            let (mut ours, theirs) = pair(wait);
            let hasty = theirs.try_clone().expect("a handle");
            hasty.set_nonblocking(true).expect("a flag");
            let bounded = theirs.try_clone().expect("a handle");
            bounded.set_read_timeout(Some(SHORT)).expect("not zero");
            ours.write_all(b"onetwo").expect("room");
            let mut there = theirs.readable().expect("something");
            there.skip(3);
            let buffer = || [0; 8];
            assert_eq!(told_elsewhere(|| (&bounded).read(&mut buffer())), ErrorKind::TimedOut);
            assert_eq!(told_elsewhere(|| (&hasty).read(&mut buffer())), ErrorKind::ResourceBusy);
            assert_eq!(told_elsewhere(|| bounded.recv_fds(&mut buffer())), ErrorKind::TimedOut);
            assert_eq!(told_elsewhere(|| hasty.recv_fds(&mut buffer())), ErrorKind::ResourceBusy);
            assert_eq!(told_elsewhere(|| bounded.readable().map(drop)), ErrorKind::TimedOut);
            assert_eq!(told_elsewhere(|| hasty.readable().map(drop)), ErrorKind::ResourceBusy);
            for own in [&theirs, &bounded, &hasty] {
                assert_eq!(kind((&*own).read(&mut buffer())), ErrorKind::Deadlock, "{wait:?}");
                assert_eq!(kind(own.readable().map(drop)), ErrorKind::Deadlock, "{wait:?}");
            }
            (&theirs).write_all(b"y").expect("room");
            assert_eq!(ours.read(&mut buffer()).expect("there"), 1);
            there.release();
            let mut heard = buffer();
            assert_eq!((&hasty).read(&mut heard).expect("nobody has it"), 3);
            assert_eq!(&heard[..3], b"two");
        }
    }

    fn who_reserved_is_told_so_beside_others_who_wait() {
        for wait in WAITS {
            let (ours, theirs) = pair(wait);
            let sleeper = Sleeper::default();
            std::thread::scope(|scope| {
                let room = ours.reserve(8).expect("room");
                let writer = scope.spawn(|| {
                    sleeper.is_me();
                    (&ours).write(b"x")
                });
                sleeper.sleeps();
                assert_eq!(kind((&ours).write(b"y")), ErrorKind::Deadlock, "{wait:?}");
                drop(room);
                assert_eq!(writer.join().expect("no panic").expect("room"), 1);
            });
            let sleeper = Sleeper::default();
            std::thread::scope(|scope| {
                let there = theirs.readable().expect("something");
                let reader = scope.spawn(|| {
                    sleeper.is_me();
                    (&theirs).read(&mut [0; 8])
                });
                sleeper.sleeps();
                assert_eq!(kind((&theirs).read(&mut [0; 8])), ErrorKind::Deadlock, "{wait:?}");
                drop(there);
                assert_eq!(reader.join().expect("no panic").expect("there"), 1);
            });
        }
    }

    fn a_writer_that_waits_for_a_reservation_goes_on_behind_it() {
        for (wait, commits) in WAITS.into_iter().flat_map(|it| [true, false].map(|is| (it, is))) {
            let (ours, mut theirs) = pair(wait);
            let sleeper = Sleeper::default();
            std::thread::scope(|scope| {
                let mut room = ours.reserve(8).expect("room");
                room.write_at(0, b"first");
                let writer = scope.spawn(|| {
                    sleeper.is_me();
                    (&ours).write(b"second")
                });
                sleeper.sleeps();
                if commits {
                    room.commit(5).expect("somebody reads");
                } else {
                    drop(room);
                }
                assert_eq!(writer.join().expect("no panic").expect("room"), 6, "{wait:?}");
            });
            let mut heard = [0; 16];
            let len = theirs.read(&mut heard).expect("there");
            let expected: &[u8] = if commits { b"firstsecond" } else { b"second" };
            assert_eq!(&heard[..len], expected, "{wait:?}");
        }
    }

    fn a_reader_that_waits_for_a_look_in_place_goes_on_behind_it() {
        for wait in WAITS {
            let (mut ours, theirs) = pair(wait);
            ours.write_all(b"onetwo").expect("room");
            let sleeper = Sleeper::default();
            std::thread::scope(|scope| {
                let mut there = theirs.readable().expect("something");
                there.skip(3);
                let reader = scope.spawn(|| {
                    sleeper.is_me();
                    let mut heard = [0; 8];
                    (&theirs).read(&mut heard).map(|len| heard[..len].to_vec())
                });
                sleeper.sleeps();
                there.release();
                assert_eq!(reader.join().expect("no panic").expect("there"), b"two", "{wait:?}");
            });
        }
    }

    fn a_reader_that_slept_before_a_look_in_place_reads_what_that_left() {
        let mut met = 0;
        for wait in [Wait::Adaptive, Wait::Block].into_iter().cycle().take(40) {
            let (mut ours, theirs) = pair(wait);
            theirs.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
            let hasty = theirs.try_clone().expect("a handle");
            hasty.set_nonblocking(true).expect("a flag");
            let sleeper = Sleeper::default();
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    sleeper.is_me();
                    let mut heard = [0; 8];
                    (&theirs).read(&mut heard).map(|len| heard[..len].to_vec())
                });
                sleeper.sleeps();
                ours.write_all(b"onetwo").expect("room");
                // In front of the reader, which has to wake first; mostly.
                let expected: &[u8] = match hasty.readable() {
                    Ok(mut there) => {
                        met += 1;
                        there.skip(3);
                        sleeper.sleeps();
                        b"two"
                    }
                    Err(_) => b"onetwo",
                };
                let heard = reader.join().expect("no panic").expect("something is there");
                assert_eq!(heard, expected, "{wait:?}");
            });
        }
        assert!(met > 0, "never in front of the reader");
    }

    fn what_is_committed_to_a_peer_that_reads_no_more_is_refused() {
        let (ours, theirs) = pair(Wait::Adaptive);
        let room = ours.reserve(8).expect("room");
        theirs.shutdown(Shutdown::Read).expect("once");
        assert_eq!(kind(room.commit(8)), ErrorKind::BrokenPipe);
    }

    fn what_is_committed_behind_the_end_of_writing_is_refused() {
        for how in [Shutdown::Write, Shutdown::Both] {
            let (ours, mut theirs) = pair(Wait::Adaptive);
            let mut room = ours.reserve(8).expect("room");
            room.write_at(0, b"too late");
            ours.try_clone().expect("a handle").shutdown(how).expect("once");
            assert_eq!(kind(room.commit(8)), ErrorKind::BrokenPipe);
            assert_eq!(theirs.read(&mut [0; 8]).expect("the end, and nothing in front of it"), 0);
            assert_eq!(kind((&ours).write(b"x")), ErrorKind::BrokenPipe, "nobody has it");
        }
    }

    fn what_asks_and_does_not_read_waits_for_no_look_in_place() {
        let (mut ours, theirs) = pair(Wait::Adaptive);
        ours.write_all(b"onetwo").expect("room");
        let mut there = theirs.readable().expect("something");
        there.skip(3);
        assert_eq!(theirs.bytes_queued().expect("an end"), 6, "none was given back yet");
        theirs.refuse_fds().expect("an end");
        assert!(ours.reserve(8).is_ok(), "the peer knows nothing of it");
        there.release();
        assert_eq!(theirs.bytes_queued().expect("an end"), 3);
    }
}
