use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Barrier;

use rustix::io::FdFlags;
use streampipe::{Datagram, NotInherited, SeqPacket, inherited, pair};

use super::{VARIABLE, answer_of, answer_of_foreign, foreign_worker, worker};
use crate::support;

/// Plays the part; returns the answer.
pub(super) fn play(part: &str) -> String {
    match part {
        "adopt" => adopt(),
        "adopt without room" => adopt_without_room(),
        "adopt and see what else changes" => adopt_and_see_what_else_changes(),
        "adopt again and again" => adopt_again_and_again(),
        "adopt in eight threads" => adopt_in_eight_threads(),
        "adopt a ring" => adopt_a_ring(),
        "adopt a ring without room" => {
            let _limit = support::FreeDescriptors::exactly(0);
            adopt_a_ring()
        }
        "adopt a ring without memory" => {
            // More than the program has, less than the ring.
            let memory = rustix::process::Resource::As;
            let most = rustix::process::getrlimit(memory);
            let lowered = rustix::process::Rlimit { current: Some(3 << 29), ..most };
            rustix::process::setrlimit(memory, lowered).expect("a limit can be lowered");
            adopt_a_ring()
        }
        "say which rights it has" => format!("{}; {}", user_ids(), adopt()),
        "start a foreign child" => start_a_foreign_child(),
        "start a child with an end" => start_a_child_with_an_end(true),
        "start a child with an end, its own left lying" => start_a_child_with_an_end(false),
        "start a child without an end" => start_a_child_without_an_end(),
        "look and adopt" => look_and_adopt(),
        other => match other.strip_prefix("put in its place: ") {
            Some(what) => put_in_its_place(what),
            None => panic!("no such part: {other:?}"),
        },
    }
}

/// The number that the variable speaks of.
fn promised() -> i32 {
    let value = std::env::var(VARIABLE).expect("the variable");
    value.split(':').nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn target(number: i32) -> String {
    let target = std::fs::read_link(format!("/proc/self/fd/{number}"));
    target.map_or_else(|_| "nothing".to_owned(), |it| it.to_string_lossy().into_owned())
}

/// All that the kernel says of an open number: flags, close-on-exec among them, and position.
fn facts(number: i32) -> (String, Option<String>) {
    (target(number), std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok())
}

/// Answers a line from the parent, and says under which number.
fn adopt() -> String {
    let mut end = match inherited() {
        Ok(end) => end,
        Err(reason) => return format!("{reason:?}"),
    };
    let flags = rustix::io::fcntl_getfd(&end).expect("open");
    assert_eq!(flags, FdFlags::CLOEXEC, "an adopted end is not for this process's children");
    let mut line = String::new();
    BufReader::new(&end).read_line(&mut line).expect("the parent's line, or its end");
    write!(end, "heard: {line}").expect("the parent listens");
    let (number, at_first) = (end.as_raw_fd(), promised());
    if number == at_first {
        return format!("adopted as {number}");
    }
    assert!(number >= 3, "an end of ours as {number}");
    format!("adopted as 3 or more, with {} as {at_first}", target(at_first))
}

/// A standard number needs room for another one.
fn adopt_without_room() -> String {
    let before = facts(0);
    for free in 0..2 {
        let limit = support::FreeDescriptors::exactly(free);
        let refused = inherited().map(drop);
        drop(limit);
        assert!(refused.is_err_and(|it| it != NotInherited::Taken), "there is no room");
        assert_eq!(facts(0), before);
    }
    format!("at last {}", adopt())
}

fn adopt_and_see_what_else_changes() -> String {
    let others = [0, 1, 2, 5, 9];
    let look = || -> Vec<_> { others.iter().map(|number| facts(*number)).collect() };
    let environment = || -> BTreeMap<_, _> { std::env::vars_os().collect() };
    let before = (look(), environment(), support::Descriptors::now());
    let end = inherited().expect("it was prepared");
    assert_eq!(before, (look(), environment(), support::Descriptors::now()));
    assert_eq!(end.as_raw_fd(), promised());
    assert_ne!(target(5), "nothing");
    assert_ne!(target(9), "nothing");
    "nothing else".to_owned()
}

fn adopt_again_and_again() -> String {
    let taken = |when: &str| {
        assert_eq!(inherited().map(drop), Err(NotInherited::Taken), "{when}");
        let thread = std::thread::spawn(|| inherited().map(drop));
        assert_eq!(
            thread.join().expect("no panic"),
            Err(NotInherited::Taken),
            "{when}, in a thread"
        );
    };
    let number = promised();
    let end = inherited().expect("it was prepared");
    taken("at once");
    assert_ne!(target(number), "nothing", "a second call does not close it");
    drop(end);
    assert_eq!(target(number), "nothing", "the end belongs to the caller");
    taken("after it was dropped");
    "once".to_owned()
}

fn adopt_in_eight_threads() -> String {
    let start = Barrier::new(8);
    let results: Vec<_> = std::thread::scope(|scope| {
        let race = || {
            start.wait();
            inherited()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let (adopted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(adopted.len(), 1);
    assert!(refused.into_iter().all(|it| it.unwrap_err() == NotInherited::Taken));
    "by one".to_owned()
}

/// What became of it, which is the same for every later call.
fn adopt_a_ring() -> String {
    let number = promised();
    let adopted = inherited().map(|end| end.engine());
    assert_eq!(inherited().map(drop), Err(NotInherited::Taken));
    assert_eq!(target(number), "nothing", "it was closed");
    format!("{adopted:?}")
}

fn user_ids() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("it has users");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The child gets this process's variable, and the end is close-on-exec.
fn start_a_foreign_child() -> String {
    let end = inherited().expect("it was prepared");
    let told = answer_of_foreign(&mut foreign_worker("look and adopt"));
    drop(end);
    told
}

/// The child has an end of its own, whatever has become of this process's.
fn start_a_child_with_an_end(adopts: bool) -> String {
    let own = adopts.then(|| inherited().expect("it was prepared"));
    let before = std::env::var(VARIABLE).expect("the variable");
    let mut command = worker("adopt");
    command.stderr(streampipe::Stdio::piped());
    let mut child = command.env(VARIABLE, &before).spawn().expect("it starts");
    child.stream().write_all(b"grandchild\n").expect("it listens");
    let mut heard = String::new();
    child.stream().read_to_string(&mut heard).expect("its words, then the end");
    assert_eq!(heard, "heard: grandchild\n");
    drop(own);
    super::answer(&child.wait_with_output().expect("our child"))
}

/// No end, so no variable: neither a new one nor this process's.
fn start_a_child_without_an_end() -> String {
    let end = inherited().expect("it was prepared");
    let told = answer_of(worker("adopt").on_stdio());
    drop(end);
    told
}

/// What is under the number is as it was after it was not adopted.
fn look_and_adopt() -> String {
    let number = promised();
    let before = facts(number);
    let refused = inherited().map(drop).expect_err("it is not the one");
    assert_eq!(before, facts(number), "what was not adopted has changed");
    format!("{refused:?}")
}

/// Adopts the end, puts another file under its number, and starts a foreign child.
fn put_in_its_place(what: &str) -> String {
    let end = inherited().expect("it was prepared");
    let (fd, still_works) = stranger(what);
    let mut place = OwnedFd::from(end);
    assert_eq!(place.as_raw_fd(), promised());
    rustix::io::dup2(&fd, &mut place).expect("both are open");
    drop(fd);
    let told = answer_of_foreign(&mut foreign_worker("look and adopt"));
    still_works(place);
    told
}

type Check = Box<dyn FnOnce(OwnedFd)>;

/// Another file, and a look at whether it still is what it was.
fn stranger(what: &str) -> (OwnedFd, Check) {
    match what {
        "a file" => {
            let file = support::file_with(b"content");
            let check = |fd: OwnedFd| {
                let mut file = File::from(fd);
                assert_eq!(file.stream_position().expect("a file"), 0);
                let mut text = String::new();
                file.read_to_string(&mut text).expect("a file");
                assert_eq!(text, "content");
            };
            (file.into(), Box::new(check))
        }
        "a socket of the same type" => {
            let (one, other) = UnixStream::pair().expect("a pair");
            (one.into(), Box::new(move |fd| talks(fd, &other)))
        }
        "an end of another pair" => {
            let (one, other) = pair().expect("a pair");
            (one.into(), Box::new(move |fd| talks(fd, &other)))
        }
        "the other end of another pair" => {
            let (one, other) = pair().expect("a pair");
            (other.into(), Box::new(move |fd| talks(fd, &one)))
        }
        "a socket that listens" => {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("here");
            let listener = UnixListener::bind(&path).expect("a listener");
            let check = move |fd: OwnedFd| {
                let listener = UnixListener::from(fd);
                let _caller =
                    UnixStream::connect(directory.path().join("here")).expect("it listens");
                listener.accept().expect("somebody called");
            };
            (listener.into(), Box::new(check))
        }
        "packets" => {
            let (one, other) = SeqPacket::pair().expect("a pair");
            (one.into(), Box::new(move |fd| talks(fd, &other)))
        }
        "datagrams" => {
            let (one, other) = Datagram::pair().expect("a pair");
            (one.into(), Box::new(move |fd| talks(fd, &other)))
        }
        "a pipe" => {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            (writer, Box::new(move |fd| talks(fd, &reader)))
        }
        other => panic!("no such file: {other:?}"),
    }
}

/// What goes in here comes out there.
fn talks(here: OwnedFd, there: impl AsFd) {
    rustix::io::write(&here, b"still here").expect("room");
    let mut heard = [0; 16];
    let length = rustix::io::read(there, &mut heard).expect("the words");
    assert_eq!(&heard[..length], b"still here");
}
