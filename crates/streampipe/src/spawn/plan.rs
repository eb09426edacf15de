//! Which descriptor goes where.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use streampipe_sys::open;
use streampipe_sys::spawn::Placement;

use super::Command;
use super::command::Place;
use super::stdio::Kind;
use crate::os::linux::EndExt;
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
    pub(super) fn make(command: &Command) -> io::Result<Self> {
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
                Some(Kind::Null) => plan.theirs.push((open::null()?, number)),
                Some(Kind::Piped) => plan.pipe(number)?,
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
    ) -> io::Result<Vec<Placement<'plan>>> {
        let place = |source: BorrowedFd<'plan>, target| Placement { source, target };
        let mut placements: Vec<_> =
            self.theirs.iter().map(|(fd, target)| place(fd.as_fd(), *target)).collect();
        for (number, stdio) in (0..).zip(&command.stdio) {
            match stdio.as_ref().map(|stdio| &stdio.0) {
                Some(Kind::From(source)) => placements.push(place(source.fd()?, number)),
                Some(Kind::Inherit) if command.place.takes(number) => {
                    return Err(invalid(format!(
                        "number {number} is that of its end, not inherited"
                    )));
                }
                _ => {}
            }
        }
        for (source, number) in &command.inherited {
            placements.push(place(source.fd()?, *number));
        }
        check_numbers(command, &placements)?;
        check_names(command, &placements)?;
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

/// Our end, the child's, and the value of the variable that leads it there.
type Pair = (Stream, Vec<(OwnedFd, i32)>, Option<String>);

fn pair_for(command: &Command) -> io::Result<Pair> {
    if command.place == Place::Pipes && command.pair.asks_for() == Engine::Socket {
        if command.attests {
            return Err(io::Error::new(io::ErrorKind::Unsupported, NOBODY_ATTESTED));
        }
        let (reader, theirs_out) = open::pipe()?;
        let (theirs_in, writer) = open::pipe()?;
        let theirs = vec![(theirs_in, 0), (theirs_out, 1)];
        return Ok((Stream::from_pipes(reader, writer), theirs, None));
    }
    let is_ring = command.pair.asks_for() == Engine::Ring;
    if is_ring && !matches!(command.place, Place::Fd(_)) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, NO_RING_ON_STDIO));
    }
    let (ours, theirs) = if is_ring { ring_for(command)? } else { Stream::pair()? };
    if command.refuses_fds {
        ours.refuse_fds()?;
    }
    if command.attests {
        ours.attest()?;
    }
    match command.place {
        Place::Fd(number) => {
            let value = crate::inherit::value(number, command.pair.asks_for(), theirs.cookie()?);
            Ok((ours, vec![(theirs.into(), number)], Some(value)))
        }
        Place::SocketOnStdio | Place::Pipes => {
            let again = OwnedFd::from(theirs.try_clone()?);
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
