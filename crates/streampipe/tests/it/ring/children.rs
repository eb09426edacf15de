use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

use streampipe::os::linux::EndExt;
use streampipe::{Builder, Command, Engine, PeerGone};

use crate::spawn::helpers::eventually;
use crate::support::{skip, tests_alone};

/// Says which part a child plays.
const PART: &str = "STREAMPIPE_TEST_RING_PART";

#[test]
#[ignore = "what a child does, which other tests start"]
fn the_part_of_a_child() {
    let Ok(part) = std::env::var(PART) else { return };
    let mut parent = streampipe::inherited().expect("an end was prepared");
    assert_eq!(parent.engine(), Engine::Ring);
    match part.as_str() {
        "echo" => {
            let mut all = Vec::new();
            parent.read_to_end(&mut all).expect("the parent ends its direction");
            parent.write_all(&all).expect("the parent reads");
        }
        "file" => {
            let mut buffer = [0; 16];
            let (len, mut fds) = parent.recv_fds(&mut buffer).expect("a file comes");
            let mut text = String::new();
            std::fs::File::from(fds.remove(0)).read_to_string(&mut text).expect("a file");
            assert_eq!(&buffer[..len], b"take this");
            parent.write_all(text.as_bytes()).expect("the parent reads");
        }
        "hello" => parent.send_hello().expect("the parent listens"),
        "hello and more" => {
            parent.send_hello().expect("the parent listens");
            parent.write_all(b"x").expect("room");
        }
        "exit with unread bytes" => {
            parent.write_all(b"last words").expect("the parent reads");
            std::process::exit(0);
        }
        "wait for ever" => {
            let _ = parent.read(&mut [0; 8]);
        }
        other => panic!("no part is called {other}"),
    }
}

fn worker(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    let name = "ring::children::the_part_of_a_child";
    command.args([name, "--exact", "--include-ignored", "--test-threads=1", "--nocapture"]);
    command.env(PART, part).engine(Engine::Ring).stdout(streampipe::Stdio::null());
    command
}

tests_alone! {
    fn a_program_finds_its_ring_by_inheriting_its_end() {
        let mut child = worker("echo").capacity(8192).spawn().expect("it starts");
        let stream = child.stream();
        assert_eq!(stream.engine(), Engine::Ring);
        let said: Vec<u8> = (0..8000_u32).map(|at| at as u8).collect();
        stream.write_all(&said).expect("the child reads");
        stream.shutdown(Shutdown::Write).expect("once");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("the child answers");
        assert_eq!(heard, said);
        assert!(child.wait().expect("it ends").success());
    }

    fn a_program_gets_descriptors_with_the_bytes() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"what is in the file").expect("a file can be written");
        let opened = std::fs::File::open(file.path()).expect("a file");
        let mut child = worker("file").spawn().expect("it starts");
        child.stream().send_fds(b"take this", &[opened.as_fd()]).expect("the child takes it");
        let mut heard = String::new();
        child.stream().read_to_string(&mut heard).expect("the child answers");
        assert_eq!(heard, "what is in the file");
        assert!(child.wait().expect("it ends").success());
    }

    fn a_hello_over_a_ring_is_attested() {
        let mut child = worker("hello").expect_hello().spawn().expect("it starts");
        let peer = child.stream().recv_hello().expect("the child says hello");
        assert!(peer.is(&child));
        assert!(child.wait().expect("it ends").success());
    }

    fn a_hello_of_a_child_is_heard_in_front_of_bytes_that_are_there_already() {
        let mut child = worker("hello and more").expect_hello().spawn().expect("it starts");
        let stream = child.stream();
        assert!(eventually(|| stream.bytes_queued().expect("an end") == 1), "it says more");
        let peer = child.stream().recv_hello().expect("it came first");
        assert!(peer.is(&child));
        let mut heard = String::new();
        child.stream().read_to_string(&mut heard).expect("the end");
        assert_eq!(heard, "x");
        assert!(child.wait().expect("it ends").success());
    }

    fn a_blocked_read_of_a_ring_ends_when_the_child_is_killed() {
        let mut child = worker("wait for ever").spawn().expect("it starts");
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("small"));
        let stream = child.take_stream().expect("it was not taken");
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (&stream).read(&mut [0; 8]));
            rustix::process::kill_process(pid.expect("an id"), rustix::process::Signal::KILL)
                .expect("it is ours");
            let read = reader.join().expect("no panic");
            let is_told = match &read {
                Ok(len) => *len == 0,
                Err(error) => error.get_ref().is_some_and(|inside| inside.is::<PeerGone>()),
            };
            assert!(is_told, "{read:?}");
        });
        child.wait().expect("it is dead");
    }

    fn a_ring_is_for_programs_that_inherit_it() {
        for command in [worker("echo").on_stdio(), worker("echo").on_stdio_socket()] {
            let error = command.spawn().expect_err("refused");
            assert_eq!(std::io::Error::from(error).kind(), ErrorKind::Unsupported);
        }
        let (ours, theirs) = Builder::new().engine(Engine::Ring).pair().expect("a pair");
        let given = Command::new("true").inherit(theirs, 7).spawn();
        assert_eq!(std::io::Error::from(given.expect_err("refused")).kind(), ErrorKind::InvalidInput);
        drop(ours);
    }

    fn nothing_is_left_of_a_ring_but_its_lifeline() {
        let pair = Builder::new().engine(Engine::Ring).pair().expect("a pair");
        let open = std::fs::read_dir("/proc/self/fd").expect("/proc").filter_map(|entry| {
            std::fs::read_link(entry.ok()?.path()).ok()
        }).filter(|link| link.to_string_lossy().contains("memfd")).count();
        assert_eq!(open, 0, "the memory has no descriptor");
        let mapped = || std::fs::read_to_string("/proc/self/maps").expect("/proc")
            .lines().filter(|line| line.contains("streampipe-ring")).count();
        assert_eq!(mapped(), 1, "both ends share one mapping");
        drop(pair);
        assert_eq!(mapped(), 0);
        match std::fs::read_dir("/dev/shm") {
            Ok(named) => assert_eq!(named.filter_map(Result::ok).filter(|entry| {
                entry.file_name().to_string_lossy().contains("streampipe")
            }).count(), 0),
            Err(error) => skip("what is in /dev/shm", &error.to_string()),
        }
    }
}
