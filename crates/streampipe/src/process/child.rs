use std::io;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;

use super::child_handle::{ChildHandle, deadline_after};
use super::group_stop::GroupStop;
use super::output::Heard;
use super::stops::Stops;
use super::tree::kill_tree;
use super::{StopSchedule, output};
use crate::Stream;
use crate::end::Watch;

/// A child process, held by a pidfd: it can never come to mean another process.
///
/// From [`Command::spawn`](crate::Command::spawn) it has [our end](Self::stream) of the pipe; from
/// [`fork`](crate::fork()) the end stands beside it.
///
/// # Order of events
///
/// What the child had queued is read first, then the end, then [`wait`](Self::wait) tells the exit
/// status. A read or write of [`stream`](Self::stream) that waits when the child dies returns at once:
/// with the end, or, if another process keeps a copy of the child's end open, with
/// [`PeerGone`](crate::PeerGone).
///
/// # Dropping
///
/// Never blocks, and never leaves a zombie. Our end is closed first, which is the usual way to tell a
/// child to finish. A child that has ended is reaped. One that still runs goes on running: it is
/// neither killed nor waited for (that is [`stop`](Self::stop)), and a thread of this library reaps it
/// when it ends. That thread exists only while there are such children; [`fork`](crate::fork()) lets
/// it pause.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
///
/// let mut child = streampipe::Command::new("sh").args(["-c", "exec sort <&3 >&3"]).spawn()?;
/// child.stream().write_all(b"pear\napple\n")?;
/// child.stream().shutdown(Shutdown::Write)?;
/// let mut sorted = String::new();
/// child.stream().read_to_string(&mut sorted)?;
/// assert_eq!(sorted, "apple\npear\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A conversation by lines keeps one buffered reader, on a handle of its own:
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
///
/// let mut child = streampipe::Command::new("sh").args(["-c", "exec cat <&3 >&3"]).spawn()?;
/// let mut answers = BufReader::new(child.stream().try_clone()?).lines();
/// for question in ["one", "two"] {
///     writeln!(child.stream(), "{question}")?;
///     assert_eq!(answers.next().transpose()?.as_deref(), Some(question));
/// }
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "pidfd")]
pub struct Child {
    /// The writing end of its standard input, if [`Stdio::piped`](crate::Stdio::piped) was asked for.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, if [`Stdio::piped`](crate::Stdio::piped) was asked for.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, if [`Stdio::piped`](crate::Stdio::piped) was asked for.
    pub stderr: Option<ChildStderr>,
    /// What comes on the stream: the child's standard output, or something else.
    heard: Heard,
    /// Has the `Drop`, and comes last: the fields above are closed before the child is left to itself.
    handle: ChildHandle,
}

impl Child {
    pub(crate) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self {
            stdin: None,
            stdout: None,
            stderr: None,
            heard: Heard::IsDiscarded,
            handle: ChildHandle::new(pid, pidfd),
        }
    }

    pub(crate) fn set_stream(&mut self, stream: Stream) {
        self.handle.stream = Some(stream);
    }

    /// Says that what comes on the stream is the child's standard output.
    pub(crate) fn hears_output(&mut self) {
        self.heard = Heard::IsOutput;
    }

    /// What makes an end of ours notice this child's death.
    pub(crate) fn as_watch(&self) -> Watch {
        self.handle.as_watch()
    }

    /// Returns the process id; after the child was reaped, the system may give it to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.handle.id()
    }

    /// Borrows our end of the pipe to the child: its descriptor 3, or where
    /// [`Command`](crate::Command) put it; not its standard input and output, unless that said so.
    ///
    /// It can be shared by threads as `&Stream`, and [cloned](Stream::try_clone); none of its calls
    /// outlasts the child.
    ///
    /// # Panics
    ///
    /// If there is none: the child is one of [`fork`](crate::fork()), whose end stands beside it, or
    /// the end was [taken](Self::take_stream).
    ///
    /// # Examples
    ///
    /// See [above](Self).
    #[must_use]
    pub fn stream(&mut self) -> &mut Stream {
        self.handle.stream.as_mut().expect("the end of this child was taken, or stands beside it")
    }

    /// Takes our end of the pipe out of the child, for example to move it to another thread.
    ///
    /// From then on the caller closes it, and neither [`wait`](Self::wait) nor [`stop`](Self::stop)
    /// ends its direction. It goes on noticing the child's death.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = streampipe::Command::new("true").spawn()?;
    /// let stream = child.take_stream().expect("it was not taken yet");
    /// # drop(stream);
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_stream(&mut self) -> Option<Stream> {
        self.handle.stream.take()
    }

    /// Takes our end of the pipe out of the child as a channel for values: we send `A` and receive `B`.
    ///
    /// **Drop the channel before you [`wait`](Self::wait) for a child that reads to its end**: as after
    /// [`take_stream`](Self::take_stream), `wait` does not end its direction any more. The child adopts its end likewise:
    /// `Channel::<B, A>::from(streampipe::inherited()?)`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // Not run: it needs a program that speaks the protocol.
    /// let mut child = streampipe::Command::new("worker").spawn()?;
    /// let channel = child.take_channel::<String, u64>().expect("it was not taken yet");
    /// let length = channel.call("how long is this?".to_owned())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn take_channel<A, B>(&mut self) -> Option<crate::Channel<A, B>> {
        self.take_stream().map(crate::Channel::from)
    }

    /// Waits until the child has ended, and returns how it did.
    ///
    /// To watch a child while talking to it, use [`wait_timeout`](Self::wait_timeout) or the
    /// [pidfd](crate::os::linux::ChildExt::pidfd), for this first ends our
    /// direction ([`Shutdown::Write`]), and drops [`stdin`](Self::stdin), as std does: a child that reads to its end can finish. What the child sent can still be read afterwards, but
    /// a child that waits for room in the pipe does not end: read first. Again afterwards it returns
    /// the same.
    ///
    /// # Errors
    ///
    /// [`StatusUnavailable`](crate::StatusUnavailable) inside if the child has ended and its status is not to be had.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.end_our_direction();
        self.handle.wait()
    }

    /// Returns how the child ended, or `None` if it still runs. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.handle.try_wait()
    }

    /// Waits for at most so long; `None` if the child still runs then.
    ///
    /// Unlike [`wait`](Self::wait) it leaves our direction open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// Waits until that instant at most; `None` if the child still runs then.
    ///
    /// Unlike [`wait`](Self::wait) it leaves our direction open.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.handle.wait_deadline(deadline)
    }

    /// Reads standard output and error to their ends, waits, and returns all three.
    ///
    /// As [`wait`](Self::wait) it ends our directions first. What was [piped](crate::Stdio::piped) is
    /// returned; what comes on [`stream`](Self::stream) is returned as standard output if that is what
    /// it is ([`Command::on_stdio`](crate::Command::on_stdio)), and else read and discarded.
    ///
    /// **Unlike std's**, it ends with the child: what the child wrote is read, but a process it left
    /// behind that holds the pipes is not waited for, and what that writes later is lost. Whoever wants it
    /// takes `stdout` and reads to the end.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and those of reading.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.end_our_direction();
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let pipes = [stdout.map(OwnedFd::from), stderr.map(OwnedFd::from)];
        let stream = self.handle.stream.as_ref().map(|stream| &stream.end);
        let said = output::collect(pipes, stream, self.heard, self.pidfd())?;
        let [stdout, stderr] = said.pipes;
        let stdout = if self.heard == Heard::IsOutput { said.stream } else { stdout };
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Ends our direction, and reads on until the child has ended or closed its end.
    pub(crate) fn discard_what_comes(&mut self) -> io::Result<()> {
        self.end_our_direction();
        let stream = self.handle.stream.as_ref().map(|stream| &stream.end);
        output::collect([None, None], stream, Heard::IsDiscarded, self.pidfd())?;
        Ok(())
    }

    /// Kills the child with `SIGKILL`. One that has ended already is no error.
    ///
    /// It still has to be waited for, or dropped.
    ///
    /// # Errors
    ///
    /// `EPERM` if the child has taken another identity.
    #[doc(alias = "SIGKILL")]
    pub fn kill(&self) -> io::Result<()> {
        match self.signal(numbers::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(numbers::ESRCH) => Ok(()),
            done => done,
        }
    }

    /// Sends the child a signal, by its number; it can never reach another process.
    ///
    /// Where `pidfd_send_signal(2)` is refused, as by old container profiles, `kill(2)` sends it: the
    /// child's number is its own until it is reaped.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the child was reaped; `EINVAL` for no signal's number; `EPERM` if the child has
    /// taken another identity.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = streampipe::Command::new("sleep").arg("60").spawn()?;
    /// child.signal(15)?; // SIGTERM
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "pidfd_send_signal")]
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.handle.signal(number)
    }

    /// Ends the child, politely at first: `SIGTERM` after 1 second, `SIGKILL` after 2 more.
    ///
    /// That is, [`stop_with`](Self::stop_with) the default schedule.
    ///
    /// # Errors
    ///
    /// As [`stop_with`](Self::stop_with).
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        self.stop_with(StopSchedule::default())
    }

    /// Ends the child by steps, as far as it needs them, and reaps it.
    ///
    /// Ends our direction and waits; sends `SIGTERM` (and `SIGCONT`, for a child that was stopped) and
    /// waits; sends `SIGKILL` and reaps. What the child sends meanwhile is not read. Processes that the
    /// child has started are not signalled: that is [`stop_group_with`](Self::stop_group_with) and
    /// [`kill_tree`](Self::kill_tree).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), the child having ended; `EPERM` if it has taken another identity;
    /// `TimedOut` if it is stuck in the kernel 10 seconds after `SIGKILL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    /// use streampipe::StopSchedule;
    ///
    /// let mut polite = streampipe::Command::new("sh").args(["-c", "cat <&3 >/dev/null"]).spawn()?;
    /// assert!(polite.stop()?.success()); // The end of its input was enough.
    ///
    /// let mut deaf = streampipe::Command::new("sleep").arg("60").spawn()?;
    /// let schedule = StopSchedule::new().after_close(Duration::ZERO);
    /// assert_eq!(deaf.stop_with(schedule)?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop_with(&mut self, schedule: StopSchedule) -> io::Result<ExitStatus> {
        schedule.carry_out(self)
    }

    /// Sends a signal to every process of the process group that the child leads.
    ///
    /// The child leads a group if [`Command::process_group`](crate::Command::process_group)`(0)` or
    /// [`Command::session`](crate::Command::session) said so, or if it made itself a leader.
    /// **The rule**: this reaches the child, and what it and its descendants have started, except those that
    /// moved to another group or session (daemons, the jobs of an interactive shell) and those that have
    /// taken another identity. It never reaches the group of this process. It works until the child is
    /// reaped, also when the child has ended: so **signal the group before you [`wait`](Self::wait)**.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the child leads no group, or this process is a member of it; `ESRCH` if the child
    /// was reaped; `EPERM` if no member may be signalled; `EINVAL` for no signal's number.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut shell = streampipe::Command::new("sh");
    /// let mut child = shell.args(["-c", "sleep 60; true"]).process_group(0).spawn()?;
    /// child.signal_group(15)?; // The shell and the sleep.
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn signal_group(&self, number: i32) -> io::Result<()> {
        self.handle.signal_group(number)
    }

    /// Kills every process of the group that the child leads with `SIGKILL`.
    ///
    /// As [`signal_group`](Self::signal_group); the child still has to be waited for, or dropped.
    ///
    /// # Errors
    ///
    /// As [`signal_group`](Self::signal_group).
    #[doc(alias = "killpg")]
    pub fn kill_group(&self) -> io::Result<()> {
        self.signal_group(numbers::SIGKILL)
    }

    /// Ends the process group that the child leads, politely at first, and reaps the child.
    ///
    /// That is, [`stop_group_with`](Self::stop_group_with) the default schedule.
    ///
    /// # Errors
    ///
    /// As [`stop_group_with`](Self::stop_group_with).
    pub fn stop_group(&mut self) -> io::Result<ExitStatus> {
        self.stop_group_with(StopSchedule::default())
    }

    /// Ends the process group that the child leads by steps, as far as it needs them, and reaps the child.
    ///
    /// As [`stop_with`](Self::stop_with), but the signals go to all members, and each step waits until
    /// none is left. After `Ok`, nothing of the group is left: `SIGKILL` goes to it before the child is
    /// reaped, whatever was seen. [`signal_group`](Self::signal_group) states the rule of who is a member.
    ///
    /// Members other than the child are found in `/proc`. Where that does not tell, each step takes its
    /// full time. Where other code reaps the child, or `SIGCHLD` is ignored, members that outlive the child
    /// are not reached.
    ///
    /// # Errors
    ///
    /// As [`signal_group`](Self::signal_group), except that nothing is signalled if this process is a
    /// member; `TimedOut` if a member is stuck in the kernel 10 seconds after `SIGKILL`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    /// use streampipe::StopSchedule;
    ///
    /// let mut shell = streampipe::Command::new("sh");
    /// let mut child = shell.args(["-c", "sleep 60 & sleep 60"]).process_group(0).spawn()?;
    /// let schedule = StopSchedule::new().after_close(Duration::ZERO);
    /// assert_eq!(child.stop_group_with(schedule)?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stop_group_with(&mut self, schedule: StopSchedule) -> io::Result<ExitStatus> {
        // Asked first: a child without a group must not lose its input for nothing.
        self.signal_group(0)?;
        schedule.carry_out(&mut GroupStop::new(self))
    }

    /// Kills the child and everything that descends from it with `SIGKILL`.
    ///
    /// Descendants are those whose parents lead to the child, as `/proc` shows them, whatever group or session they
    /// have made for themselves, and the group that the child leads, if it leads one. All are stopped (`SIGSTOP`)
    /// before the first is killed, so that one that starts others faster than they are killed gets nowhere. The child
    /// still has to be waited for, or dropped.
    ///
    /// A process whose parent has ended before, as a daemon's has, is nobody's descendant, and is not reached unless
    /// it is in the group; so a child that has ended itself has its group alone.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the child was reaped, and `EPERM` if it has taken another identity: nothing is killed then. After the
    /// others, what could be reached is killed: `EPERM` if a descendant has taken another identity; `NotFound` if there is
    /// no `/proc` of this process's PID namespace; `TimedOut` if one is not stopped after some ten seconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{BufRead, BufReader};
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let script = "setsid sleep 60 & echo started >&3; wait";
    /// let mut child = streampipe::Command::new("sh").args(["-c", script]).spawn()?;
    /// BufReader::new(&*child.stream()).read_line(&mut String::new())?;
    /// child.kill_tree()?; // The sleep, too, in spite of its own session.
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill_tree(&self) -> io::Result<()> {
        kill_tree(&self.handle)
    }

    /// The child itself, for the stop of its group.
    pub(super) fn handle(&self) -> &ChildHandle {
        &self.handle
    }

    pub(super) fn handle_mut(&mut self) -> &mut ChildHandle {
        &mut self.handle
    }

    /// The pidfd: readable once the child has ended. See [`os::linux`](crate::os::linux).
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.handle.pidfd()
    }
}

impl Stops for Child {
    fn end_our_direction(&mut self) {
        drop(self.stdin.take());
        if let Some(stream) = &self.handle.stream {
            // A peer that is gone does not have to be told.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        Self::signal(self, number)
    }

    fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        Self::wait_timeout(self, timeout)
    }
}
