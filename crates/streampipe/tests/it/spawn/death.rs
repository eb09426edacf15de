//! P6: a known peer's death is noticed by every blocked call, whoever keeps a copy of its end.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use streampipe::os::linux::EndExt;
use streampipe::{Child, Command, Engine, Stdio, Stream, Wait, copy_both, inherited, pair};

use super::helpers::{
    HANG, LeftBehind, PROMPTLY, Sleeper, all_of, await_end, eventually, gone, line, sh,
};
use crate::support::tests_alone;

/// How often the plain case is repeated.
const REPETITIONS: usize = 200;

/// How a child has its end.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Socket,
    Pipes,
    SocketOnStdio,
    Ring,
}

const WIRES: [Wire; 4] = [Wire::Socket, Wire::Pipes, Wire::SocketOnStdio, Wire::Ring];

/// Says how much a child queues that has a ring, of which a shell knows nothing.
const QUEUED: &str = "STREAMPIPE_TEST_DEATH_QUEUED";

#[test]
#[ignore = "what a child does, which other tests start"]
fn the_part_of_a_child_with_a_ring() {
    let Ok(queued) = std::env::var(QUEUED) else { return };
    let mut parent = inherited().expect("an end was prepared");
    let copy = OwnedFd::from(parent.try_clone().expect("a handle"));
    let mut grandchild = std::process::Command::new("sleep");
    let mut grandchild = grandchild.arg("100").stdin(copy).spawn().expect("it starts");
    writeln!(parent, "{}", grandchild.id()).expect("room");
    parent.write_all(&vec![0; queued.parse().expect("a number")]).expect("room");
    grandchild.wait().expect("it is ours");
}

fn with_a_ring(queued: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    let name = "spawn::death::the_part_of_a_child_with_a_ring";
    command.args([name, "--exact", "--include-ignored", "--test-threads=1", "--nocapture"]);
    command.env(QUEUED, queued.to_string()).engine(Engine::Ring).stdout(Stdio::null());
    command
}

/// A child, and a grandchild that keeps a copy of its end and outlives it.
struct Family {
    child: Child,
    stream: Stream,
    grandchild: LeftBehind,
}

impl Family {
    /// The child queues this many bytes and stays.
    fn new(wire: Wire, queued: usize) -> Self {
        let say = format!("head -c {queued} /dev/zero");
        let mut child = match wire {
            // A shell gives what it starts beside itself no input, unless told.
            Wire::Socket => {
                sh(&format!("sleep 100 & echo $! >&3; {say} >&3; wait")).spawn().expect("it starts")
            }
            Wire::Ring => with_a_ring(queued).spawn().expect("it starts"),
            Wire::Pipes | Wire::SocketOnStdio => {
                let script = format!("exec 5<&0; sleep 100 <&5 & echo $!; {say}; wait");
                let mut command = sh(&script);
                match wire {
                    Wire::Pipes => command.on_stdio(),
                    _ => command.on_stdio_socket(),
                };
                command.spawn().expect("it starts")
            }
        };
        let stream = child.take_stream().expect("it was not taken");
        let grandchild = LeftBehind::announced_on(&stream);
        let queued = u64::try_from(queued).expect("not so many");
        assert!(eventually(|| stream.bytes_queued().expect("an end") == queued), "it says it all");
        Self { child, stream, grandchild }
    }

    fn is_gone_says(&self, error: &io::Error, what: &str) {
        assert_eq!(gone(error), Some(self.child.id()), "{what}: {error}");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{what}");
        assert!(self.grandchild.runs(), "{what}: nobody kept the end");
    }

    fn reap(mut self) {
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&self.child.wait().unwrap()),
            Some(9)
        );
    }
}

/// A call that waits for the peer, and the error it ends with.
type Call = fn(&Stream) -> io::Error;

const CALLS: [(&str, Call); 8] = [
    ("read", |mut end| end.read(&mut [0]).expect_err("no data")),
    ("read_vectored", |mut end| {
        end.read_vectored(&mut [io::IoSliceMut::new(&mut [0])]).expect_err("no data")
    }),
    ("read_exact", |mut end| end.read_exact(&mut [0; 100]).expect_err("no data")),
    ("read_to_end", |mut end| end.read_to_end(&mut Vec::new()).expect_err("no end")),
    ("recv_fds", |end| end.recv_fds(&mut [0]).expect_err("no data")),
    ("read with a timeout", |mut end| {
        end.set_read_timeout(Some(Duration::from_secs(100))).expect("a timeout");
        end.read(&mut [0]).expect_err("no data")
    }),
    ("write", |mut end| end.write_all(&vec![0; 10_000_000]).expect_err("nobody reads")),
    ("write with a timeout", |mut end| {
        end.set_write_timeout(Some(Duration::from_secs(100))).expect("a timeout");
        end.write_all(&vec![0; 10_000_000]).expect_err("nobody reads")
    }),
];

/// The same of what only a ring has, or where it waits for more than one thing.
const CALLS_OF_RINGS: [(&str, Call); 4] = [
    ("readable", |end| end.readable().map(drop).expect_err("no data")),
    ("reserve", |end| until_refused(|| end.reserve(4096)?.commit(4096))),
    // There is room in the ring, and none for another descriptor.
    ("send_fds", |end| until_refused(|| end.send_fds(b"x", &[io::stderr().as_fd()]))),
    ("send_hello", |end| until_refused(|| end.send_hello())),
];

fn until_refused<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Error {
    loop {
        if let Err(error) = call() {
            return error;
        }
    }
}

/// Blocks a thread in the call, kills the child, and returns the error that has to come.
fn killed_while_blocked(
    child: &Child,
    end: &Stream,
    call: impl Fn(&Stream) -> io::Error + Sync,
) -> io::Error {
    timed_while_blocked(child, end, call).0
}

/// The same, with the time it took.
fn timed_while_blocked(
    child: &Child,
    end: &Stream,
    call: impl Fn(&Stream) -> io::Error + Sync,
) -> (io::Error, Duration) {
    let sleeper = Sleeper::default();
    let (says, said) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleeper.is_me();
            let _ = says.send(call(end));
        });
        sleeper.sleeps();
        let killed = Instant::now();
        child.kill().expect("it is ours");
        let error = said.recv_timeout(HANG);
        if error.is_err() {
            // Ends the call, so that the scope ends.
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        (error.expect("in time"), killed.elapsed())
    })
}

tests_alone! {
    fn every_blocked_call_returns_when_the_child_is_killed() {
        for wire in WIRES {
            for (name, call) in CALLS {
                let family = Family::new(wire, 0);
                let error = killed_while_blocked(&family.child, &family.stream, call);
                family.is_gone_says(&error, &format!("{name} on {wire:?}"));
                family.reap();
            }
        }
    }

    fn every_blocked_call_of_a_ring_returns_when_the_child_is_killed() {
        for (name, call) in CALLS_OF_RINGS {
            for wait in [Wait::Adaptive, Wait::Block] {
                let family = Family::new(Wire::Ring, 0);
                family.stream.set_wait(wait);
                let error = killed_while_blocked(&family.child, &family.stream, call);
                family.is_gone_says(&error, &format!("{name}, {wait:?}"));
                family.reap();
            }
        }
    }

    fn without_waiting_every_call_of_a_ring_says_that_the_child_was_killed() {
        for (name, call) in CALLS_OF_RINGS {
            let family = Family::new(Wire::Ring, 0);
            family.stream.set_nonblocking(true).unwrap();
            assert_eq!(call(&family.stream).kind(), ErrorKind::WouldBlock, "{name}");
            family.child.kill().unwrap();
            await_end(&family.child);
            assert!(eventually(|| call(&family.stream).kind() != ErrorKind::WouldBlock), "{name}");
            family.is_gone_says(&call(&family.stream), name);
            family.reap();
        }
    }

    fn a_blocked_read_returns_when_the_child_is_killed_every_time() {
        // The quickest, on each wire: where there is little time, any one may take long.
        let mut quickest = [HANG; WIRES.len()];
        for round in 0..REPETITIONS {
            let wire = round % WIRES.len();
            let family = Family::new(WIRES[wire], 0);
            let (error, took) = timed_while_blocked(&family.child, &family.stream, CALLS[0].1);
            family.is_gone_says(&error, &format!("round {round}"));
            quickest[wire] = quickest[wire].min(took);
            family.reap();
        }
        assert!(quickest.iter().all(|took| *took < PROMPTLY), "{quickest:?}");
    }

    /// The control: the same over a plain pair, which knows nothing of the child, goes on waiting.
    fn a_read_of_a_plain_pair_is_kept_waiting_by_the_grandchild() {
        let (ours, theirs) = pair().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "exec 5<&0; sleep 100 <&5 & echo $! >&5; wait"])
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        let grandchild = LeftBehind::announced_on(&ours);
        child.kill().unwrap();
        child.wait().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(grandchild.runs());
        drop(grandchild);
        assert_eq!(all_of(&ours), b"", "then the end comes");
    }

    fn what_was_queued_comes_before_the_news() {
        for wire in WIRES {
            for queued in [0, 1, 4096, 50_000] {
                let family = Family::new(wire, queued);
                family.child.kill().unwrap();
                await_end(&family.child);
                let mut bytes = vec![1; queued];
                (&family.stream).read_exact(&mut bytes).expect("what was queued");
                assert!(bytes.iter().all(|byte| *byte == 0));
                for _ in 0..3 {
                    let error = (&family.stream).read(&mut [0]).unwrap_err();
                    family.is_gone_says(&error, &format!("{queued} on {wire:?}"));
                }
                family.reap();
            }
        }
    }

    fn without_a_grandchild_the_data_comes_then_the_end_then_the_status() {
        for queued in [0, 1, 50_000] {
            let mut child = sh(&format!("head -c {queued} /dev/zero >&3; exit 7")).spawn().unwrap();
            await_end(&child);
            assert_eq!(all_of(child.stream()), vec![0; queued]);
            assert_eq!(child.stream().read(&mut [0]).unwrap(), 0, "the end again");
            assert_eq!(child.stream().write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(child.wait().unwrap().code(), Some(7));
            let mut child = sh(&format!("head -c {queued} /dev/zero; exit 7")).on_stdio().spawn().unwrap();
            await_end(&child);
            assert_eq!(all_of(child.stream()), vec![0; queued]);
            assert_eq!(child.stream().write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(child.wait().unwrap().code(), Some(7));
        }
    }

    fn a_peer_that_closed_and_lives_is_broken_pipe_and_not_gone() {
        let scripts = [("exec 3>&-; exec sleep 100", false), ("exec <&- >&-; exec sleep 100", true)];
        for (script, on_stdio) in scripts {
            let mut command = sh(script);
            if on_stdio {
                command.on_stdio();
            }
            let mut child = command.spawn().unwrap();
            assert_eq!(all_of(child.stream()), b"");
            for _ in 0..3 {
                let error = child.stream().write(b"x").unwrap_err();
                assert_eq!((error.kind(), gone(&error)), (ErrorKind::BrokenPipe, None));
            }
            assert_eq!(child.try_wait().unwrap(), None, "it lives");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn without_waiting_the_news_comes_instead_of_would_block() {
        for wire in WIRES {
            let family = Family::new(wire, 0);
            family.stream.set_nonblocking(true).unwrap();
            assert_eq!((&family.stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let full = (&family.stream).write_all(&vec![0; 10_000_000]).unwrap_err();
            assert_eq!(full.kind(), ErrorKind::WouldBlock);
            family.child.kill().unwrap();
            await_end(&family.child);
            // Its end has a moment to close, in which nobody can say yet that somebody else holds it.
            let would_wait = || (&family.stream).read(&mut [0]).unwrap_err().kind() == ErrorKind::WouldBlock;
            assert!(eventually(|| !would_wait()), "it would wait for a process that is gone");
            let error = (&family.stream).read(&mut [0]).unwrap_err();
            family.is_gone_says(&error, "read");
            let error = family.stream.recv_fds(&mut [0]).unwrap_err();
            family.is_gone_says(&error, "recv_fds");
            let error = (&family.stream).write_all(&vec![0; 10_000_000]).unwrap_err();
            family.is_gone_says(&error, "write");
            family.reap();
        }
    }

    fn a_timeout_is_still_a_timeout_while_the_child_lives() {
        for wire in WIRES {
            let family = Family::new(wire, 0);
            family.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            family.stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            assert_eq!((&family.stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
            let error = (&family.stream).write_all(&vec![0; 10_000_000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            family.child.kill().unwrap();
            family.reap();
        }
    }

    fn clones_and_halves_notice_it_too() {
        for wire in WIRES {
            let family = Family::new(wire, 0);
            let clone = family.stream.try_clone().unwrap().try_clone().unwrap();
            let error = killed_while_blocked(&family.child, &clone, CALLS[0].1);
            family.is_gone_says(&error, "a clone");
            let Family { child, stream, grandchild } = family;
            let (mut reader, mut writer) = stream.into_split();
            assert_eq!(gone(&reader.read(&mut [0]).unwrap_err()), Some(child.id()));
            let error = writer.write_all(&vec![0; 10_000_000]).unwrap_err();
            assert_eq!(gone(&error), Some(child.id()), "{error}");
            let stream = reader.reunite(writer).unwrap();
            Family { child, stream, grandchild }.reap();
        }
    }

    fn halves_blocked_on_two_threads_both_return() {
        for wire in WIRES {
            let Family { mut child, stream, grandchild } = Family::new(wire, 0);
            let (mut reader, mut writer) = stream.into_split();
            let sleepers = [Sleeper::default(), Sleeper::default()];
            let id = child.id();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    sleepers[0].is_me();
                    assert_eq!(gone(&reader.read(&mut [0]).unwrap_err()), Some(id));
                });
                scope.spawn(|| {
                    sleepers[1].is_me();
                    let error = writer.write_all(&vec![0; 10_000_000]).unwrap_err();
                    assert_eq!(gone(&error), Some(id));
                });
                sleepers.iter().for_each(Sleeper::sleeps);
                child.kill().unwrap();
            });
            assert!(grandchild.runs());
            child.wait().unwrap();
        }
    }

    fn the_news_outlives_the_reaping() {
        for wire in WIRES {
            let Family { mut child, stream, grandchild } = Family::new(wire, 10);
            child.kill().unwrap();
            child.wait().unwrap();
            (&stream).read_exact(&mut [0; 10]).expect("what was queued");
            assert_eq!(gone(&(&stream).read(&mut [0]).unwrap_err()), Some(child.id()));
            drop(child);
            assert!(gone(&(&stream).read(&mut [0]).unwrap_err()).is_some());
            assert!(grandchild.runs());
        }
    }

    fn a_relay_passes_the_end_on() {
        for wire in WIRES {
            let family = Family::new(wire, 100);
            let (right, far) = pair().unwrap();
            let relay = |end: &Stream| match copy_both(end, &right) {
                Ok(copied) => io::Error::other(format!("{copied:?}")),
                Err(error) => error,
            };
            std::thread::scope(|scope| {
                // Sees the end of the child's direction, and ends the other.
                let listener = scope.spawn(|| {
                    let heard = all_of(&far);
                    far.shutdown(std::net::Shutdown::Write).expect("a pair");
                    heard
                });
                killed_while_blocked(&family.child, &family.stream, relay);
                assert_eq!(listener.join().unwrap(), vec![0; 100], "{wire:?}");
            });
            family.reap();
        }
    }

    fn a_child_that_dies_before_its_first_word_hangs_nobody() {
        let deaths = ["exit 1", "kill -9 $$"];
        for round in 0..120 {
            let leaves_one_behind = round % 4 >= 2;
            let hold = "exec 5<&0; sleep 100 <&5 2>/dev/null & echo $! >&2;";
            let hold = if leaves_one_behind { hold } else { "" };
            let mut command = sh(&format!("{hold} {}", deaths[round % 2]));
            command.stderr(Stdio::piped());
            let mut child = match round % 3 {
                0 => command.spawn(),
                1 => command.on_stdio().spawn(),
                _ => command.on_stdio_socket().spawn(),
            }
            .unwrap();
            let id = child.id();
            let read = child.stream().read(&mut [0]);
            let written = child.stream().write_all(&vec![0; 10_000_000]).unwrap_err();
            let stderr = child.stderr.take().unwrap();
            let left = leaves_one_behind.then(|| LeftBehind::announced_on(stderr));
            match (&left, read) {
                (Some(left), Err(error)) => {
                    assert!(left.runs());
                    assert_eq!((gone(&error), gone(&written)), (Some(id), Some(id)), "{error}");
                }
                (None, Ok(0)) => assert_eq!(written.kind(), ErrorKind::BrokenPipe),
                (_, read) => panic!("round {round}: {read:?}"),
            }
            assert!(!child.wait().unwrap().success());
        }
    }

    /// Another process's writes are data as long as they come.
    fn what_a_grandchild_says_after_the_death_is_data() {
        let script = "(sh -c 'echo $PPID'; read x; echo late; exec sleep 100) <&3 >&3 & wait";
        let mut child = sh(script).spawn().unwrap();
        let stream = child.take_stream().unwrap();
        let grandchild = LeftBehind::announced_on(&stream);
        child.kill().unwrap();
        await_end(&child);
        assert_eq!(gone(&(&stream).read(&mut [0]).unwrap_err()), Some(child.id()));
        (&stream).write_all(b"go\n").expect("there is room, and somebody who may read");
        assert!(eventually(|| stream.bytes_queued().unwrap() == 5));
        assert_eq!(line(&stream), "late");
        drop(grandchild);
        child.wait().unwrap();
    }
}
