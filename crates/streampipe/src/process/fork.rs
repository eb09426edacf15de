use std::io;

use streampipe_sys::fork::{self as sys, FromFork, Side};
use streampipe_sys::process;

use super::{Child, ForkRefused, orphans};
use crate::Stream;
use crate::end::Waiting;

/// The byte that lets the child go, once its parent can name it by a pidfd.
const GO: [u8; 1] = [1];

/// The two sides of a [`fork`]: each holds exactly one end of a fresh pair.
///
/// # Examples
///
/// See [`fork`].
#[derive(Debug)]
#[must_use = "dropping it closes the end"]
pub enum Fork {
    /// In the process that called.
    Parent {
        /// Our end; the child holds the other one, and nobody else does. Its calls notice the
        /// child's death, as those of [`Child::stream`] do.
        stream: Stream,
        /// The new process.
        child: Child,
    },
    /// In the new process.
    Child {
        /// Our end; the parent holds the other one.
        stream: Stream,
    },
}

/// Splits this process in two that share a stream pipe, as in the textbook.
///
/// Each side holds exactly one end of this pair: the other was closed before this returns.
///
/// **A child also inherits every other end that the parent holds**, those of its older siblings among
/// them, and while it does, dropping such an end in the parent does not reach the sibling. With more
/// than one child, let each drop the others' ends first, or end a direction with
/// [`shutdown`](Stream::shutdown), which no copy can keep open.
///
/// The child goes on
/// from here with a copy of everything in memory; let it end by `std::process::exit`, and mind that
/// text buffered for standard output before the fork is in both processes, and so is what an error
/// of this library left for the next receive.
///
/// What the child drops, its copies of other ends included, disturbs nothing in the parent: a drop
/// closes, and never shuts down what another process still uses.
///
/// # Errors
///
/// [`ForkRefused`] inside if this process has other threads: the child would not have them, and
/// would wait for ever for any lock they held, the allocator's included. `EAGAIN` at a limit on
/// processes, `EMFILE` or `ENFILE` without two free descriptors, `ENOMEM`. After an error there is
/// no child.
///
/// # Examples
///
/// Several workers: each drops what it inherited of the others.
///
/// ```no_run
/// use streampipe::{Child, Fork, Stream};
///
/// let mut workers: Vec<(Stream, Child)> = Vec::new();
/// for _ in 0..4 {
///     match streampipe::fork()? {
///         Fork::Parent { stream, child } => workers.push((stream, child)),
///         Fork::Child { stream } => {
///             drop(workers);
///             // ... work with `stream` until its end ...
/// #           drop(stream);
///             std::process::exit(0);
///         }
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// One:
///
/// ```no_run
/// // Not run: the test that would run it has threads.
/// use std::io::{Read, Write};
/// use streampipe::Fork;
///
/// match streampipe::fork()? {
///     Fork::Parent { mut stream, mut child } => {
///         stream.write_all(b"ping")?;
///         let status = child.wait()?;
///         assert!(status.success());
///     }
///     Fork::Child { mut stream } => {
///         let mut heard = [0; 4];
///         let code = i32::from(stream.read_exact(&mut heard).is_err());
///         std::process::exit(code);
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "fork(2)")]
pub fn fork() -> io::Result<Fork> {
    let rest = orphans::rest();
    let forked = sys::fork();
    drop(rest);
    match forked? {
        Some(fork) => Ok(fork),
        None => Err(ForkRefused { other_threads: sys::other_threads() }.into()),
    }
}

impl FromFork for Fork {
    type Prepared = (Stream, Stream);

    fn prepare() -> io::Result<(Stream, Stream)> {
        Stream::pair()
    }

    fn split((ours, theirs): (Stream, Stream), side: Side) -> io::Result<Self> {
        match side {
            Side::Parent(pid) => {
                drop(theirs);
                let mut ours = ours;
                let child = name_and_release(&ours, pid).inspect_err(|_| {
                    // While the child waits for the byte, the number is its own, even if `SIGCHLD` is ignored.
                    process::kill_by_id(pid);
                    let _ = process::reap_by_id(pid);
                })?;
                ours.end.watch(child.as_watch());
                Ok(Self::Parent { stream: ours, child })
            }
            Side::Child => {
                drop(ours);
                let mut go = [0; GO.len()];
                match theirs.end.read(&mut go, Waiting::Forever) {
                    Ok(1) => Ok(Self::Child { stream: theirs }),
                    // The parent died, or could not get a pidfd: `fork` returned an error there.
                    _ => sys::exit_now(127),
                }
            }
        }
    }
}

/// Opens the pidfd while the child cannot have ended yet, so that it names no other process even
/// if this one ignores `SIGCHLD`; then lets the child go.
fn name_and_release(ours: &Stream, pid: i32) -> io::Result<Child> {
    let pidfd = process::open(pid)?;
    match ours.end.write(&GO, Waiting::Forever) {
        Ok(_) => {}
        // Killed already; the pidfd is good, and `wait` will say by what.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(error),
    }
    Ok(Child::new(pid, pidfd))
}
