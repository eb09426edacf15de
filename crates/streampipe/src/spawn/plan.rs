//! Which descriptor goes where.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use streampipe_sys::inherited::SocketIdentity;
use streampipe_sys::open;
use streampipe_sys::spawn::Placement;

use super::command::Place;
use super::source::Source;
use super::stdio::Kind;
use super::{Command, SpawnStep};
use crate::ring::send_memory;
use crate::{Child, Engine, Stream};

/// The descriptors of one start: ours, and the child's with their numbers.
pub(super) struct Plan {
    ours: Stream,
    /// Closed here as soon as the child runs.
    theirs: Vec<(OwnedFd, i32)>,
    /// Our ends of the child's standard descriptors.
    stdio: [Option<OwnedFd>; 3],
    /// What leads the child to its end.
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Plan {
    pub(super) fn make(command: &Command) -> Result<Self, StepError> {
        let (ours, theirs, variable) = pair_for(command)?;
        let mut plan = Self {
            ours,
            theirs,
            stdio: [None, None, None],
            variables: variable
                .map(|value| (crate::inherit::VARIABLE, value))
                .into_iter()
                .collect(),
        };
        for (number, stdio) in (0..).zip(&command.stdio) {
            match stdio.as_ref().map(|stdio| &stdio.0) {
                Some(Kind::Null) => {
                    let null = open::null().map_err(at(SpawnStep::Null))?;
                    plan.theirs.push((null, number));
                }
                Some(Kind::Piped) => plan.pipe(number).map_err(at(SpawnStep::Pair))?,
                Some(Kind::From(_) | Kind::Inherit) | None => {}
            }
        }
        if let Some(names) = &command.listen_names {
            plan.variables.push(("LISTEN_FDS", names.len().to_string()));
            plan.variables.push(("LISTEN_FDNAMES", names.join(":")));
        }
        Ok(plan)
    }

    fn pipe(&mut self, number: i32) -> io::Result<()> {
        let (reader, writer) = open::pipe()?;
        let (theirs, ours) = if number == 0 { (reader, writer) } else { (writer, reader) };
        self.theirs.push((theirs, number));
        if let Some(place) = usize::try_from(number).ok().and_then(|at| self.stdio.get_mut(at)) {
            *place = Some(ours);
        }
        Ok(())
    }

    /// All that the child gets, and where.
    pub(super) fn placements<'plan>(
        &'plan self,
        command: &'plan Command,
    ) -> Result<Vec<Placement<'plan>>, StepError> {
        let place = |source: BorrowedFd<'plan>, target| Placement { source, target };
        let mut placements: Vec<_> =
            self.theirs.iter().map(|(fd, target)| place(fd.as_fd(), *target)).collect();
        for (number, stdio) in (0..).zip(&command.stdio) {
            match stdio.as_ref().map(|stdio| &stdio.0) {
                Some(Kind::From(source)) => placements.push(place(fd_of(source)?, number)),
                Some(Kind::Inherit) if command.place.takes(number) => {
                    let text = format!("number {number} is that of its end, not inherited");
                    return Err((SpawnStep::Describe, invalid(text)));
                }
                _ => {}
            }
        }
        for (source, number) in &command.inherited {
            placements.push(place(fd_of(source)?, *number));
        }
        check_numbers(command, &placements).map_err(at(SpawnStep::Describe))?;
        check_names(command, &placements).map_err(at(SpawnStep::Describe))?;
        Ok(placements)
    }

    /// The child runs: hands our ends to it, and closes what is its own.
    pub(super) fn finish(self, mut child: Child, command: &Command) -> Child {
        drop(self.theirs);
        let [stdin, stdout, stderr] = self.stdio;
        child.stdin = stdin.map(ChildStdin::from);
        child.stdout = stdout.map(ChildStdout::from);
        child.stderr = stderr.map(ChildStderr::from);
        let mut stream = self.ours;
        stream.end.watch(child.as_watch());
        stream.end.set_timeouts(command.timeout);
        if command.timeout.is_some() {
            stream.end.set_wary();
        }
        child.set_stream(stream);
        if command.place.takes(1) {
            child.hears_output();
        }
        child
    }
}

const NOBODY_ATTESTED: &str = "a hello is attested on sockets only, and this end is two pipes";

const NO_RING_ON_STDIO: &str =
    "an end of a ring is for `inherited`: it cannot be standard input and output, nor two pipes";

/// What failed, and where.
pub(super) type StepError = (SpawnStep, io::Error);

/// Our end, the child's, and the value of the variable that leads it there.
type Pair = (Stream, Vec<(OwnedFd, i32)>, Option<String>);

fn pair_for(command: &Command) -> Result<Pair, StepError> {
    let unsupported =
        |text| (SpawnStep::Describe, io::Error::new(io::ErrorKind::Unsupported, text));
    let is_ring = command.pair.asks_for() == Engine::Ring;
    if command.place == Place::Pipes && !is_ring {
        if command.attests {
            return Err(unsupported(NOBODY_ATTESTED));
        }
        let (reader, theirs_out) = open::pipe().map_err(at(SpawnStep::Pair))?;
        let (theirs_in, writer) = open::pipe().map_err(at(SpawnStep::Pair))?;
        let theirs = vec![(theirs_in, 0), (theirs_out, 1)];
        return Ok((Stream::from_pipes(reader, writer), theirs, None));
    }
    if is_ring && !matches!(command.place, Place::Fd(_)) {
        return Err(unsupported(NO_RING_ON_STDIO));
    }
    let (ours, theirs) = if is_ring {
        ring_for(command).map_err(at(SpawnStep::Ring))?
    } else {
        Stream::pair().map_err(at(SpawnStep::Pair))?
    };
    match &command.accepted_fds {
        Some(policy) => ours.end.accept_fds(policy.clone()),
        None if command.refuses_fds => ours.refuse_fds().map_err(at(SpawnStep::Options))?,
        None => {}
    }
    if command.attests {
        ours.attest().map_err(at(SpawnStep::Options))?;
    }
    match command.place {
        Place::Fd(number) => {
            let identity = SocketIdentity::of(theirs.as_fd()).map_err(at(SpawnStep::Options))?;
            let value = crate::inherit::value(number, command.pair.asks_for(), identity);
            Ok((ours, vec![(theirs.into(), number)], Some(value)))
        }
        Place::SocketOnStdio | Place::Pipes => {
            let again = OwnedFd::from(theirs.try_clone().map_err(at(SpawnStep::Pair))?);
            Ok((ours, vec![(theirs.into(), 0), (again, 1)], None))
        }
    }
}

/// A ring whose memory waits for the child at its end.
fn ring_for(command: &Command) -> io::Result<(Stream, Stream)> {
    let (ours, theirs, memory) = command.pair.ring()?;
    send_memory(ours.as_fd(), &memory, ours.send_buffer_size()?)?;
    Ok((ours, theirs))
}

/// What the program is to get, unless it was never duplicated, or went to another program.
fn fd_of(source: &Source) -> Result<BorrowedFd<'_>, StepError> {
    source.fd().map_err(|cause| match cause.raw_os_error() {
        Some(_) => (SpawnStep::Descriptors, cause),
        None => (SpawnStep::Describe, cause),
    })
}

/// Says at which step it was.
fn at(step: SpawnStep) -> impl Fn(io::Error) -> StepError {
    move |cause| {
        // What cannot be done is a matter of the description, whoever says so without asking the system.
        let is_described = cause.raw_os_error().is_none()
            && matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported);
        (if is_described { SpawnStep::Describe } else { step }, cause)
    }
}

fn check_numbers(command: &Command, placements: &[Placement<'_>]) -> io::Result<()> {
    let mut numbers: Vec<i32> = placements.iter().map(|placement| placement.target).collect();
    numbers.sort_unstable();
    if let Some(negative) = numbers.first().filter(|number| **number < 0) {
        return Err(invalid(format!("{negative} is no descriptor's number")));
    }
    let Some(two) = numbers.windows(2).find(|two| two[0] == two[1]) else { return Ok(()) };
    let hint = if command.place.takes(two[0]) { ": one is its end (see fd, on_stdio)" } else { "" };
    Err(invalid(format!("two descriptors are to be number {} there{hint}", two[0])))
}

/// `sd_listen_fds_with_names(3)`: at most 255 characters, no control characters, no colon.
fn check_names(command: &Command, placements: &[Placement<'_>]) -> io::Result<()> {
    let Some(names) = &command.listen_names else { return Ok(()) };
    let is_good = |name: &str| {
        name.len() <= 255 && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
    };
    if let Some(bad) = names.iter().find(|name| !is_good(name)) {
        return Err(invalid(format!("{bad:?} cannot be among LISTEN_FDNAMES")));
    }
    for (number, name) in (3..).zip(names) {
        if !placements.iter().any(|placement| placement.target == number) {
            return Err(invalid(format!("nothing is to be descriptor {number}, named {name:?}")));
        }
    }
    Ok(())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
