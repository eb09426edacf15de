//! How the ends lie: on standard descriptors, announced by number, given or lent, closed in time.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use streampipe::{Command, PeerGone, SpawnStep, Stdio, Stream};

use super::helpers::{HANG, Set, Traces, all_of, alone_behind, line, path_of, pipe, sh};
use crate::support::{self, tests_alone};

/// More than all buffers on the way hold.
const MUCH: usize = 5_000_000;

/// Sends much through the child, both ways at once; it has to come back whole.
fn much_comes_back(command: &mut Command) {
    let mut child = command.spawn().expect("it starts");
    let mut random = fastrand::Rng::with_seed(5);
    let mut sent = vec![0; MUCH];
    random.fill(&mut sent);
    let writer = child.stream().try_clone().expect("a duplicate");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&writer).write_all(&sent).expect("the child reads");
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        let mut heard = Vec::new();
        child.stream().set_read_timeout(Some(HANG)).expect("a timeout");
        child.stream().read_to_end(&mut heard).expect("the child answers");
        assert!(heard == sent, "{} of {MUCH} bytes", heard.len());
    });
    assert!(child.wait().expect("a status").success());
}

/// Whether `SIGPIPE` is pending for this thread or process.
fn sigpipe_is_pending() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    let sets = status.lines().filter_map(|line| {
        let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        Some(u64::from_str_radix(set.trim(), 16).expect("a set in hexadecimal"))
    });
    sets.fold(0, |one, other| one | other) & 1 << 12 != 0
}

tests_alone! {
    fn output_of_an_end_on_standard_output_is_what_came_on_it() {
        let output = Command::new("echo").arg("x").on_stdio().output().unwrap();
        assert_eq!(output.stdout, b"x\n");
        let output = Command::new("echo").arg("y").on_stdio_socket().output().unwrap();
        assert_eq!(output.stdout, b"y\n");
        let mut cat = Command::new("cat").on_stdio().spawn().unwrap();
        cat.stream().write_all(b"data\n").unwrap();
        assert_eq!(cat.wait_with_output().unwrap().stdout, b"data\n");
        // The control: what comes on an end elsewhere is no output.
        let output = Command::new("sh").args(["-c", "echo z >&3"]).output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"");
    }

    fn a_filter_on_pipes_gets_its_end_of_input_and_answers() {
        for _ in 0..20 {
            let mut sort = Command::new("sort").on_stdio().spawn().unwrap();
            sort.stream().write_all(b"b\nc\na\n").unwrap();
            sort.stream().shutdown(Shutdown::Write).unwrap();
            assert_eq!(all_of(sort.stream()), b"a\nb\nc\n");
            assert!(sort.wait().unwrap().success());
            let error = sort.stream().write(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "that direction was ended");
        }
    }

    fn much_goes_both_ways_at_once_over_every_wire() {
        much_comes_back(Command::new("cat").on_stdio());
        much_comes_back(Command::new("cat").on_stdio_socket());
        much_comes_back(&mut sh("exec cat <&3 >&3"));
    }

    fn halves_of_two_pipes_end_each_its_own() {
        let mut child = Command::new("cat").on_stdio().spawn().unwrap();
        let (mut reader, mut writer) = child.take_stream().unwrap().into_split();
        writer.write_all(b"x").unwrap();
        reader.read_exact(&mut [0]).unwrap();
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the child saw the end and ended");
        assert!(child.wait().unwrap().success());
        // The other way round: a reader that is dropped keeps the writer's direction.
        let mut child = sh("cat >/dev/null; exit 3").on_stdio().spawn().unwrap();
        let (reader, mut writer) = child.take_stream().unwrap().into_split();
        drop(reader);
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }

    fn a_child_that_closes_its_output_is_read_to_the_end_and_still_written_to() {
        let script = "echo said; exec >&-; read x; test \"$x\" = heard";
        let mut child = sh(script).on_stdio().spawn().unwrap();
        assert_eq!(all_of(child.stream()), b"said\n");
        assert_eq!(child.try_wait().unwrap(), None, "it waits for its input");
        child.stream().write_all(b"heard\n").unwrap();
        assert!(child.wait().unwrap().success());
        // The control: on one socket, closing one of the two closes nothing.
        let mut child = sh(script).on_stdio_socket().spawn().unwrap();
        assert_eq!(line(child.stream()), "said");
        child.stream().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(child.stream().read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        child.stream().write_all(b"heard\n").unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn reading_that_is_shut_down_ends_the_childs_output() {
        let mut child = Command::new("yes").on_stdio().spawn().unwrap();
        child.stream().read_exact(&mut [0; 100]).unwrap();
        child.stream().shutdown(Shutdown::Read).unwrap();
        // What was queued, and no more.
        let mut rest = Vec::new();
        child.stream().read_to_end(&mut rest).unwrap();
        assert_eq!(child.stream().read(&mut [0; 100]).unwrap(), 0);
        let status = child.wait_timeout(HANG).unwrap().expect("nobody reads it");
        // `SIGPIPE` is at its default there.
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(13));
    }

    fn two_pipes_are_pipes_and_carry_no_descriptors() {
        let script = "readlink /proc/self/fd/0; readlink /proc/self/fd/1; echo ${STREAMPIPE_END-none}";
        let mut child = sh(script).on_stdio().spawn().unwrap();
        let text = String::from_utf8(all_of(child.stream())).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("pipe:[") && lines[1].starts_with("pipe:["), "{text}");
        assert!(lines[0] != lines[1] && lines[2] == "none", "{text}");
        let error = child.stream().send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        child.wait().unwrap();
        let mut child = sh(script).on_stdio_socket().spawn().unwrap();
        let text = String::from_utf8(all_of(child.stream())).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("socket:[") && lines[0] == lines[1], "{text}");
        child.stream().send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap_err();
        child.wait().unwrap();
    }

    /// A program that knows nothing of us expects blocking descriptors.
    fn the_childs_ends_are_blocking_and_ours_waits() {
        for on_stdio in [true, false] {
            let mut command = Command::new("cat");
            command.arg("/proc/self/fdinfo/0").arg("/proc/self/fdinfo/1");
            if on_stdio { command.on_stdio() } else { command.on_stdio_socket() };
            let mut child = command.spawn().unwrap();
            child.stream().set_nonblocking(true).unwrap();
            child.stream().set_nonblocking(false).unwrap();
            let text = String::from_utf8(all_of(child.stream())).unwrap();
            let flags: Vec<u32> = text
                .lines()
                .filter_map(|line| line.strip_prefix("flags:"))
                .map(|flags| u32::from_str_radix(flags.trim(), 8).unwrap())
                .collect();
            assert_eq!(flags.len(), 2, "{text}");
            assert!(flags.iter().all(|flags| flags & 0o4000 == 0), "non-blocking: {flags:?}");
            child.wait().unwrap();
        }
    }

    fn announced_descriptors_have_numbers_names_and_the_childs_own_id() {
        let script = "echo $LISTEN_PID $$ $LISTEN_FDS $LISTEN_FDNAMES; cat <&4; cat <&5";
        for round in 0..20 {
            let mut command = sh(script);
            command.inherit(support::file_with(b"four "), 4).inherit(support::file_with(b"five"), 5);
            command.listen_fds(["end", "", "a b~"]).env("LISTEN_PID", "1").env("LISTEN_FDS", "9");
            if round % 2 == 0 {
                command.env_clear();
            }
            let child = command.stdout(Stdio::piped()).spawn().unwrap();
            let id = child.id();
            let output = child.wait_with_output().unwrap();
            let expected = format!("{id} {id} 3 end::a b~\nfour five");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
        // On standard descriptors nothing has to be announced of the end.
        let mut command = sh("echo $LISTEN_FDS $LISTEN_FDNAMES");
        let mut child =
            command.on_stdio().inherit(support::file_with(b""), 3).listen_fds(["f"]).spawn().unwrap();
        assert_eq!(all_of(child.stream()), b"1 f\n");
        child.wait().unwrap();
        let no_names: [&str; 0] = [];
        let output = sh("echo $LISTEN_FDS.").listen_fds(no_names).output().unwrap();
        assert_eq!(output.stdout, b"0.\n");
    }

    fn names_that_cannot_be_announced_and_gaps_are_refused() {
        let before = Traces::before();
        for bad in ["a:b", "a\nb", "\0", "\u{7f}", "é", &"x".repeat(256)] {
            let error = Command::new("true").listen_fds([bad]).spawn().unwrap_err();
            assert_eq!(error.step(), SpawnStep::Describe, "{bad:?}: {error}");
        }
        assert!(Command::new("true").listen_fds(["x".repeat(255)]).status().unwrap().success());
        let file = support::file_with(b"");
        let gap = Command::new("true").inherit(&file, 5).listen_fds(["a", "b", "c"]).spawn();
        assert!(gap.unwrap_err().to_string().contains("nothing is to be descriptor 4"));
        let none_at_3 = Command::new("true").fd(7).listen_fds(["a"]).spawn().unwrap_err();
        assert_eq!(none_at_3.kind(), ErrorKind::InvalidInput);
        let pipes = Command::new("true").on_stdio().listen_fds(["a"]).spawn().unwrap_err();
        assert_eq!(pipes.kind(), ErrorKind::InvalidInput);
        drop(file);
        assert_eq!(before.left(), None);
    }

    fn our_copy_of_the_childs_end_is_closed_before_spawn_returns() {
        let scripts: [(&str, Set); 3] = [
            ("exec 3>&-; exec sleep 100", |it| it.fd(3)),
            ("exec <&- >&-; exec sleep 100", Command::on_stdio),
            ("exec <&- >&-; exec sleep 100", Command::on_stdio_socket),
        ];
        for (script, arrange) in scripts {
            let mut command = sh(script);
            let mut child = arrange(&mut command).spawn().unwrap();
            assert_eq!(all_of(child.stream()), b"", "the end, while the command lives");
            assert_eq!(child.try_wait().unwrap(), None);
            child.kill().unwrap();
            child.wait().unwrap();
            drop(command);
        }
        // The control: std keeps its copy until the command is dropped.
        let (ours, theirs) = Stream::pair().unwrap();
        let mut command = std::process::Command::new("true");
        let mut child = command.stdin(OwnedFd::from(theirs)).spawn().unwrap();
        child.wait().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(command);
        assert_eq!(all_of(&ours), b"");
    }

    fn what_is_given_is_closed_here_when_the_program_runs() {
        let (mut reader, writer) = pipe();
        let (mut second, other) = pipe();
        let mut command = sh("exec 8>&-; exec sleep 100");
        command.inherit(writer, 8).stderr(other).fd(7);
        let mut child = command.spawn().unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the end, while command and child live");
        let error = command.spawn().unwrap_err();
        assert_eq!((error.step(), error.kind()), (SpawnStep::Describe, ErrorKind::InvalidInput));
        assert!(error.to_string().contains("first program"), "{error}");
        child.kill().unwrap();
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
        child.wait().unwrap();
    }

    fn what_is_lent_stays_ours_and_serves_many_programs() {
        let (mut reader, mut writer) = pipe();
        let before = Traces::before();
        let mut command = sh("echo $$ >&8");
        command.inherit(&writer, 8);
        for _ in 0..3 {
            let mut child = command.spawn().unwrap();
            assert!(child.wait().unwrap().success());
            assert_eq!(line(&mut reader), child.id().to_string());
        }
        drop(command);
        assert_eq!(before.left(), None, "the duplicate goes with the command");
        writer.write_all(b"x").expect("the caller's own is still open");
        drop(writer);
        assert_eq!(reader.read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(reader.read(&mut [0; 2]).unwrap(), 0);
    }

    fn what_was_lent_is_what_was_open_then() {
        let file = support::file_with(b"first");
        let mut command = sh("cat <&8");
        command.inherit(&file, 8).inherit(file.as_fd(), 9);
        drop(file);
        let _other = support::file_with(b"second");
        assert_eq!(command.output().unwrap().stdout, b"first");
    }

    fn ends_of_all_kinds_can_be_given() {
        let (ours, theirs) = streampipe::SeqPacket::pair().unwrap();
        let (stream, given) = streampipe::pair().unwrap();
        let (listener, udp) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut command = sh("echo packet >&4; echo stream >&5; readlink /proc/self/fd/6 /proc/self/fd/7");
        command.inherit(theirs, 4).inherit(given, 5).inherit(listener, 6).inherit(udp, 7);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().matches("socket:[").count(), 2);
        let mut buffer = [0; 16];
        let count = ours.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"packet\n");
        assert_eq!(all_of(&stream), b"stream\n");
    }
}

/// Behind `env`, which blocks the signal: one that came would stay pending, though it is ignored.
#[test]
fn a_write_to_a_child_that_reads_no_more_is_an_error_and_no_signal() {
    const PATH: &str = path_of!(a_write_to_a_child_that_reads_no_more_is_an_error_and_no_signal);
    alone_behind(PATH, &["env", "--block-signal=PIPE"], || {
        for round in 0..30 {
            let mut command = sh("exit 0");
            let mut child = match round % 3 {
                0 => command.spawn(),
                1 => command.on_stdio().spawn(),
                _ => command.on_stdio_socket().spawn(),
            }
            .unwrap();
            let error = child.stream().write_all(&vec![0; 10_000_000]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(error.get_ref().is_none_or(|inside| !inside.is::<PeerGone>()));
            assert!(!sigpipe_is_pending(), "round {round}");
            child.wait().unwrap();
        }
        // The control: std's pipe leaves one pending, and ours leaves that one alone.
        let (reader, mut writer) = pipe();
        drop(reader);
        writer.write_all(b"x").unwrap_err();
        assert!(sigpipe_is_pending());
        let mut child = sh("exit 0").on_stdio().spawn().unwrap();
        child.stream().write_all(&vec![0; 10_000_000]).unwrap_err();
        assert!(sigpipe_is_pending(), "it was not ours to take");
        child.wait().unwrap();
    });
}

/// Linux before 6.4 cannot be told not to wait on a pipe by a flag of the call.
#[test]
fn pipes_work_where_a_call_cannot_be_told_not_to_wait() {
    let path = path_of!(pipes_work_where_a_call_cannot_be_told_not_to_wait);
    if !support::has_program("strace", "pipes without RWF_NOWAIT") {
        return;
    }
    // EPERM is what filters say; it means the same.
    for name in ["EOPNOTSUPP", "EPERM"] {
        let refused = format!("inject=preadv2,pwritev2:error={name}");
        let prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &refused];
        alone_behind(path, &prefix, || {
            much_comes_back(Command::new("cat").on_stdio());
            assert_eq!(Command::new("echo").arg("x").output().unwrap().stdout, b"x\n");
            // The control: it is refused here.
            let (reader, _writer) = rustix::pipe::pipe().unwrap();
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            let mut byte = [0];
            let into = &mut [std::io::IoSliceMut::new(&mut byte)];
            let read = rustix::io::preadv2(&reader, into, u64::MAX, flags);
            assert!(matches!(read, Err(Errno::OPNOTSUPP | Errno::PERM)), "{read:?}");
        });
    }
}
