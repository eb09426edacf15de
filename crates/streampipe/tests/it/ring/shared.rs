use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use streampipe::{Builder, Engine, Stream, Wait};

const WAITS: [Wait; 3] = [Wait::Adaptive, Wait::Spin, Wait::Block];

fn pair(wait: Wait) -> (Stream, Stream) {
    Builder::new().engine(Engine::Ring).capacity(4096).wait(wait).pair().expect("a pair")
}

/// Bytes that say where they are in the stream.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

#[test]
fn both_directions_at_once_lose_nothing_however_they_wait() {
    const ALL: usize = 1 << 20;
    for wait in WAITS {
        let (ours, theirs) = pair(wait);
        std::thread::scope(|scope| {
            for end in [&ours, &theirs] {
                scope.spawn(move || {
                    let mut sent = 0;
                    while sent < ALL {
                        let len = (1 + sent % 3001).min(ALL - sent);
                        { end }.write_all(&pattern(sent, len)).expect("the peer reads");
                        sent += len;
                    }
                    end.shutdown(Shutdown::Write).expect("once");
                });
                scope.spawn(move || {
                    let (mut got, mut buffer) = (0, vec![0; 5000]);
                    loop {
                        let most = 1 + got % 4999;
                        let len = { end }.read(&mut buffer[..most]).expect("the peer writes");
                        if len == 0 {
                            break;
                        }
                        assert_eq!(buffer[..len], pattern(got, len), "at {got}");
                        got += len;
                    }
                    assert_eq!(got, ALL);
                });
            }
        });
    }
}

#[test]
fn readers_and_writers_that_share_an_end_lose_nothing_and_double_nothing() {
    const THREADS: usize = 4;
    const EACH: usize = 20_000;
    let (ours, theirs) = pair(Wait::Adaptive);
    let heard = std::sync::Mutex::new(vec![0_u32; THREADS]);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|who| {
                let ours = ours.try_clone().expect("a descriptor");
                scope.spawn(move || {
                    for _ in 0..EACH {
                        (&ours).write_all(&[who as u8]).expect("somebody reads");
                    }
                })
            })
            .collect();
        for _ in 0..THREADS {
            let (theirs, heard) = (theirs.try_clone().expect("a descriptor"), &heard);
            scope.spawn(move || {
                let mut buffer = [0; 7];
                loop {
                    let len = (&theirs).read(&mut buffer).expect("somebody writes");
                    if len == 0 {
                        break;
                    }
                    let mut heard = heard.lock().expect("nobody panicked");
                    buffer[..len].iter().for_each(|&who| heard[usize::from(who)] += 1);
                }
            });
        }
        for writer in writers {
            writer.join().expect("no panic");
        }
        ours.shutdown(Shutdown::Write).expect("once");
    });
    assert_eq!(heard.into_inner().expect("nobody panicked"), vec![EACH as u32; THREADS]);
}

#[test]
fn a_shutdown_by_another_thread_ends_a_blocked_read() {
    for wait in WAITS {
        let (ours, _theirs) = pair(wait);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&ours).read(&mut [0; 8]));
            asleep_or_spinning();
            ours.shutdown(Shutdown::Read).expect("once");
            assert_eq!(reader.join().expect("no panic").expect("the end"), 0, "{wait:?}");
        });
    }
}

#[test]
fn a_shutdown_by_another_thread_ends_a_blocked_write() {
    for wait in WAITS {
        let (ours, _theirs) = pair(wait);
        (&ours).write_all(&[0; 4096]).expect("room");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (&ours).write(b"x"));
            asleep_or_spinning();
            ours.shutdown(Shutdown::Write).expect("once");
            let error = writer.join().expect("no panic").expect_err("it was ended");
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{wait:?}");
        });
    }
}

#[test]
fn a_peer_that_is_dropped_ends_blocked_calls() {
    for wait in WAITS {
        let (ours, theirs) = pair(wait);
        (&ours).write_all(&[0; 4096]).expect("room");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (&ours).write(b"x"));
            let reader = scope.spawn(|| (&ours).read(&mut [0; 8]));
            asleep_or_spinning();
            drop(theirs);
            writer.join().expect("no panic").expect_err("nobody reads");
            // It had not read what we wrote.
            let error = reader.join().expect("no panic").expect_err("a reset comes first");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{wait:?}");
        });
        assert_eq!((&ours).read(&mut [0; 8]).expect("and then the end"), 0);
    }
}

#[test]
fn calls_end_at_their_deadline() {
    let timeout = Duration::from_millis(30);
    for wait in WAITS {
        let (ours, _theirs) = pair(wait);
        ours.set_read_timeout(Some(timeout)).expect("not zero");
        ours.set_write_timeout(Some(timeout)).expect("not zero");
        let error = (&ours).read(&mut [0; 8]).expect_err("nothing comes");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{wait:?}");
        assert_eq!((&ours).write(&[0; 5000]).expect("as much as fits"), 4096, "{wait:?}");
        let error = (&ours).write(b"x").expect_err("no room");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{wait:?}");
    }
}

/// Gives another thread the time to get going; whether it did is of no matter to what is asserted.
fn asleep_or_spinning() {
    for _ in 0..1000 {
        std::thread::yield_now();
    }
}

#[test]
fn doorbells_for_sleeps_that_were_none_do_not_pile_up() {
    let file = crate::support::file_with(b"x");
    for wait in [Wait::Adaptive, Wait::Block] {
        let (ours, theirs) = pair(wait);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let mut one = [0];
                    (&theirs).read_exact(&mut one).expect("asked");
                    (&theirs).write_all(&one).expect("room");
                }
            });
            for _ in 0..20_000 {
                (&ours).write_all(b"x").expect("room");
                (&ours).read_exact(&mut [0]).expect("answered");
            }
        });
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            let bells = rustix::io::ioctl_fionread(one).expect("a socket") / 16;
            assert!(bells <= 64, "{bells} unheard doorbells, {wait:?}");
            other.set_write_timeout(Some(Duration::from_secs(10))).expect("not zero");
            other.send_fds(b"x", &[file.as_fd()]).expect("room for a note");
        }
    }
}
