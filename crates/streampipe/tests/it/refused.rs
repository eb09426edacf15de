//! Calls that an older kernel, an emulated one or a filter does not answer: everything that can do without them does.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use streampipe::os::linux::EndExt;
use streampipe::{Builder, Channel, Command, Engine, FdError, RawChannel, SeqPacket, Stream};

use crate::messages::{borrowed, files, number_in};
use crate::support;

/// Long enough for whatever must come.
const AMPLE: Duration = Duration::from_secs(60);

/// Runs the body once for each way to refuse a call.
fn without(path: &str, calls: &str, answers: &[&str], body: fn()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    if !support::has_program("strace", &format!("what happens without {calls}")) {
        return;
    }
    for answer in answers {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let log_path = log.path().to_str().expect("text");
        let inject = format!("inject={calls}:{answer}");
        let ran = support::rerun(path, &["strace", "-f", "-qq", "-o", log_path, "-e", &inject]);
        assert!(ran.status.success(), "{inject}: {}\n{}", ran.status, ran.output);
        let log = std::fs::read_to_string(log.path()).expect("the log");
        assert!(log.contains("(INJECTED)"), "nothing was injected");
    }
}

macro_rules! without {
    ($(fn $name:ident() { $call:literal, $answers:expr, $body:expr })*) => {$(
        #[test]
        fn $name() {
            without(concat!(module_path!(), "::", stringify!($name)), $call, &$answers, $body);
        }
    )*};
}

without! {
    fn without_a_count_of_what_is_queued_ends_are_told_and_read() {
        "ioctl", ["error=EPERM", "error=ENOTTY", "error=ENOSYS"], || {
            let error = Stream::pair().unwrap().0.bytes_queued().unwrap_err();
            assert!(error.raw_os_error().is_some(), "the control: it is refused");
            packets();
            pipes();
            descriptors();
            all_that_a_dead_child_wrote();
        }
    }
    fn without_poll_select_waits() {
        "ppoll", ["error=EPERM", "error=ENOSYS"], || {
            packets();
            pipes();
            descriptors();
            timeouts();
            all_that_a_dead_child_wrote();
        }
    }
    fn without_limits_nothing_is_limited() {
        "prlimit64", ["error=EPERM", "error=ENOSYS"], || {
            descriptors();
            pipes();
        }
    }
    fn without_bells_two_pipes_are_waited_for_in_slices() {
        "eventfd2", ["error=EPERM", "error=ENOSYS"], || {
            pipes();
            let mut child = Command::new("sleep").arg("1000").on_stdio().spawn().unwrap();
            let stream = child.stream().try_clone().unwrap();
            thread::scope(|scope| {
                let reader = scope.spawn(|| (&stream).read(&mut [0; 8]).unwrap());
                stream.shutdown(Shutdown::Read).unwrap();
                assert_eq!(reader.join().unwrap(), 0);
            });
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    fn without_an_option_descriptors_are_refused_on_receipt() {
        // The last is what an emulated kernel may say that does not know the option.
        "setsockopt", ["error=EPERM", "error=EINVAL", "error=ENOSYS", "retval=0"], || {
            let (ours, theirs) = Stream::pair().unwrap();
            theirs.refuse_fds().unwrap();
            ours.send_fds(b"data", &[std::io::stderr().as_fd()]).unwrap();
            let error = (&theirs).read(&mut [0; 8]).unwrap_err();
            let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
            assert_eq!(inside, Some(&FdError::Refused { arrived: 1, bytes: 4 }));
            assert_eq!((&theirs).read(&mut [0; 8]).unwrap(), 4);
            descriptors();
        }
    }
}

/// Packets are received to their end.
fn packets() {
    let (a, b) = SeqPacket::pair().unwrap();
    b.set_read_timeout(Some(AMPLE)).unwrap();
    for packet in [&b"one"[..], b"two"] {
        a.send(packet).unwrap();
    }
    drop(a);
    let mut buffer = [0; 8];
    assert_eq!(b.recv(&mut buffer).unwrap(), 3);
    assert_eq!(b.recv(&mut buffer).unwrap(), 3);
    assert_eq!(b.recv(&mut buffer).unwrap(), 0);
}

/// Two pipes carry bytes, and end.
fn pipes() {
    let mut cat = Command::new("cat").on_stdio().spawn().unwrap();
    let stream = cat.stream();
    stream.set_read_timeout(Some(AMPLE)).unwrap();
    stream.write_all(b"there and back").unwrap();
    let mut back = [0; 14];
    stream.read_exact(&mut back).unwrap();
    stream.write_all(b"and queued").unwrap();
    // It comes in one piece.
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.shutdown(Shutdown::Read).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "queued");
    cat.wait().unwrap();
    assert_eq!(Command::new("echo").arg("x").output().unwrap().stdout, b"x\n");
}

/// More descriptors than are counted one by one, over each carrier.
fn descriptors() {
    let stream = |engine| Builder::new().engine(engine).pair().unwrap();
    for engine in [Engine::Socket, Engine::Ring] {
        let (a, b) = stream(engine);
        a.send_fds(b"x", &borrowed(&files(6, 0))).unwrap();
        let (len, fds) = b.recv_fds(&mut [0; 8]).unwrap();
        assert_eq!((len, fds.len()), (1, 6));
        b.set_nonblocking(true).unwrap();
        assert_eq!((&b).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let (a, b) = stream(engine);
        let (a, b) = (RawChannel::from(a), RawChannel::from(b));
        a.send(b"six", &borrowed(&files(6, 0))).unwrap();
        let message = b.recv_timeout(AMPLE).unwrap();
        assert_eq!(message.fds.into_iter().map(number_in).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        let (a, b) = stream(engine);
        let (a, b) = (Channel::<u64, u64>::from(a), Channel::<u64, u64>::from(b));
        thread::scope(|scope| {
            scope.spawn(|| b.recv_request().unwrap().answer(5).unwrap());
            assert_eq!(a.call_timeout(4, AMPLE).unwrap(), 5);
        });
    }
}

fn timeouts() {
    for engine in [Engine::Socket, Engine::Ring] {
        let (a, b) = Builder::new().engine(engine).pair().unwrap();
        b.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!((&b).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(a);
        assert_eq!((&b).read(&mut [0; 8]).unwrap(), 0);
    }
}

fn all_that_a_dead_child_wrote() {
    let mut child = Command::new("sh").args(["-c", "printf some >&3"]).spawn().unwrap();
    child.wait().unwrap();
    let mut all = String::new();
    child.stream().read_to_string(&mut all).unwrap();
    assert_eq!(all, "some");
}
