//! What reviews found in starts, ends and waits: each defect as it showed, and gone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{
    DumpableBehavior, Pid, Signal, dumpable_behavior, getuid, kill_process, kill_process_group,
};
use streampipe::os::linux::EndExt;
use streampipe::{
    Child, Command, NotInherited, Resource, SpawnStep, Stdio, Stream, copy_both, inherited, pair,
};

use super::helpers::{
    HANG, LeftBehind, PROMPTLY, Sleeper, Traces, alone_behind, await_end, eventually, gone, line,
    may_be_dumpable_again, path_of, pipe, settles_to, sh, state_of,
};
use crate::support::{self, Descriptors, FreeDescriptors, tests_alone};

/// A user that runs nothing else.
const USER: u32 = 54_322;

/// How often a race is run: a library that lost it did so in most runs of this length.
const ROUNDS: usize = 100;

fn is_root(what: &str) -> bool {
    let is_root = getuid().is_root();
    if !is_root {
        support::skip(what, "this is not root, who could be somebody else");
    }
    is_root
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a small number")).expect("a process id")
}

tests_alone! {
    fn concurrent_starts_of_another_user_leave_the_parent_as_dumpable_as_it_was() {
        if !is_root("starts as another user, at the same time") || !may_be_dumpable_again() {
            return;
        }
        let before = dumpable_behavior().unwrap();
        assert_eq!(before, DumpableBehavior::Dumpable, "the control");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut command = Command::new("true");
                        assert!(command.uid(USER).gid(USER).status().unwrap().success());
                    }
                });
            }
        });
        assert_eq!(dumpable_behavior().unwrap(), before);
    }

    fn a_user_that_runs_something_gets_a_program_that_may_start_nothing() {
        if !is_root("a limit of processes for another user") {
            return;
        }
        let mut other = sh("echo runs >&3; read x <&3").uid(USER).gid(USER).spawn().unwrap();
        assert_eq!(line(other.stream()), "runs");
        let limited = |script: &str| {
            let mut command = sh(script);
            command.uid(USER).gid(USER).rlimit(Resource::Processes, Some(0), Some(0));
            command.stderr(Stdio::null()).status()
        };
        assert!(limited("exit 0").expect("it starts").success());
        assert!(!limited("(exit 0) & wait $!").expect("it starts").success(), "the limit holds");
        drop(other.take_stream());
        other.wait().unwrap();
    }
}

/// Runs behind `strace`, which kills each child where it makes the first call that its parent does
/// not make.
#[test]
fn a_child_that_is_killed_before_its_program_is_an_error() {
    const PATH: &str = path_of!(a_child_that_is_killed_before_its_program_is_an_error);
    if !support::is_alone(PATH) && !support::has_program("strace", "a kill before exec") {
        return;
    }
    let kill = "inject=close_range:signal=KILL";
    alone_behind(PATH, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", kill], || {
        assert!(std::process::Command::new("true").status().unwrap().success(), "the control");
        let before = Traces::before();
        for round in 0..10 {
            let mut command = Command::new("true");
            if round % 2 == 1 && getuid().is_root() {
                command.uid(USER).gid(USER);
            }
            let error = command.spawn().expect_err("it was killed");
            assert_eq!(error.step(), SpawnStep::Exec, "{error}");
            assert_eq!(before.left(), None);
        }
    });
}

/// A child whose status nobody keeps gives its number up when it ends, and another child may have it
/// then.
///
/// So in a space of process ids of its own, where the next number can be chosen; and `strace` sees to
/// it that there is time to choose it between the end of a failed child and the wait for it.
#[test]
fn a_failed_start_does_not_wait_for_another_child_whose_status_nobody_keeps() {
    const PATH: &str =
        path_of!(a_failed_start_does_not_wait_for_another_child_whose_status_nobody_keeps);
    const SLOW: &str = "inject=waitid:delay_enter=3000";
    if support::is_alone(PATH) {
        return support::checked(failed_starts_beside_children);
    }
    let what = "a number that another child gets";
    let programs = ["unshare", "strace"];
    if !is_root(what) || !programs.iter().all(|program| support::has_program(program, what)) {
        return;
    }
    let space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", SLOW];
    let ignores = ["env", "--ignore-signal=CHLD"];
    let ran = support::rerun(PATH, &[&space[..], &strace, &ignores].concat());
    if ran.output.contains("unshare: ") {
        return support::skip(what, "there is no space of process ids of one's own to be had");
    }
    assert!(ran.status.success(), "{}\n{}", ran.status, ran.output);
    support::pass_on_skips(&ran.output);
}

/// The number that was given last, to be written as well (`proc_sys_kernel(5)`).
const LAST_ID: &str = "/proc/sys/kernel/ns_last_pid";

fn failed_starts_beside_children() {
    let Ok(last) = std::fs::read_to_string(LAST_ID) else {
        return support::skip("a number that another child gets", "this kernel gives no choice");
    };
    assert!(last.trim().parse::<u32>().is_ok_and(|last| last < 10_000), "a space of its own");
    let before = Descriptors::now();
    let at = tempfile::tempdir().unwrap();
    let script = at.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let (over, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let goes_on = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let error = Command::new(&script).spawn().unwrap_err();
                assert_eq!((error.step(), error.kind()), (SpawnStep::Exec, ErrorKind::NotFound));
                failed.fetch_add(1, Ordering::SeqCst);
            }
        });
        let goes_on = (0..ROUNDS / 4).all(|_| {
            // That of the failed child, if it is the last one.
            let last: u32 = std::fs::read_to_string(LAST_ID).unwrap().trim().parse().unwrap();
            std::fs::write(LAST_ID, (last - 1).to_string()).unwrap();
            let other = Command::new("sleep").arg("60").spawn().unwrap();
            let before = failed.load(Ordering::SeqCst);
            let goes_on = eventually(|| failed.load(Ordering::SeqCst) >= before + 2);
            other.kill().unwrap();
            goes_on
        });
        over.store(true, Ordering::SeqCst);
        goes_on
    });
    assert!(goes_on, "a failed start waits for another child");
    settles_to(&before);
}

/// Says that this process is the one with an end that is close-on-exec.
const HOLDER: &str = "STREAMPIPE_TEST_HOLDER";

/// Where that process has its copy of the end.
const NUMBER: i32 = 200;

tests_alone! {
    fn an_end_that_is_close_on_exec_did_not_come_from_the_parent() {
        const PATH: &str = path_of!(an_end_that_is_close_on_exec_did_not_come_from_the_parent);
        if std::env::var_os(HOLDER).is_some() {
            return holds_an_end_of_its_own();
        }
        // As its standard input, from which it makes the copy that the variable names.
        let (_ours, theirs) = pair().unwrap();
        let variable = format!("1:{NUMBER}:stream:{}", theirs.cookie().unwrap());
        let name = PATH.split_once("::").expect("a path has the crate in front").1;
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--test-threads=1", "--nocapture"])
            .env("STREAMPIPE_END", variable)
            .env(HOLDER, "")
            .stdin(OwnedFd::from(theirs))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

fn holds_an_end_of_its_own() {
    let copy = rustix::io::fcntl_dupfd_cloexec(io::stdin(), NUMBER).unwrap();
    assert_eq!(copy.as_raw_fd(), NUMBER);
    assert_eq!(inherited().unwrap_err(), NotInherited::AnotherFile { number: NUMBER });
    // The control: without the flag it is taken for the one that the parent left open.
    rustix::io::fcntl_setfd(&copy, FdFlags::empty()).unwrap();
    let number = copy.into_raw_fd();
    assert_eq!(inherited().unwrap().as_raw_fd(), number);
}

/// A child on pipes that says a line when it is told to.
fn says_late() -> Child {
    sh("read go; echo late").on_stdio().spawn().expect("it starts")
}

/// What `cat` makes of this end, which has nothing to read until `cat` waits for it.
fn copied_by_cat(lent: &Stream) -> (String, Option<i32>) {
    let mut cat = Command::new("cat");
    let cat = cat.stdin(lent).stdout(Stdio::piped()).spawn().expect("it starts");
    // It waits for more, or has given up.
    assert!(eventually(|| matches!(state_of(cat.id()), Some('S' | 'Z'))));
    (&*lent).write_all(b"go\n").expect("it listens");
    let output = cat.wait_with_output().expect("a status");
    (String::from_utf8(output.stdout).expect("text"), output.status.code())
}

tests_alone! {
    fn a_pipe_that_is_lent_makes_no_other_program_see_that_it_would_wait() {
        let mut child = says_late();
        assert_eq!(copied_by_cat(child.stream()), ("late\n".to_owned(), Some(0)));
        assert!(child.wait().unwrap().success());
        // The same after reads that did not wait, or not for long.
        let mut child = says_late();
        child.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(child.stream().read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        child.stream().set_nonblocking(true).unwrap();
        assert_eq!(child.stream().read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(copied_by_cat(child.stream()), ("late\n".to_owned(), Some(0)));
        assert!(child.wait().unwrap().success());
    }

    fn the_end_of_a_pipe_reaches_the_child_while_a_relay_copies_to_it() {
        let mut child = Command::new("cat").on_stdio().spawn().unwrap();
        let stream = child.take_stream().unwrap();
        let clone = stream.try_clone().unwrap();
        let (right, far) = pair().unwrap();
        far.set_read_timeout(Some(HANG)).unwrap();
        let sleeper = Sleeper::default();
        let ended = std::thread::scope(|scope| {
            let relay = scope.spawn(|| {
                sleeper.is_me();
                copy_both(&stream, &right)
            });
            (&far).write_all(b"x").expect("the relay reads");
            let echoed = (&far).read_exact(&mut [0]);
            sleeper.sleeps();
            clone.shutdown(Shutdown::Write).expect("a pipe");
            let ended = child.wait_timeout(HANG).expect("a status");
            child.kill().expect("one that has ended is no error");
            far.shutdown(Shutdown::Both).expect("a pair");
            let copied = relay.join().expect("a thread");
            echoed.expect("the relay copies");
            assert_eq!(copied.expect("both ways have ended"), (1, 1));
            ended
        });
        assert!(ended.expect("it has read its end").success());
    }
}

/// Starts programs that take long to start, on two threads, until this is over.
fn beside_starts<T>(body: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let long = "x".repeat(100_000);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let status = Command::new("true").args([&long, &long, &long]).status();
                    assert!(status.expect("it starts").success());
                }
            });
        }
        let returned = body();
        over.store(true, Ordering::SeqCst);
        returned
    })
}

/// Reads without waiting until something comes: the end, for this child.
fn polled(end: &Stream) -> io::Result<usize> {
    end.set_nonblocking(true)?;
    loop {
        match (&*end).read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            done => return done,
        }
    }
}

/// Relays to an end that says nothing and has ended.
fn relayed(end: &Stream) -> io::Result<usize> {
    let (right, far) = pair()?;
    far.shutdown(Shutdown::Write)?;
    copy_both(end, &right).map(|(copied, _)| usize::try_from(copied).expect("few"))
}

/// A child that is just being started has a copy of every end, and closes them a little later.
fn tells_no_death(read: fn(&Stream) -> io::Result<usize>) {
    let told: Vec<String> = beside_starts(|| {
        let rounds = (0..ROUNDS).map(|_| {
            let mut child = Command::new("true").spawn().expect("it starts");
            let read = read(child.stream());
            assert!(child.wait().expect("a status").success());
            read
        });
        let wrong = rounds.filter(|read| !matches!(read, Ok(0)));
        wrong.map(|read| format!("{read:?}")).collect()
    });
    assert_eq!(told, Vec::<String>::new());
}

tests_alone! {
    fn a_child_that_ended_in_order_is_not_told_as_gone_to_who_does_not_wait() {
        tells_no_death(polled);
    }

    fn a_child_that_ended_in_order_is_not_told_as_gone_by_a_relay() {
        tells_no_death(relayed);
    }

    fn a_child_that_ended_in_order_is_not_told_as_gone_to_who_waits() {
        tells_no_death(|mut end| end.read(&mut [0]));
    }
}

/// A process group, which is killed when this is dropped.
struct Group(Child);

impl Group {
    fn new() -> Self {
        Self(sh("read x <&3").process_group(0).spawn().expect("it starts"))
    }

    fn id(&self) -> i32 {
        pid_of(&self.0).as_raw_nonzero().get()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill_process_group(pid_of(&self.0), Signal::KILL).expect("its first is not reaped yet");
        let _ = self.0.wait();
    }
}

/// A child that leaves six behind, which fill this number as fast as they can; they run when it has
/// written its own zeros.
///
/// With more right to the processor than the reader, if we may give it: it hardly ever finds nothing
/// there. They end on their own, so that a call that reads on fails, and hangs nobody.
fn flooding(number: i32, group: &Group) -> Command {
    let flood = format!("timeout --foreground 20 dd if=/dev/zero bs=64k >&{number} 2>/dev/null");
    let mut command = sh(&format!(
        "renice -n -15 $$ >/dev/null 2>&1
         for i in 1 2 3 4 5 6; do {flood} & done
         head -c {OWN_ZEROS} /dev/zero >&{number}
         exit 7"
    ));
    command.process_group(group.id());
    command
}

const OWN_ZEROS: usize = 4_000_000;

tests_alone! {
    fn a_flood_of_what_the_child_left_behind_keeps_no_status_waiting() {
        for number in [3, 1] {
            let group = Group::new();
            let began = Instant::now();
            let mut command = flooding(number, &group);
            if number == 1 {
                command.on_stdio();
            }
            assert_eq!(command.status().unwrap().code(), Some(7));
            assert!(began.elapsed() < HANG, "it took {:?}", began.elapsed());
        }
    }

    /// Descriptors take the reader longer than the writers.
    fn a_flood_of_descriptors_from_what_the_child_left_behind_keeps_no_status_waiting() {
        if !support::has_program("python3", "a flood of descriptors") {
            return;
        }
        let group = Group::new();
        let program = "import os, signal, socket\n\
                       end = socket.socket(fileno=3)\n\
                       def flood():\n\
                       \x20 try: socket.send_fds(end, [b'x'], [0] * 250)\n\
                       \x20 except OSError: pass\n\
                       for _ in range(4):\n\
                       \x20 if os.fork() == 0:\n\
                       \x20   signal.alarm(20)\n\
                       \x20   while True: flood()\n\
                       for _ in range(200): flood()\n\
                       os._exit(7)\n";
        // Who is not root may have no more than so many in flight, and sends less.
        let began = Instant::now();
        let mut command = Command::new("python3");
        let status = command.args(["-c", program]).process_group(group.id()).status();
        assert_eq!(status.unwrap().code(), Some(7));
        assert!(began.elapsed() < HANG, "it took {:?}", began.elapsed());
    }

    fn a_flood_of_what_the_child_left_behind_keeps_no_output_waiting() {
        let ways: [fn(&mut Command) -> io::Result<Output>; 2] = [
            Command::output,
            |command| command.stdout(Stdio::piped()).spawn()?.wait_with_output(),
        ];
        for output_of in ways {
            let group = Group::new();
            let began = Instant::now();
            let output = output_of(&mut flooding(1, &group)).unwrap();
            assert_eq!(output.status.code(), Some(7));
            assert!(output.stdout.len() >= OWN_ZEROS, "what the child itself had said");
            assert!(began.elapsed() < HANG, "it took {:?}", began.elapsed());
            let output = output_of(&mut flooding(3, &group)).unwrap();
            assert_eq!(output.status.code(), Some(7));
            assert!(began.elapsed() < HANG, "it took {:?}", began.elapsed());
        }
    }
}

/// A child that has ended, and one it left behind, which goes on writing a byte every few ms.
struct Trickle {
    child: Child,
    stream: Stream,
    writer: LeftBehind,
}

impl Trickle {
    fn new(on_pipes: bool) -> Self {
        let writes = "(read go <&5; while printf . >&6; do sleep 0.003; done) & echo $! >&6";
        let mut command = match on_pipes {
            true => sh(&format!("exec 5<&0 6>&1; {writes}")),
            false => sh(&format!("exec 5<&3 6>&3; {writes}")),
        };
        if on_pipes {
            command.on_stdio();
        }
        let mut child = command.spawn().expect("it starts");
        let stream = child.take_stream().expect("it was not taken");
        let writer = LeftBehind::announced_on(&stream);
        await_end(&child);
        (&stream).write_all(b"go\n").expect("it listens");
        assert!(eventually(|| stream.bytes_queued().expect("an end") > 3), "it writes");
        Self { child, stream, writer }
    }
}

fn trickle_keeps_nobody(call: impl Fn(&Stream) -> io::Result<()>) {
    for on_pipes in [false, true] {
        let Trickle { mut child, stream, writer } = Trickle::new(on_pipes);
        let began = Instant::now();
        let error = call(&stream).expect_err("it is gone, and did not say that much");
        assert!(began.elapsed() < HANG / 2, "it took {:?}", began.elapsed());
        assert_eq!(gone(&error), Some(child.id()), "{error}");
        assert!(writer.runs(), "nobody kept the end");
        assert!(child.wait().unwrap().success());
    }
}

tests_alone! {
    fn a_trickle_of_what_the_child_left_behind_keeps_no_read_exact_waiting() {
        trickle_keeps_nobody(|mut end| end.read_exact(&mut vec![0; 1 << 20]));
    }

    fn a_trickle_of_what_the_child_left_behind_keeps_no_read_to_end_waiting() {
        trickle_keeps_nobody(|mut end| end.read_to_end(&mut Vec::new()).map(drop));
    }

    /// Whether the table has room again before it ends makes no difference.
    fn a_child_dropped_without_a_free_descriptor_is_reaped_when_it_ends() {
        for has_room_again in [false, true] {
            let before = Descriptors::now();
            let mut child = Command::new("sleep").arg("100").spawn().unwrap();
            let pid = pid_of(&child);
            // Kept, for it would make room.
            let stream = child.take_stream();
            let mut limit = Some(FreeDescriptors::exactly(0));
            drop(child);
            if has_room_again {
                limit = None;
            }
            assert!(support::has_children(), "the control");
            kill_process(pid, Signal::KILL).unwrap();
            assert!(support::is_childless_within(HANG), "nobody reaped it");
            drop((limit, stream));
            settles_to(&before);
        }
    }
}

/// Has a thread write more than there is room for, and returns the error it gets once the peer has
/// been told to read no more.
fn refused_while_it_writes(end: &Stream, reads_no_more: impl FnOnce()) -> io::Error {
    let sleeper = Sleeper::default();
    let (says, said) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleeper.is_me();
            let _ = says.send((&*end).write_all(&vec![0; 10_000_000]));
        });
        sleeper.sleeps();
        let told = Instant::now();
        reads_no_more();
        let written = said.recv_timeout(HANG);
        // Ends the call, so that the scope ends.
        let _ = end.shutdown(Shutdown::Both);
        assert!(told.elapsed() < HANG, "after {:?}", told.elapsed());
        written.expect("in time").expect_err("nobody reads")
    })
}

tests_alone! {
    fn a_write_ends_when_the_child_reads_no_more_and_lives() {
        if !support::has_program("python3", "a child that shuts its reading down") {
            return;
        }
        let (orders, mut order) = pipe();
        let program = "import socket, sys\n\
                       end = socket.socket(fileno=3)\n\
                       end.send(b'ready\\n')\n\
                       sys.stdin.buffer.raw.read(1)\n\
                       end.shutdown(socket.SHUT_RD)\n\
                       sys.stdin.buffer.raw.read(1)\n";
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", program]).stdin(orders).spawn().unwrap();
        drop(command);
        let stream = child.take_stream().unwrap();
        assert_eq!(line(&stream), "ready");
        let error = refused_while_it_writes(&stream, || order.write_all(b"x").unwrap());
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        assert_eq!(child.try_wait().unwrap(), None, "it lives");
        drop(order);
        assert!(child.wait().unwrap().success());
    }

    fn a_write_on_a_bare_pair_ends_when_the_peer_reads_no_more() {
        for timeout in [None, Some(HANG * 10)] {
            let (ours, theirs) = pair().unwrap();
            ours.set_write_timeout(timeout).unwrap();
            let began = Instant::now();
            let error = refused_while_it_writes(&ours, || {
                theirs.shutdown(Shutdown::Read).unwrap();
            });
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{timeout:?}: {error}");
            assert!(began.elapsed() < HANG + PROMPTLY);
        }
    }
}
