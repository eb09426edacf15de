//! One system call fails, at every place in turn; and interrupted calls at every place.
//!
//! `strace` puts an error in place of the k-th call. The scenario must come out right whatever k
//! is: each message arrives once, with its own descriptor, or its send said that it did not.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;

use streampipe::{FdError, SeqPacket, Stream};

use crate::support::{self, checked};

/// Calls the scenario makes of each kind, at least.
const STEPS: u32 = 12;

/// Errors that a send may report, after which it is tried again.
const SAYS_NO: [i32; 4] = [105, 12, 109, 11]; // ENOBUFS, ENOMEM, ETOOMANYREFS, EAGAIN

/// Runs a scenario once for each place and error; it runs its body in the rerun.
fn inject(path: &str, call: &str, errors: &[&str], body: fn()) {
    if support::is_alone(path) {
        return checked(body);
    }
    if !support::has_program("strace", &format!("faults in {call}")) {
        return;
    }
    for error in errors {
        (1..=STEPS).for_each(|place| inject_at(path, call, error, place));
    }
}

/// Runs a scenario with one fault.
pub(crate) fn inject_at(path: &str, call: &str, error: &str, place: u32) {
    let ran = with_fault(path, call, &format!("error={error}:when={place}"));
    assert!(ran.status.success(), "{call} {place} failing with {error}: {}", ran.output);
}

/// Reruns a test; the other calls are not even looked at.
fn with_fault(path: &str, call: &str, what: &str) -> support::Ran {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
    let quiet = ["strace", "-f", "-qq", "-o", "/dev/null"];
    let this = ["--seccomp-bpf", "-e", &trace, "-e", &inject];
    support::rerun(path, &[&quiet[..], &this].concat())
}

/// Proof that the injection strikes: the k-th call is not repeated, so the body must fail.
pub(crate) fn must_fail(path: &str, call: &str, what: &str, body: fn()) {
    if support::is_alone(path) {
        return checked(body);
    }
    if !support::has_program("strace", "the control of the faults") {
        return;
    }
    assert!(!with_fault(path, call, what).status.success(), "nothing was injected");
}

/// Sends until it is accepted; an error means that nothing was sent.
fn insist<T>(mut send: impl FnMut() -> std::io::Result<T>) -> T {
    for _ in 0..3 {
        match send() {
            Ok(sent) => return sent,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                assert!(SAYS_NO.contains(&errno), "{error}");
            }
        }
    }
    panic!("one fault and three failures");
}

fn stream_scenario() {
    let files = [support::file_with(b"0"), support::file_with(b"1"), support::file_with(b"2")];
    let (ours, theirs) = Stream::pair().expect("a pair");
    for round in 0..STEPS as usize {
        let file = &files[round % 3];
        assert_eq!(insist(|| ours.send_fds(&[round as u8], &[file.as_fd()])), 1);
        assert_eq!(insist(|| (&ours).write(&[0xff])), 1);
        let mut buffer = [0; 1];
        let (n, fds) = insist(|| theirs.recv_fds(&mut buffer));
        assert_eq!((n, buffer[0] as usize, fds.len()), (1, round, 1));
        assert_eq!(support::identity(&fds[0]), support::identity(file), "another message's");
        assert_eq!(insist(|| (&theirs).read(&mut buffer)), 1);
        assert_eq!(buffer[0], 0xff);
    }
    drop(ours);
    assert_eq!(insist(|| theirs.recv_fds(&mut [0])).0, 0, "something was sent twice");
}

fn packet_scenario() {
    let file = support::file_with(b"0");
    let (ours, theirs) = SeqPacket::pair().expect("a pair");
    for round in 0..STEPS as u8 {
        assert_eq!(insist(|| ours.send_fds(&[round; 9], &[file.as_fd()])), 9);
        assert_eq!(insist(|| ours.send(&[0xff])), 1);
        let mut buffer = [0; 16];
        let (n, fds) = insist(|| theirs.recv_fds(&mut buffer));
        assert_eq!((n, buffer[0], fds.len()), (9, round, 1));
        assert_eq!(insist(|| theirs.recv(&mut buffer)), 1);
    }
    drop(ours);
    assert_eq!(insist(|| theirs.recv(&mut [0])), 0, "something was sent twice");
}

/// A large write, through many waits, to a reader that is slower.
fn waiting_scenario() {
    let (ours, theirs) = Stream::pair().expect("a pair");
    ours.set_send_buffer_size(1).expect("the least");
    ours.set_write_timeout(Some(std::time::Duration::from_secs(100))).expect("a timeout");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut byte = [0; 512];
            let mut total = 0;
            while total < 100_000 {
                total += insist(|| (&theirs).read(&mut byte));
            }
            assert_eq!(total, 100_000);
        });
        (&ours).write_all(&vec![1; 100_000]).expect("the reader reads it all");
    });
}

macro_rules! faults {
    ($(fn $name:ident() { $call:literal, $errors:expr, $body:expr })*) => {$(
        #[test]
        fn $name() {
            inject(concat!(module_path!(), "::", stringify!($name)), $call, &$errors, $body);
        }
    )*};
}

faults! {
    fn a_failed_sendmsg_sends_nothing_on_a_stream() {
        "sendmsg", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "ETOOMANYREFS"], stream_scenario
    }
    fn a_failed_recvmsg_consumes_nothing_on_a_stream() {
        "recvmsg", ["EINTR", "EAGAIN", "ENOMEM"], stream_scenario
    }
    fn a_failed_send_sends_nothing_on_a_stream() {
        "sendto", ["EINTR", "EAGAIN", "ENOBUFS"], stream_scenario
    }
    fn a_failed_sendmsg_sends_no_packet() {
        "sendmsg", ["EINTR", "EAGAIN", "ENOBUFS"], packet_scenario
    }
    fn a_failed_recvmsg_consumes_no_packet() {
        "recvmsg", ["EINTR", "EAGAIN", "ENOMEM"], packet_scenario
    }
    fn an_interrupted_wait_goes_on() {
        "ppoll", ["EINTR"], waiting_scenario
    }
    fn an_interrupted_send_goes_on() {
        "sendto", ["EINTR"], waiting_scenario
    }
}

#[test]
fn the_injection_does_strike() {
    const PATH: &str = concat!(module_path!(), "::the_injection_does_strike");
    must_fail(PATH, "sendmsg", "error=ENOBUFS:when=3+", stream_scenario);
}

/// On a kernel before 6.16 the peer's descriptors cannot be refused at the sender.
#[test]
fn an_older_kernel_closes_refused_descriptors_on_receipt_and_says_so() {
    const PATH: &str = concat!(
        module_path!(),
        "::an_older_kernel_closes_refused_descriptors_on_receipt_and_says_so"
    );
    if !support::is_alone(PATH) {
        if !support::has_program("strace", "refusing descriptors on an older kernel") {
            return;
        }
        let inject = "inject=setsockopt:error=ENOPROTOOPT";
        let ran = support::rerun(PATH, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]);
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    checked(|| {
        let (ours, theirs) = Stream::pair().expect("a pair");
        theirs.refuse_fds().expect("the fallback");
        ours.send_fds(b"data", &[std::io::stderr().as_fd()]).expect("the kernel lets it through");
        let error = (&theirs).read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
        assert_eq!(inside, Some(&FdError::Refused { arrived: 1, bytes: 4 }));
        let mut buffer = [0; 8];
        assert_eq!((&theirs).read(&mut buffer).expect("the data"), 4);
        assert_eq!(&buffer[..4], b"data");
    });
}
