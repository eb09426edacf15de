use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::signal::{SignalSet, ignore_requests};

use super::control::{Answer, Control};
use super::deaths::Deaths;
use super::message::{Reply, Request};
use super::server::Server;
use super::worker::Worker;
use crate::{Fork, SeqPacket, Stream, fork};

/// How long a worker is waited for: the zygote does nothing else, so it was stopped, or worse.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A fork server: a child made while this process was small and had one thread, which forks workers
/// for it ever after.
///
/// A worker is a copy of the process as it was at the start: no `exec`, no loading, no set-up again.
/// However large this process has become and however many threads it has, a worker costs the fork of a
/// small one. Its end of a fresh stream pipe comes back over the zygote's own, with its pidfd.
///
/// - **The zygote dies with this process**, however that dies, and its workers then read the end. It
///   ends also when it is dropped here, and each [`Worker`] was waited for or dropped.
/// - **The zygote ignores signals** by which others ask a process for something, ^C and `SIGTERM` among
///   them: they usually reach this process, too, which decides what they mean. `SIGKILL` and `SIGSTOP` work. A
///   worker does with signals what this process did at the start, handlers included: one without them
///   dies of a ^C in its process group.
/// - Workers hold standard input, output and error, what was open at the start, their own end, and
///   nothing else of each other, of the zygote, or of other zygotes.
/// - Any thread may ask for workers; questions are answered one at a time.
///
/// Start it first, in `main`: what is open and allocated then is in every worker.
///
/// # Examples
///
/// ```no_run
/// // Not run: a doctest has threads. `examples/zygote_pool.rs` is a whole program.
/// use std::io::{Read, Write};
/// use streampipe::{Stream, Zygote};
///
/// fn work(mut stream: Stream) -> i32 {
///     let mut job = [0; 1];
///     while stream.read(&mut job).is_ok_and(|n| n > 0) {
///         if stream.write_all(&[job[0] * 2]).is_err() {
///             return 1;
///         }
///     }
///     0
/// }
///
/// let zygote = Zygote::start(work)?;
/// let mut worker = zygote.fork()?;
/// worker.stream().write_all(&[21])?;
/// let mut answer = [0; 1];
/// worker.stream().read_exact(&mut answer)?;
/// assert_eq!(answer, [42]);
/// assert!(worker.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "fork server")]
pub struct Zygote {
    control: Arc<Control>,
}

impl Zygote {
    /// Forks the zygote. In each worker, `work` runs with the worker's end, and returns its exit code.
    ///
    /// Standard output is flushed first, so that no text is written twice. A worker whose `work` panics
    /// ends with code 101.
    ///
    /// # Errors
    ///
    /// [`ForkRefused`](crate::ForkRefused) inside if this process has other threads; else as
    /// [`fork`](crate::fork()).
    pub fn start(work: impl FnOnce(Stream) -> i32) -> io::Result<Self> {
        Ok(start(work, None)?.0)
    }

    /// Forks a zygote that also reports the deaths of its workers.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_reporting(work: impl FnOnce(Stream) -> i32) -> io::Result<(Self, Deaths)> {
        let (zygote, news) = start(work, Some(SeqPacket::pair()?))?;
        Ok((zygote, Deaths::new(news.ok_or_else(mistaken)?)))
    }

    /// Has a worker forked, and returns it with our end of its pipe.
    ///
    /// # Errors
    ///
    /// `EAGAIN` at a limit on processes, `EMFILE` and the like, of the zygote or of this process: there
    /// is no worker then, or it reads its end at once. If the zygote is gone, `BrokenPipe`,
    /// `UnexpectedEof` or `ConnectionAborted`; `TimedOut` if it has not answered for 10 seconds (it may
    /// answer the next time); `PermissionDenied` in a fork of the process that started it.
    pub fn fork(&self) -> io::Result<Worker> {
        let Answer { reply, fds } =
            self.control.ask(Request::Fork, Some(Instant::now() + PATIENCE))?;
        match reply {
            Reply::Forked { serial, pid } => {
                let Ok([end, pidfd]) = <[OwnedFd; 2]>::try_from(fds) else {
                    // There was no room for both, and they are closed: the worker reads its end.
                    self.control.forget(serial);
                    return Err(io::Error::from_raw_os_error(numbers::EMFILE));
                };
                let stream = Stream::try_from(end).map_err(io::Error::from)?;
                Ok(Worker::new(Arc::clone(&self.control), stream, serial, pid, pidfd))
            }
            Reply::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Reply::Ended(_) | Reply::Runs | Reply::Unknown | Reply::Signalled => Err(mistaken()),
        }
    }

    /// Returns the zygote's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.control.zygote_id()
    }
}

fn start(
    work: impl FnOnce(Stream) -> i32,
    news: Option<(SeqPacket, SeqPacket)>,
) -> io::Result<(Zygote, Option<SeqPacket>)> {
    let parent = process::open_own()?;
    let _ = io::stdout().flush();
    // Until the zygote ignores it, a signal waits; it is discarded then.
    let blocked = SignalSet::all().set_scoped();
    match fork()? {
        Fork::Parent { stream, child } => {
            // `theirs` is dropped here, and `ours` there.
            let news = news.map(|(ours, _theirs)| ours);
            Ok((Zygote { control: Control::new(stream, child) }, news))
        }
        Fork::Child { stream } => {
            let dispositions = Box::new(ignore_requests());
            drop(blocked);
            let news = news.map(|(_ours, theirs)| theirs);
            Control::close_all();
            Server::new(stream, news, parent, dispositions).run(work)
        }
    }
}

fn mistaken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the zygote gave an answer to another question")
}
