//! The other process: this program again, with its end of the channel as standard input.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use crate::place::{Place, pin};
use crate::ways::Way;

/// The first argument of a process that is a peer.
pub const FLAG: &str = "--peer";

/// What the messages carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes alone.
    Messages,
    /// Descriptors beside the bytes.
    Descriptors,
}

/// What the two processes are to do, and where.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// What the messages carry.
    pub kind: Kind,
    /// Where the processes run.
    pub place: Place,
}

/// Another process, which ends with this value.
pub struct Peer(Child);

impl Peer {
    /// Starts the peer of a way with its end of a socket pair.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`].
    pub fn with_end(way: &dyn Way, task: Task, end: OwnedFd) -> io::Result<Self> {
        Ok(Self(command(way, task).stdin(end).spawn()?))
    }

    /// Starts the peer of a way that connects to the server of this name.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`].
    pub fn with_name(way: &dyn Way, task: Task, name: &str) -> io::Result<Self> {
        Ok(Self(command(way, task).arg(name).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Peer {
    /// Its channel is closed by now and it would end by itself; one that hangs must not hang us.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(way: &dyn Way, task: Task) -> Command {
    let kind = match task.kind {
        Kind::Messages => "messages",
        Kind::Descriptors => "descriptors",
    };
    let mut command = Command::new("/proc/self/exe");
    command.args([FLAG, way.name(), kind, &shown(task.place.theirs)]);
    command
}

/// A processor as an argument.
pub fn shown(processor: Option<usize>) -> String {
    processor.map_or("any".to_owned(), |number| number.to_string())
}

/// The peer's `main`: the arguments are those after [`FLAG`].
///
/// # Errors
///
/// The channel's; arguments that are not a peer's.
pub fn main(arguments: &[String]) -> io::Result<()> {
    let [way, kind, processor, name @ ..] = arguments else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    if let Ok(number) = processor.parse() {
        pin(number)?;
    }
    let kind = if kind == "descriptors" { Kind::Descriptors } else { Kind::Messages };
    let name = name.first().map_or("", String::as_str);
    crate::ways::named(way).ok_or(io::ErrorKind::NotFound)?.serve(kind, name)
}

/// The end that this process was started with.
///
/// # Errors
///
/// The kernel's.
pub fn inherited() -> io::Result<OwnedFd> {
    // A copy with close-on-exec; the first stays open until the process ends, and the other side
    // sees that end.
    io::stdin().as_fd().try_clone_to_owned()
}
