//! What each side of a fork holds, and what the parent learns of the child.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use streampipe::os::linux::ChildExt;
use streampipe::{Child, Fork, ForkRefused, RawChannel, StatusUnavailable, Stream, fork};

use crate::support::{self, Descriptors, FreeDescriptors};

pub(crate) const TESTS: &[crate::Test] = &[
    ("each_side_holds_exactly_one_end", each_side_holds_exactly_one_end),
    ("both_directions_work_and_the_status_comes_back", both_directions_work),
    ("a_process_with_threads_is_refused_until_they_are_joined", threads_are_refused),
    ("what_the_child_drops_disturbs_nothing_in_the_parent", drops_do_not_disturb),
    ("a_fork_has_no_duty_to_answer_what_its_parent_received", a_fork_has_no_duty_to_answer),
    ("a_killed_child_is_told_apart_from_one_that_exited", killed_is_told_apart),
    ("waiting_is_bounded_where_it_says_so", waiting_is_bounded),
    ("a_child_dropped_after_its_end_leaves_no_zombie", dropped_after_end),
    ("a_child_dropped_while_it_runs_is_reaped_later", dropped_while_running),
    ("fork_works_while_dropped_children_run", fork_beside_orphans),
    ("without_free_descriptors_there_is_an_error_and_no_child", no_descriptors),
    ("an_ignored_sigchld_costs_the_status_not_the_process", ignored_sigchld),
    ("a_failed_pidfd_leaves_no_child", failed_pidfd),
    ("a_child_whose_parent_is_gone_reads_the_end", parent_gone),
];

/// Forks; the child runs the body and exits with its code.
pub(crate) fn forked(body: impl FnOnce(Stream) -> i32) -> (Stream, Child) {
    match fork().expect("a fork") {
        Fork::Parent { stream, child } => (stream, child),
        Fork::Child { stream } => std::process::exit(body(stream)),
    }
}

fn each_side_holds_exactly_one_end() {
    let before = Descriptors::now().count();
    let (mut stream, mut child) = forked(move |mut stream| {
        let more = Descriptors::now().count() - before;
        stream.write_all(&[u8::try_from(more).expect("few")]).expect("the parent listens");
        0
    });
    let mut in_child = [0];
    stream.read_exact(&mut in_child).expect("a byte");
    assert_eq!(in_child, [1], "descriptors the child has more than before");
    // The end and the pidfd.
    assert_eq!(Descriptors::now().count(), before + 2);
    // The child was the only holder of the other end.
    assert_eq!(stream.read(&mut in_child).expect("the end"), 0);
    assert!(child.wait().expect("a status").success());
}

fn both_directions_work() {
    let (mut stream, mut child) = forked(|mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the question");
        stream.write_all(text.to_uppercase().as_bytes()).expect("the answer");
        7
    });
    stream.write_all(b"ping").expect("the child listens");
    stream.shutdown(Shutdown::Write).expect("a pair");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer");
    assert_eq!(text, "PING");
    assert_eq!(child.wait().expect("a status").code(), Some(7));
    assert_eq!(child.wait().expect("the same again").code(), Some(7));
    assert_eq!(child.try_wait().expect("the same again").and_then(|it| it.code()), Some(7));
    child.kill().expect("killing one that has ended is no error");
}

fn threads_are_refused() {
    for _ in 0..200 {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let error = fork().expect_err("there is a thread");
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<ForkRefused>());
        assert_eq!(inside.expect("our own kind").other_threads, Some(1));
        assert!(error.to_string().starts_with("1 other thread runs"), "{error}");
        assert!(!support::has_children());
        drop(stop);
        assert!(thread.join().is_ok());
        // A thread that was just joined may still be leaving the kernel.
        let (_stream, mut child) = forked(|_| 0);
        assert!(child.wait().expect("a status").success());
    }
}

/// A request that was received before is a copy in the child: dropped there, nobody is told anything.
fn a_fork_has_no_duty_to_answer() {
    let (client, server) = RawChannel::pair().expect("a pair");
    let (mut caller, _caller_end) = match fork().expect("a fork") {
        Fork::Parent { child, stream } => (child, stream),
        Fork::Child { .. } => {
            drop(server);
            let answer = client.call(b"who?", &[]);
            std::process::exit(i32::from(!answer.is_ok_and(|it| it.bytes == b"the parent")));
        }
    };
    drop(client);
    let request = server.recv_request().expect("a request");
    let (mut child, _end) = match fork().expect("a fork") {
        Fork::Parent { child, stream } => (child, stream),
        Fork::Child { .. } => {
            drop(request);
            std::process::exit(0);
        }
    };
    assert!(child.wait().expect("a status").success());
    request.answer(b"the parent", &[]).expect("room");
    assert_eq!(caller.wait().expect("a status").code(), Some(0), "the answer is the only one");
}

fn drops_do_not_disturb() {
    let (ours, mut theirs) = streampipe::pair().expect("a pair");
    let (mut reader, mut writer) = ours.into_split();
    let mut byte = [0];
    for round in 0..200_u8 {
        let (_stream, mut child) = match fork().expect("a fork") {
            Fork::Parent { stream, child } => (stream, child),
            Fork::Child { stream } => {
                // All of them, by value, as at the end of a scope.
                drop((stream, reader, writer, theirs));
                std::process::exit(0);
            }
        };
        assert!(child.wait().expect("a status").success());
        writer.write_all(&[round]).expect("the direction is open");
        theirs.read_exact(&mut byte).expect("the byte arrives");
        theirs.write_all(&byte).expect("the other direction is open");
        reader.read_exact(&mut byte).expect("the byte comes back");
        assert_eq!(byte, [round]);
    }
    drop(writer);
    assert_eq!(theirs.read(&mut byte).expect("the end"), 0, "here, the drop does end it");
}

fn killed_is_told_apart() {
    let (stream, mut child) = forked(|mut stream| {
        let _ = stream.read(&mut [0]);
        0
    });
    assert_eq!(child.try_wait().expect("it runs"), None);
    child.kill().expect("it runs");
    let status = child.wait().expect("a status");
    assert_eq!((status.code(), status.signal()), (None, Some(9)));
    drop(stream);
}

fn waiting_is_bounded() {
    let (stream, mut child) = forked(|mut stream| {
        let _ = stream.read(&mut [0]);
        5
    });
    assert_eq!(child.wait_timeout(Duration::from_millis(20)).expect("it runs"), None);
    drop(stream);
    let status = child.wait_timeout(Duration::from_secs(60)).expect("a status");
    assert_eq!(status.and_then(|it| it.code()), Some(5));
}

fn dropped_after_end() {
    for _ in 0..20 {
        let (_stream, child) = forked(|_| 0);
        let pidfd = child.pidfd();
        assert!(support::readable_within(pidfd, Duration::from_secs(60)), "it ends");
        assert!(support::has_children(), "not reaped yet: the control");
        drop(child);
        assert!(!support::has_children(), "a zombie");
    }
}

fn dropped_while_running() {
    let (stream, child) = forked(|mut stream| {
        let _ = stream.read(&mut [0]);
        0
    });
    let pidfd = child.pidfd().try_clone_to_owned().expect("a duplicate");
    drop(child);
    assert!(!support::readable_within(pidfd.as_fd(), Duration::from_millis(20)), "it runs on");
    drop(stream);
    assert!(support::readable_within(pidfd.as_fd(), Duration::from_secs(60)), "it ends");
    assert!(support::is_childless_within(Duration::from_secs(60)), "nobody reaped it");
}

/// The thread that reaps is one that `fork` would refuse beside, so it has to rest.
fn fork_beside_orphans() {
    let mut streams = Vec::new();
    for _ in 0..5 {
        let (stream, child) = forked(|mut stream| {
            let _ = stream.read(&mut [0]);
            0
        });
        drop(child);
        streams.push(stream);
    }
    let (_stream, mut other) = forked(|_| 7);
    assert_eq!(other.wait().expect("a status").code(), Some(7));
    drop(streams);
    // All inherited the streams of their elders, so they end from the youngest on.
    assert!(support::is_childless_within(Duration::from_secs(60)), "nobody reaped them");
}

fn no_descriptors() {
    for free in 0..2 {
        let limit = FreeDescriptors::exactly(free);
        let error = fork().expect_err("a pair needs two");
        assert_eq!(error.raw_os_error(), Some(24), "{free} free: {error}");
        assert!(!support::has_children());
        drop(limit);
    }
    let (_stream, mut child) = forked(|_| 0);
    assert!(child.wait().expect("a status").success());
}

fn ignored_sigchld() {
    const PATH: &str = "forks::an_ignored_sigchld_costs_the_status_not_the_process";
    if std::env::var_os("SIGCHLD_IS_IGNORED").is_none() {
        let ran = support::rerun(PATH, &["env", "--ignore-signal=CHLD", "SIGCHLD_IS_IGNORED=1"]);
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    let (stream, mut child) = forked(|_| 0);
    let error = child.wait().expect_err("the kernel threw the status away");
    let inside = error.get_ref().expect("a reason");
    assert!(inside.is::<StatusUnavailable>(), "{error}");
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    assert!(child.try_wait().is_err(), "and says so again");
    drop(stream);
}

fn failed_pidfd() {
    const PATH: &str = "forks::a_failed_pidfd_leaves_no_child";
    if std::env::var_os("PIDFD_FAILS").is_none() {
        if !support::has_program("strace", "fork with a failing pidfd_open") {
            return;
        }
        let inject = "inject=pidfd_open:error=EMFILE:when=1";
        let prefix = ["strace", "-qq", "-o", "/dev/null", "-e", inject, "env", "PIDFD_FAILS=1"];
        let ran = support::rerun(PATH, &prefix);
        assert!(ran.status.success(), "{}", ran.output);
        return;
    }
    let error = fork().expect_err("injected");
    assert_eq!(error.raw_os_error(), Some(24));
    assert!(!support::has_children());
}

fn parent_gone() {
    let (mut ours, theirs) = streampipe::pair().expect("a pair");
    let (_stream, mut middle) = forked(move |_| {
        let (_stream, _grandchild) = forked(move |mut stream| {
            let end = stream.read(&mut [0]).expect("the end");
            (&theirs).write_all(&[u8::from(end == 0)]).expect("the test listens");
            0
        });
        0
    });
    assert!(middle.wait().expect("a status").success());
    let mut saw_the_end = [0];
    ours.read_exact(&mut saw_the_end).expect("the grandchild tells");
    assert_eq!(saw_the_end, [1]);
}
