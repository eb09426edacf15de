//! One system call of a channel fails, at every place in turn: as in [`crate::faults`], for whole messages.

use std::io;

use streampipe::{Message, RawChannel, RecvError, SendReason, SeqPacket, Stream};

use super::peer::{Files, are_same};
use crate::faults::{inject_at, must_fail};
use crate::support::{self, checked};

/// A payload's length and a number of descriptors: one frame, one with descriptors, several of each.
const MESSAGES: [(usize, usize); 5] = [(9, 0), (5, 2), (80_000, 0), (0, 1), (90_000, 260)];

/// What a send or a receive may say when a call of it failed, after which it is made again.
const SAYS_NO: [i32; 3] = [105, 12, 11]; // ENOBUFS, ENOMEM, EAGAIN

fn is_allowed(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| SAYS_NO.contains(&errno))
}

/// Sends until it is accepted; an error means that nothing arrives.
fn send(ours: &RawChannel, bytes: &[u8], files: &Files, fds: usize) {
    for _ in 0..2 {
        match ours.send(bytes, &files.some(0, fds)) {
            Ok(()) => return,
            Err(error) => match error.into_parts().1 {
                SendReason::Io(error) if is_allowed(&error) => {}
                other => panic!("{other:?}"),
            },
        }
    }
    panic!("one fault and two failures");
}

/// Receives until there is a message, or the end: nothing is lost with an error.
fn receive(theirs: &RawChannel) -> Option<Message> {
    for _ in 0..2 {
        match theirs.recv() {
            Ok(message) => return Some(message),
            Err(RecvError::Closed) => return None,
            Err(RecvError::NoRoom { .. }) => {}
            Err(RecvError::Io(error)) if is_allowed(&error) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("one fault and two failures");
}

fn scenario(ours: RawChannel, theirs: RawChannel) {
    let files = Files::new();
    let payload: Vec<u8> = (0..90_000_u32).map(|at| (at / 7) as u8).collect();
    for (len, fds) in MESSAGES {
        send(&ours, &payload[..len], &files, fds);
        let message = receive(&theirs).expect("a message");
        assert!(message.bytes == payload[..len], "{len} bytes: another payload");
        assert!(are_same(&message.fds, &files.some(0, fds)), "{fds} descriptors: others");
    }
    drop(ours);
    assert!(receive(&theirs).is_none(), "something was sent twice");
}

fn packets() {
    let (ours, theirs) = SeqPacket::pair().expect("a pair");
    scenario(ours.into(), theirs.into());
}

fn bytes() {
    let (ours, theirs) = Stream::pair().expect("a pair");
    scenario(ours.into(), theirs.into());
}

/// Runs the scenario once for each of its calls and each error.
fn sweep(path: &str, call: &str, errors: &[&str], body: fn()) {
    if support::is_alone(path) {
        return checked(body);
    }
    if !support::has_program("strace", &format!("faults of messages in {call}")) {
        return;
    }
    let places = places(path, call);
    assert!(!places.is_empty(), "the scenario makes no {call}");
    for error in errors {
        places.iter().for_each(|&place| inject_at(path, call, error, place));
    }
}

/// Which of such calls the scenario makes, from 1: all but those with which std looks at what it closes.
fn places(path: &str, call: &str) -> Vec<u32> {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let log_path = log.path().to_str().expect("plain letters");
    let trace = format!("trace={call}");
    let strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", log_path, "-e", &trace];
    let ran = support::rerun(path, &strace);
    assert!(ran.status.success(), "{}", ran.output);
    let log = std::fs::read_to_string(log.path()).expect("the log");
    let calls = log.lines().filter(|line| line.contains(&format!(" {call}(")));
    let places = (1..).zip(calls).filter(|(_, line)| !line.contains("F_GETFD"));
    places.map(|(place, _)| place).collect()
}

macro_rules! sweeps {
    ($(fn $name:ident() { $call:literal, $errors:expr, $body:expr })*) => {$(
        #[test]
        fn $name() {
            sweep(concat!(module_path!(), "::", stringify!($name)), $call, &$errors, $body);
        }
    )*};
}

sweeps! {
    fn a_failed_sendmsg_costs_no_message_of_packets() {
        "sendmsg", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], packets
    }
    fn a_failed_sendto_costs_no_message_of_packets() {
        "sendto", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], packets
    }
    fn a_failed_recvmsg_costs_no_message_of_packets() {
        "recvmsg", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], packets
    }
    fn a_full_table_costs_no_message_of_packets() {
        "fcntl", ["EMFILE", "ENFILE", "ENOMEM"], packets
    }
    fn a_failed_sendmsg_costs_no_message_of_a_stream() {
        "sendmsg", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], bytes
    }
    fn a_failed_sendto_costs_no_message_of_a_stream() {
        "sendto", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], bytes
    }
    fn a_failed_recvmsg_costs_no_message_of_a_stream() {
        "recvmsg", ["EINTR", "EAGAIN", "ENOBUFS", "ENOMEM"], bytes
    }
    fn a_full_table_costs_no_message_of_a_stream() {
        "fcntl", ["EMFILE", "ENFILE", "ENOMEM"], bytes
    }
}

#[test]
fn the_injection_into_messages_does_strike() {
    const PATH: &str = concat!(module_path!(), "::the_injection_into_messages_does_strike");
    must_fail(PATH, "sendmsg", "error=ENOBUFS:when=2+", bytes);
}
