//! Everything that the library does, in small steps.
//!
//! None of them makes a thread, so that they also say what works where the C library cannot make one.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use streampipe::join::Join;
use streampipe::{
    Builder, Channel, Child, Command, Engine, Fd, FdRule, Fork, SeqPacket, Stdio, StopSchedule,
    Stream, Type, Zygote,
};

use crate::parts::{Answer, Question, part};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// A name, and what is done.
pub(crate) type Step = (&'static str, fn(&Prepared) -> Outcome);

/// Pairs that were made while there were descriptors.
pub(crate) struct Prepared(Vec<(Stream, Stream)>);

impl Prepared {
    pub(crate) fn new() -> io::Result<Self> {
        // That there can be no ring is said by another step.
        Ok(Self([streampipe::pair()?].into_iter().chain(ring().ok()).collect()))
    }

    pub(crate) fn close(&mut self) {
        self.0.clear();
    }
}

/// The last step that uses what was prepared.
pub(crate) const LAST_PREPARED: &str = "deadline";

fn ring() -> io::Result<(Stream, Stream)> {
    Builder::new().engine(Engine::Ring).pair()
}

pub(crate) const STEPS: &[Step] = &[
    ("prepared pairs", prepared_pairs),
    ("deadline", deadline),
    ("pair", |_| pair()),
    ("packets", |_| packets()),
    ("descriptors", |_| descriptors()),
    ("kinds", |_| kinds()),
    ("start on a number", |_| start_on_a_number()),
    ("start on stdio", |_| start_on_stdio()),
    ("output", |_| output()),
    ("a missing program", |_| missing_program()),
    ("a bounded wait", |_| bounded_wait()),
    ("kill", |_| kill()),
    ("signal", |_| signal()),
    ("stop", |_| stop()),
    ("the same user", |_| the_same_user()),
    ("another user", |_| another_user()),
    ("fork", |_| fork()),
    ("zygote", |_| zygote()),
    ("inherited", |_| inherited()),
    ("channel", |_| channel()),
    ("ring pair", |_| ring_pair()),
    ("ring child", |_| ring_child()),
    ("join", |_| join()),
    ("tokio", |_| tokio()),
    ("the command", |_| the_command()),
];

/// Names the command.
pub(crate) const COMMAND: &str = "STREAMPIPE_PROBE_COMMAND";

/// How long what is bounded may take: far longer than any of it does.
const LONG: Duration = Duration::from_secs(30);

fn expect(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn says(mut stream: impl Read, text: &str) -> Outcome {
    let mut buffer = vec![0; text.len()];
    stream.read_exact(&mut buffer)?;
    expect(buffer == text.as_bytes(), "other bytes than were sent")
}

fn succeeds(status: ExitStatus) -> Outcome {
    expect(status.success(), &format!("ended with {status}"))
}

fn pair() -> Outcome {
    there_and_back(streampipe::pair()?)
}

fn ring_pair() -> Outcome {
    there_and_back(ring()?)?;
    pass_one(&ring()?)
}

fn there_and_back((mut ours, mut theirs): (Stream, Stream)) -> Outcome {
    ours.write_all(b"ping")?;
    says(&theirs, "ping")?;
    theirs.write_all(b"pong")?;
    says(&ours, "pong")?;
    ours.shutdown(Shutdown::Write)?;
    expect(theirs.read(&mut [0])? == 0, "no end behind a shutdown")?;
    drop(theirs);
    expect(ours.read(&mut [0])? == 0, "no end behind a close")?;
    let error = ours.write(b"x").expect_err("nobody can read it");
    expect(error.kind() == io::ErrorKind::BrokenPipe, &format!("a write to nobody: {error}"))
}

fn packets() -> Outcome {
    let (ours, theirs) = SeqPacket::pair()?;
    ours.send(b"one")?;
    ours.send(b"three")?;
    let mut buffer = [0; 16];
    expect(theirs.recv(&mut buffer)? == 3, "not the first packet")?;
    expect(theirs.recv(&mut buffer)? == 5, "not the second packet")
}

fn prepared_pairs(prepared: &Prepared) -> Outcome {
    for (ours, theirs) in &prepared.0 {
        (&*ours).write_all(b"ping")?;
        says(theirs, "ping")?;
        (&*theirs).write_all(b"pong")?;
        says(ours, "pong")?;
    }
    Ok(())
}

fn deadline(prepared: &Prepared) -> Outcome {
    for (ours, _) in &prepared.0 {
        ours.set_read_timeout(Some(Duration::from_millis(2)))?;
        let error = (&*ours).read(&mut [0]).expect_err("nothing was sent");
        expect(error.kind() == io::ErrorKind::TimedOut, &format!("{:?}: {error}", ours.engine()))?;
    }
    Ok(())
}

fn descriptors() -> Outcome {
    pass_one(&streampipe::pair()?)
}

/// A socket is passed, and what is written to its peer is read from it.
fn pass_one((ours, theirs): &(Stream, Stream)) -> Outcome {
    let (near, mut far) = UnixStream::pair()?;
    expect(ours.send_fds(b"take", &[near.as_fd()])? == 4, "not all bytes")?;
    drop(near);
    let mut buffer = [0; 16];
    let (bytes, mut fds) = theirs.recv_fds(&mut buffer)?;
    expect((bytes, fds.len()) == (4, 1), "not what was sent")?;
    far.write_all(b"through")?;
    says(UnixStream::from(fds.remove(0)), "through")
}

fn kinds() -> Outcome {
    let folder = File::open(".")?;
    expect(FdRule::directory().matches(&folder)?, "a directory is a directory")?;
    expect(!FdRule::memfd().matches(&folder)?, "and no memory file")?;
    let (ours, _theirs) = UnixStream::pair()?;
    expect(FdRule::socket(Type::STREAM).matches(&ours)?, "a socket is a socket")
}

/// `cat` without a shell that forks.
fn cat_on_its_number() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec cat <&3 >&3"]);
    command
}

fn speaks_with(child: &mut Child) -> Outcome {
    child.stream().write_all(b"shout")?;
    child.stream().shutdown(Shutdown::Write)?;
    let mut heard = String::new();
    child.stream().read_to_string(&mut heard)?;
    expect(heard == "shout", "not the same words")?;
    succeeds(child.wait()?)
}

fn start_on_a_number() -> Outcome {
    speaks_with(&mut cat_on_its_number().spawn()?)
}

fn start_on_stdio() -> Outcome {
    speaks_with(&mut Command::new("cat").on_stdio().spawn()?)?;
    speaks_with(&mut Command::new("cat").on_stdio_socket().spawn()?)
}

fn output() -> Outcome {
    let said = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]).output()?;
    expect(said.stdout == b"out\n" && said.stderr == b"err\n", &format!("{said:?}"))?;
    expect(said.status.code() == Some(3), &format!("{}", said.status))
}

fn missing_program() -> Outcome {
    let error = Command::new("streampipe-no-such-program").spawn().expect_err("it is not there");
    expect(error.kind() == io::ErrorKind::NotFound, &format!("{error}"))
}

fn bounded_wait() -> Outcome {
    let mut child = cat_on_its_number().spawn()?;
    let running = child.wait_timeout(Duration::from_millis(2))?;
    expect(running.is_none(), "it runs")?;
    drop(child.take_stream());
    let ended = child.wait_timeout(LONG)?.ok_or("it reads the end, and ends")?;
    succeeds(ended)
}

fn kill() -> Outcome {
    let mut child = cat_on_its_number().spawn()?;
    child.kill()?;
    let status = child.wait()?;
    expect(status.signal() == Some(9), &format!("killed: {status}"))?;
    child.kill()?; // No error behind the end.
    Ok(())
}

fn signal() -> Outcome {
    let mut child = cat_on_its_number().spawn()?;
    child.signal(15)?;
    let status = child.wait()?;
    expect(status.signal() == Some(15), &format!("terminated: {status}"))
}

fn stop() -> Outcome {
    // It has all the time that its start may take here.
    let patient = StopSchedule::new().after_close(LONG);
    succeeds(cat_on_its_number().spawn()?.stop_with(patient)?)?;
    // One that does not read: it needs the signals.
    let at_once = StopSchedule::new().after_close(Duration::ZERO);
    let status = Command::new("sleep").arg("1000").spawn()?.stop_with(at_once)?;
    expect(status.signal() == Some(15), &format!("terminated: {status}"))
}

/// Which anybody may ask for: whoever may change nothing keeps the groups, as in std.
fn the_same_user() -> Outcome {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    speaks_with(&mut Command::new("cat").on_stdio().uid(uid).gid(gid).spawn()?)
}

fn another_user() -> Outcome {
    speaks_with(&mut Command::new("cat").on_stdio().uid(65533).gid(65533).spawn()?)
}

fn fork() -> Outcome {
    match streampipe::fork()? {
        Fork::Parent { mut stream, mut child } => {
            stream.write_all(b"ping")?;
            says(&stream, "ping")?;
            let status = child.wait()?;
            expect(status.code() == Some(7), &format!("{status}"))
        }
        Fork::Child { stream } => std::process::exit(if echo(stream, 4) { 7 } else { 1 }),
    }
}

/// Sends back so many bytes.
fn echo(mut stream: Stream, count: usize) -> bool {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok()
}

fn zygote() -> Outcome {
    let zygote = Zygote::start(|stream| if echo(stream, 4) { 5 } else { 1 })?;
    let mut worker = zygote.fork()?;
    worker.stream().write_all(b"work")?;
    says(worker.stream(), "work")?;
    let status = worker.wait()?;
    expect(status.code() == Some(5), &format!("{status}"))?;
    let mut idle = zygote.fork()?;
    idle.kill()?;
    let status = idle.wait()?;
    expect(status.signal() == Some(9), &format!("killed: {status}"))
}

fn inherited() -> Outcome {
    speaks_with(&mut part("echo").spawn()?)
}

fn ring_child() -> Outcome {
    speaks_with(&mut part("echo").engine(Engine::Ring).spawn()?)
}

fn channel() -> Outcome {
    let mut child = part("serve").spawn()?;
    let channel: Channel<Question, Answer> = child.take_channel().ok_or("it is there")?;
    let (near, mut far) = UnixStream::pair()?;
    far.write_all(b"passed")?;
    let input = Fd::from(OwnedFd::from(near));
    let answer = channel.call(Question { text: "six".into(), input })?;
    expect(answer.length == 3, "another answer")?;
    let mut output = UnixStream::from(OwnedFd::from(answer.output));
    output.write_all(b" back")?;
    says(&far, "passed back")?;
    drop(channel);
    succeeds(child.wait()?)
}

fn join() -> Outcome {
    let mut left = std_command("sh");
    left.args(["-c", "echo word; exec 1>&-; read answer; test \"$answer\" = word"]);
    let outcome = Join::new(left, std_command("cat")).timeout(LONG).run()?;
    expect(outcome.is_success(), &format!("{outcome:?}"))?;
    // Both run on, until the time is up.
    let outcome = Join::new(std_command("cat"), std_command("cat"))
        .timeout(Duration::from_millis(2))
        .run()?;
    expect(outcome.timed_out, &format!("{outcome:?}"))
}

fn std_command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

fn tokio() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(in_tasks())
}

async fn in_tasks() -> Outcome {
    use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut ours, mut theirs) = streampipe::tokio::pair()?;
    ours.write_all(b"ping").await?;
    let mut heard = [0; 4];
    theirs.read_exact(&mut heard).await?;
    let mut child =
        streampipe::tokio::Child::try_from(Command::new("cat").on_stdio_socket().spawn()?)?;
    let mut stream = child.take_stream()?.ok_or("it is there")?;
    stream.write_all(&heard).await?;
    stream.shutdown().await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    expect(text == "ping", "other bytes")?;
    succeeds(child.wait().await?)
}

/// `streampipe join`, if it was built beside this test; if not, the harness has said so.
fn the_command() -> Outcome {
    let Some(command) = std::env::var_os(COMMAND) else { return Ok(()) };
    let mut join = Command::new(command);
    join.args(["join", "--timeout", "30s", "--", "sh", "-c"]);
    join.args(["echo word; exec 1>&-; read answer; echo \"$answer\" >&2", "::", "cat"]);
    let said = join.stdin(Stdio::inherit()).output()?;
    expect(said.status.success() && said.stderr == b"word\n", &format!("{said:?}"))
}
