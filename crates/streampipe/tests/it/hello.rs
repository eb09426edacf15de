//! Who said hello, as the kernel attests (promise P14): the sender, never whoever made the pair.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, sockopt};
use rustix::process::Signal;
use streampipe::os::linux::{EndExt, PeerExt};
use streampipe::{Child, Command, FdError, NoHello, Peer, SeqPacket, Stream, inherited, pair};

use crate::engines::{self, tests_of_engines};
use crate::support::{self, Descriptors, tests_alone};

const HELLO: &[u8] = b"hello 1\n";

/// Nobody, which is enough of another user.
const OTHER_USER: u32 = 65534;

fn attesting_pair() -> (Stream, Stream) {
    let (ours, theirs) = pair().expect("a pair");
    ours.attest().expect("a socket");
    (ours, theirs)
}

/// A shell that is expected to say hello on descriptor 3.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).expect_hello();
    command
}

fn started(command: &mut Command) -> Child {
    command.spawn().expect("it starts")
}

fn no_hello(end: &Stream) -> NoHello {
    let error = end.recv_hello().expect_err("no hello");
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    *inside.unwrap_or_else(|| panic!("{error:?}"))
}

/// A hang is a failure, not a wait.
const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Reads exactly so many bytes, which are there or on their way.
fn reads(end: &Stream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    end.set_read_timeout(LIMIT).expect("not zero");
    (&*end).read_exact(&mut bytes).expect("what came can be read");
    end.set_read_timeout(None).expect("none");
    assert_eq!(bytes, expected);
}

/// Sends the second part once the first one was received.
fn send_in_two_parts(from: &Stream, to: &Stream, first: &[u8], second: impl FnOnce()) {
    let mut from = from;
    from.write_all(first).expect("room");
    while to.bytes_queued().expect("a socket") > 0 {
        std::thread::yield_now();
    }
    second();
}

/// Whether the kernel adds who sent it to what this end receives now; takes one byte.
fn is_attesting(end: &Stream) -> bool {
    let mut byte = [0];
    let mut no_room = RecvAncillaryBuffer::default();
    let into = &mut [IoSliceMut::new(&mut byte)];
    let received = rustix::net::recvmsg(end, into, &mut no_room, RecvFlags::empty());
    received.expect("a byte").flags.contains(ReturnFlags::CTRUNC)
}

fn is_unnamed(end: impl AsFd) -> bool {
    let copy = end.as_fd().try_clone_to_owned().expect("a free descriptor");
    UnixStream::from(copy).local_addr().expect("a socket").is_unnamed()
}

fn is_this_process(peer: &Peer) -> bool {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    peer.pid() == Some(std::process::id()) && (peer.uid(), peer.gid()) == own
}

/// Linux before 6.5 has no pidfd of a sender; before 6.17, none of one that was reaped.
fn is_kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0_u32);
    (next(), next()) >= (major, minor)
}

fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        support::skip(what, "only root can start a program as another user");
    }
    is_root
}

tests_of_engines! {
    fn a_hello_is_heard_in_front_of_bytes_that_are_there_already() {
        for waits in [true, false] {
            let (ours, mut theirs) = engines::pair().expect("a pair");
            ours.attest().expect("a socket");
            theirs.send_hello().expect("room");
            theirs.write_all(b"x").expect("room");
            ours.set_nonblocking(!waits).expect("a flag");
            assert!(is_this_process(&ours.recv_hello().expect("it came first")));
            reads(&ours, b"x");
        }
    }

    fn a_hello_is_heard_in_front_of_descriptors_that_are_there_already() {
        let (ours, theirs) = engines::pair().expect("a pair");
        ours.attest().expect("a socket");
        theirs.send_hello().expect("room");
        theirs.send_fds(b"x", &[std::io::stderr().as_fd()]).expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("it came first")));
        let mut buffer = [0; 8];
        let (len, fds) = ours.recv_fds(&mut buffer).expect("a descriptor");
        assert_eq!((&buffer[..len], fds.len()), (&b"x"[..], 1));
    }
}

tests_alone! {
    fn only_what_is_sent_after_the_end_asked_is_attested() {
        let (ours, theirs) = pair().expect("a pair");
        theirs.send_hello().expect("room");
        ours.attest().expect("a socket");
        assert_eq!(no_hello(&ours), NoHello::NotAttested);
        reads(&ours, HELLO);
        theirs.send_hello().expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("attested")));
    }

    fn an_end_that_does_not_ask_accepts_no_hello() {
        let (ours, theirs) = pair().expect("a pair");
        theirs.send_hello().expect("room");
        let error = ours.recv_hello().expect_err("nobody vouches for it");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        reads(&ours, HELLO);
    }

    fn a_child_is_known_by_its_hello() {
        let mut child = started(&mut shell("echo 'hello 1' >&3; read x <&3"));
        let peer = child.stream().recv_hello().expect("a hello");
        assert!(peer.is(&child));
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!((peer.pid(), (peer.uid(), peer.gid())), (Some(child.id()), own));
        child.stop().expect("our child");
    }

    fn a_child_under_another_user_is_attested_as_that_user() {
        if !is_root("a hello of another user") {
            return;
        }
        let mut command = shell("echo 'hello 1' >&3");
        let mut child = started(command.uid(OTHER_USER).gid(OTHER_USER - 1));
        let peer = child.stream().recv_hello().expect("a hello");
        assert!(peer.is(&child));
        assert_eq!((peer.uid(), peer.gid()), (OTHER_USER, OTHER_USER - 1));
        child.wait().expect("our child");
    }

    /// The control: the option that sounds like it names whoever made the pair, ourselves.
    fn the_identity_is_the_senders_and_not_the_makers() {
        let mut child = started(&mut shell("echo 'hello 1' >&3; read x <&3"));
        let maker = sockopt::socket_peercred(child.stream()).expect("a socket");
        assert_eq!(maker.pid, rustix::process::getpid());
        let peer = child.stream().recv_hello().expect("a hello");
        assert_eq!(peer.pid(), Some(child.id()));
        assert_ne!(peer.pid(), Some(std::process::id()));
        child.stop().expect("our child");
    }

    fn a_grandchild_is_told_from_the_child_and_its_pidfd_is_its_own() {
        let script = "(echo 'hello 1' >&3; read x <&3); echo $? >&3";
        let mut child = started(&mut shell(script));
        let peer = child.stream().recv_hello().expect("a hello");
        assert!(!peer.is(&child));
        assert_ne!(peer.pid(), Some(std::process::id()));
        let Some(pidfd) = peer.pidfd() else {
            assert!(!is_kernel_at_least(6, 5));
            support::skip("the pidfd of a sender", "the kernel is older than 6.5");
            child.stop().expect("our child");
            return;
        };
        rustix::process::pidfd_send_signal(pidfd, Signal::TERM).expect("it waits to be killed");
        reads(child.stream(), b"143\n");
        assert!(child.wait().expect("our child").success());
        assert!(support::readable_within(pidfd, Duration::from_secs(60)), "it is dead");
    }

    fn a_sender_that_is_dead_and_reaped_is_still_known() {
        let mut child = started(&mut shell("echo 'hello 1' >&3"));
        assert!(child.wait().expect("our child").success());
        let peer = child.stream().recv_hello().expect("a hello");
        assert_eq!(peer.pid(), Some(child.id()));
        match peer.pidfd() {
            Some(pidfd) => assert!(support::readable_within(pidfd, Duration::ZERO), "it is dead"),
            None => {
                assert!(!is_kernel_at_least(6, 17));
                support::skip("the pidfd of a reaped sender", "the kernel is older than 6.17");
            }
        }
    }

    fn what_is_no_hello_can_still_be_read() {
        for words in [&b"hello 2\n"[..], b"HELLO 1\n", b"hello 1\r", b"\0\0\0\0\0\0\0\0", b"GET / HT"] {
            let (ours, theirs) = attesting_pair();
            (&theirs).write_all(words).expect("room");
            assert_eq!(no_hello(&ours), NoHello::SomethingElse);
            reads(&ours, words);
        }
    }

    fn what_is_shorter_than_a_hello_can_still_be_read() {
        for length in 1..8 {
            let (ours, theirs) = attesting_pair();
            (&theirs).write_all(&HELLO[..length]).expect("room");
            drop(theirs);
            assert_eq!(no_hello(&ours), NoHello::SomethingElse);
            reads(&ours, &HELLO[..length]);
            assert_eq!((&ours).read(&mut [0; 8]).expect("the end"), 0);
        }
    }

    fn a_peer_that_says_nothing_has_ended() {
        let (ours, theirs) = attesting_pair();
        drop(theirs);
        assert_eq!(no_hello(&ours), NoHello::Ended);
        let mut child = started(&mut shell("exit 0"));
        assert_eq!(no_hello(child.stream()), NoHello::Ended);
        child.wait().expect("our child");
    }

    /// It has not ended: what it said lies there.
    fn a_second_look_does_not_say_that_the_peer_has_ended() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(b"GET / HTTP/1.1").expect("room");
        assert_eq!(no_hello(&ours), NoHello::SomethingElse);
        assert_ne!(no_hello(&ours), NoHello::Ended);
        reads(&ours, b"GET / HTTP/1.1");

        let (ours, theirs) = pair().expect("a pair");
        theirs.send_hello().expect("room");
        assert_eq!(no_hello(&ours), NoHello::NotAttested);
        assert_ne!(no_hello(&ours), NoHello::Ended);
        reads(&ours, HELLO);
    }

    fn a_hello_in_two_parts_of_one_process_is_a_hello() {
        let (ours, theirs) = attesting_pair();
        let second = || (&theirs).write_all(&HELLO[4..]).expect("room");
        std::thread::scope(|scope| {
            scope.spawn(|| send_in_two_parts(&theirs, &ours, &HELLO[..4], second));
            assert!(is_this_process(&ours.recv_hello().expect("a hello")));
        });
        let mut child = started(&mut shell(r"printf hell >&3; printf 'o 1\n' >&3"));
        let peer = child.stream().recv_hello().expect("a hello");
        assert!(peer.is(&child));
        child.wait().expect("our child");
    }

    fn a_hello_of_two_processes_is_none() {
        for script in [
            r"(printf hell >&3); printf 'o 1\n' >&3",
            r"printf hell >&3; (printf 'o 1\n' >&3)",
            r"(printf hello >&3); (printf ' 1\n' >&3)",
        ] {
            let mut child = started(&mut shell(script));
            assert_eq!(no_hello(child.stream()), NoHello::SomethingElse, "{script}");
            reads(child.stream(), HELLO);
            child.wait().expect("our child");
        }
    }

    fn a_hello_is_waited_for_within_the_read_timeout() {
        let (ours, theirs) = attesting_pair();
        ours.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        let error = ours.recv_hello().expect_err("nobody said anything");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        ours.set_read_timeout(None).expect("none");
        theirs.send_hello().expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("a hello")));
    }

    fn half_a_hello_can_be_read_after_a_timeout() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(&HELLO[..4]).expect("room");
        ours.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        assert_eq!(ours.recv_hello().expect_err("half of it").kind(), ErrorKind::TimedOut);
        reads(&ours, &HELLO[..4]);
    }

    fn half_a_hello_and_a_timeout_are_no_end() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(&HELLO[..4]).expect("room");
        ours.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
        assert_eq!(ours.recv_hello().expect_err("half of it").kind(), ErrorKind::TimedOut);
        (&theirs).write_all(&HELLO[4..]).expect("room");
        ours.set_read_timeout(LIMIT).expect("not zero");
        // Whose the first half was may be unknown by now, but nobody has closed anything.
        if let Err(error) = ours.recv_hello() {
            let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
            assert_ne!(inside, Some(&NoHello::Ended));
            reads(&ours, HELLO);
        }
    }

    fn an_end_that_does_not_wait_says_so_and_hears_the_hello_later() {
        let (ours, theirs) = attesting_pair();
        ours.set_nonblocking(true).expect("a flag of ours");
        assert_eq!(ours.recv_hello().expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
        theirs.send_hello().expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("a hello")));
    }

    fn data_in_the_same_write_as_the_hello_stay_readable() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(b"hello 1\nand more").expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("a hello")));
        reads(&ours, b"and more");
        let mut child = started(&mut shell(r"printf 'hello 1\nand more' >&3"));
        assert!(child.stream().recv_hello().expect("a hello").pid() == Some(child.id()));
        reads(child.stream(), b"and more");
        child.wait().expect("our child");
    }

    fn descriptors_that_come_with_a_hello_are_kept() {
        for at in [0, 4] {
            let (ours, theirs) = attesting_pair();
            let second = || {
                theirs.send_fds(&HELLO[at..], &[std::io::stderr().as_fd(); 2]).expect("room");
            };
            let error = std::thread::scope(|scope| {
                scope.spawn(|| send_in_two_parts(&theirs, &ours, &HELLO[..at], second));
                ours.recv_hello().expect_err("a hello comes alone")
            });
            let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<FdError>());
            let is_waiting = matches!(inside, Some(FdError::Waiting { count: 2, .. }));
            assert!(is_waiting, "{error:?}");
            ours.set_read_timeout(LIMIT).expect("not zero");
            let (mut bytes, mut fds) = (Vec::new(), Vec::new());
            while bytes.len() < 8 {
                let mut buffer = [0; 8];
                let (length, more) = ours.recv_fds(&mut buffer).expect("they were kept");
                bytes.extend_from_slice(&buffer[..length]);
                fds.extend(more);
            }
            assert_eq!((&bytes[..], fds.len()), (HELLO, 2));
        }
    }

    fn attested_reads_leave_no_descriptor_before_and_after_the_hello() {
        let (ours, theirs) = attesting_pair();
        let before = Descriptors::now();
        for _ in 0..100 {
            (&theirs).write_all(b"x").expect("room");
            reads(&ours, b"x");
        }
        assert_eq!(before, Descriptors::now());
        theirs.send_hello().expect("room");
        drop(ours.recv_hello().expect("a hello"));
        for _ in 0..100 {
            (&theirs).write_all(b"x").expect("room");
            reads(&ours, b"x");
        }
        assert_eq!(before, Descriptors::now());
    }

    /// Neither credentials nor a pidfd: the kernel has nothing that it could not hand over.
    fn after_the_hello_a_read_is_a_plain_one_again() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(b"x").expect("room");
        assert!(is_attesting(&ours), "the control: before, there is something");
        theirs.send_hello().expect("room");
        (&theirs).write_all(b"y").expect("room");
        ours.recv_hello().expect("a hello");
        assert!(!is_attesting(&ours), "what was queued before it was switched off");
        (&theirs).write_all(b"z").expect("room");
        assert!(!is_attesting(&ours));
        assert!(!sockopt::socket_passcred(&ours).expect("a socket"));
    }

    fn a_refused_hello_leaves_the_end_asking() {
        let (ours, theirs) = attesting_pair();
        (&theirs).write_all(b"no hello").expect("room");
        assert_eq!(no_hello(&ours), NoHello::SomethingElse);
        reads(&ours, b"no hello");
        theirs.send_hello().expect("room");
        assert!(is_this_process(&ours.recv_hello().expect("the second word is one")));
    }

    fn a_child_says_hello_on_its_standard_output_if_that_is_the_end() {
        let mut child = started(shell("echo 'hello 1'").on_stdio_socket());
        assert!(child.stream().recv_hello().expect("a hello").pid() == Some(child.id()));
        child.wait().expect("our child");
    }

    fn an_untrusted_child_can_say_hello() {
        let mut child = started(shell("echo 'hello 1' >&3").untrusted());
        assert!(child.stream().recv_hello().expect("a hello").pid() == Some(child.id()));
        child.wait().expect("our child");
    }
}

/// Says hello with credentials of its choice: those of its arguments, or its own.
const CLAIM: &str = r"
import os, socket, struct, sys
end = socket.socket(fileno=3)
claim = [int(word) for word in sys.argv[1:]] or [os.getpid(), os.getuid(), os.getgid()]
credentials = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack('iII', *claim))
try:
    end.sendmsg([b'hello 1\n'], [credentials])
except PermissionError:
    end.send(b'refused\n')
";

/// Where other users may run it, too.
const PYTHON: &str = "/usr/bin/python3";

fn claimant(claim: &[u32]) -> Option<Command> {
    if !Path::new(PYTHON).exists() {
        support::skip("forged credentials", "python3 is not installed");
        return None;
    }
    let mut command = Command::new(PYTHON);
    command.args(["-S", "-c", CLAIM]).args(claim.iter().map(u32::to_string)).expect_hello();
    Some(command)
}

tests_alone! {
    fn a_child_without_rights_cannot_say_hello_as_another() {
        let what = "forged credentials";
        for claim in [&[std::process::id(), 0, 0][..], &[1, OTHER_USER, OTHER_USER], &[]] {
            let Some(mut command) = claimant(claim) else { return };
            if !is_root(what) {
                return;
            }
            let mut child = started(command.uid(OTHER_USER).gid(OTHER_USER).current_dir("/"));
            if claim.is_empty() {
                // The control: its own are accepted.
                let peer = child.stream().recv_hello().expect("a hello");
                assert!(peer.is(&child));
            } else {
                assert_eq!(no_hello(child.stream()), NoHello::SomethingElse);
                reads(child.stream(), b"refused\n");
            }
            assert!(child.wait().expect("our child").success());
        }
    }

    /// What the documentation warns of.
    fn a_root_child_can_say_hello_as_another() {
        let own = std::process::id();
        let Some(mut command) = claimant(&[own, 4711, 4712]) else { return };
        if !is_root("credentials that root forges") {
            return;
        }
        let mut child = started(&mut command);
        let peer = child.stream().recv_hello().expect("a hello");
        assert_eq!((peer.pid(), peer.uid(), peer.gid()), (Some(own), 4711, 4712));
        assert!(child.wait().expect("our child").success());
    }
}

/// Whether processes can be started in a pid namespace of their own.
fn has_pid_namespaces() -> bool {
    if !support::has_program("unshare", "pid namespaces") {
        return false;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--fork", "true"]).stderr(std::process::Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        support::skip("pid namespaces", "they cannot be made here");
    }
    works
}

/// Set in a child that is in a pid namespace of its own, to what it does there.
const INSIDE: &str = "STREAMPIPE_TEST_INSIDE";

#[test]
#[ignore = "what a child in a pid namespace does, which other tests start"]
fn the_part_inside_of_a_pid_namespace() {
    let Ok(part) = std::env::var(INSIDE) else { return };
    let mut end = inherited().expect("it was prepared");
    end.attest().expect("a socket");
    end.write_all(b"?").expect("somebody listens");
    let heard = end.recv_hello();
    if part == "hears two" {
        let error = heard.expect_err("a hello of two processes is none");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        reads(&end, HELLO);
    } else {
        let peer = heard.expect("the parent says hello");
        assert_eq!(peer.pid(), None, "a process outside has no number here");
        assert_eq!(peer.uid(), rustix::process::getuid().as_raw());
        let pidfd = peer.pidfd().expect("it can be meant all the same");
        assert!(!support::readable_within(pidfd, Duration::ZERO), "it is alive");
    }
    end.write_all(b"!").expect("somebody listens");
}

/// Starts this binary in a pid namespace, and speaks to it from outside.
fn spoken_to_from_outside(part: &str, speak: impl FnOnce(&Stream)) {
    if !has_pid_namespaces() || !is_kernel_at_least(6, 5) {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork"]).arg(std::env::current_exe().expect("the test binary"));
    command.args(["hello::the_part_inside_of_a_pid_namespace", "--exact", "--include-ignored"]);
    command.args(["--test-threads=1", "--nocapture"]).env(INSIDE, part);
    let mut child =
        started(command.stdout(streampipe::Stdio::piped()).stderr(streampipe::Stdio::piped()));
    reads(child.stream(), b"?");
    speak(child.stream());
    let mut rest = String::new();
    child.stream().read_to_string(&mut rest).expect("the end");
    let output = child.wait_with_output().expect("our child");
    assert_eq!(rest, "!", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

tests_alone! {
    fn a_sender_in_a_pid_namespace_has_the_number_that_it_has_here() {
        if !has_pid_namespaces() {
            return;
        }
        let script = "test $$ = 1 && echo 'hello 1' >&3; read x <&3";
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "sh", "-c", script]).expect_hello();
        let mut child = started(&mut command);
        let peer = child.stream().recv_hello().expect("a hello");
        assert!(!peer.is(&child));
        let number = peer.pid().expect("it is inside of our namespace, too");
        assert!(number > 1);
        let status = std::fs::read_to_string(format!("/proc/{number}/status")).expect("it lives");
        let numbers = status.lines().find(|line| line.starts_with("NSpid:")).expect("its numbers");
        assert_eq!(numbers.split_whitespace().skip(1).collect::<Vec<_>>(), [&number.to_string(), "1"]);
        child.wait().expect("our child");
    }

    fn a_sender_outside_of_our_pid_namespace_has_a_pidfd_alone() {
        spoken_to_from_outside("hears one", |end| end.send_hello().expect("it listens"));
    }

    /// All of them have the number 0 there.
    fn a_hello_of_two_processes_outside_of_our_pid_namespace_is_none() {
        spoken_to_from_outside("hears two", |mut end| {
            end.write_all(b"hell").expect("it listens");
            let mut other = Command::new("sh");
            other.args(["-c", r"printf 'o 1\n' >&9"]).inherit(end, 9);
            assert!(other.status().expect("it starts").success());
        });
    }

    fn no_end_of_a_stream_gets_a_name() {
        let (ours, theirs) = attesting_pair();
        let both_are_unnamed = || is_unnamed(&ours) && is_unnamed(&theirs);
        assert!(both_are_unnamed());
        (&ours).write_all(b"to them").expect("room");
        reads(&theirs, b"to them");
        theirs.send_hello().expect("room");
        assert!(both_are_unnamed());
        ours.recv_hello().expect("a hello");
        ours.send_fds(b"x", &[std::io::stderr().as_fd()]).expect("room");
        assert_eq!(theirs.recv_fds(&mut [0; 8]).expect("a descriptor").1.len(), 1);
        assert!(both_are_unnamed());
        theirs.attest().expect("a socket");
        (&theirs).write_all(b"y").expect("room");
        assert!(both_are_unnamed());
    }

    /// The control, and why there is no hello for packets.
    fn an_end_for_packets_that_asks_gets_a_name_as_it_sends() {
        let (ours, theirs) = SeqPacket::pair().expect("a pair");
        sockopt::set_socket_passcred(&ours, true).expect("a socket");
        assert!(is_unnamed(&ours));
        ours.send(b"x").expect("room");
        assert!(!is_unnamed(&ours));
        assert!(is_unnamed(&theirs));
    }
}
