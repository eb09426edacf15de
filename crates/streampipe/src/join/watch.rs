//! Watching two programs until both have ended: signals in, deadlines, exit statuses out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use streampipe_sys::arrivals::Arrivals;
use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::signal::{Arrived, SignalFd};
use streampipe_sys::wait::{Interest, pause, wait};

use super::{AsleepIn, Ended, Ending, JoinError, Outcome, Side};

/// How long a program may outlive `SIGKILL` before it is given up: it hangs in the kernel.
const PATIENCE_AFTER_KILL: Duration = Duration::from_secs(10);

/// How often a dead program is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// How many signals are passed on before the time is looked at; more are asked for then.
const SIGNALS_AT_ONCE: usize = 16;

/// The name of the signals' descriptor among the arrivals; the programs' are 0 and 1.
const SIGNALS: u64 = 2;

/// How long the programs may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Option<Duration>,
    pub(super) kill_after: Duration,
}

/// A started program.
pub(super) struct Member {
    pid: i32,
    pidfd: OwnedFd,
    started: Instant,
    /// What it slept in when the time was up.
    asleep_in: Option<AsleepIn>,
    was_late: bool,
    ended: Option<Ended>,
}

/// How far the pressure on those that still run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    None,
    Terminated,
    Killed,
}

pub(super) struct Watch<'signals> {
    arrivals: Arrivals,
    signals: Option<&'signals SignalFd>,
    limits: Limits,
    members: [Option<Member>; 2],
    /// Signals that came before both programs had been started.
    early: Vec<i32>,
    first: Option<Side>,
    pressure: Pressure,
    deadline: Option<Instant>,
    timed_out: bool,
}

impl Member {
    pub(super) fn new(pid: i32, pidfd: OwnedFd, started: Instant) -> Self {
        Self { pid, pidfd, started, asleep_in: None, was_late: false, ended: None }
    }

    fn end(&mut self, how: Ending) {
        let (pid, after) = (self.pid.unsigned_abs(), self.started.elapsed());
        let in_time = !self.was_late;
        self.ended = Some(Ended { pid, how, after, in_time, asleep_in: self.asleep_in });
    }

    fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// A program that has ended in the meantime does not mind.
    fn signal(&self, signal: i32) {
        let _ = process::signal_child(self.pid.unsigned_abs(), self.pidfd.as_fd(), signal);
    }
}

impl<'signals> Watch<'signals> {
    pub(super) fn new(limits: Limits, signals: Option<&'signals SignalFd>) -> io::Result<Self> {
        let arrivals = Arrivals::new()?;
        if let Some(signals) = signals {
            arrivals.add(signals, SIGNALS)?;
        }
        Ok(Self {
            arrivals,
            signals,
            limits,
            members: [None, None],
            early: Vec::new(),
            first: None,
            pressure: Pressure::None,
            deadline: None,
            timed_out: false,
        })
    }

    /// Watches this program; if it cannot, kills all there are.
    pub(super) fn add(&mut self, side: Side, member: Member) -> Result<(), JoinError> {
        let added = self.arrivals.add(&member.pidfd, side as u64);
        self.members[side as usize] = Some(member);
        added.and_then(|()| self.relay_early(side)).map_err(|cause| {
            self.kill();
            JoinError::watching(cause)
        })
    }

    /// Passes on what came while the programs were being started: the one that has just started
    /// has seen none of it, wherever it came from. Rather twice in this moment than not at all.
    fn relay_early(&mut self, started: Side) -> io::Result<()> {
        let Some(signals) = self.signals else { return Ok(()) };
        let already = self.early.len();
        while let Some(arrived) = signals.take()? {
            match arrived.signal {
                numbers::SIGCHLD => self.note_first(arrived.ended_child),
                signal => self.early.push(signal),
            }
        }
        for side in [started, started.other()] {
            let news = if side == started { &self.early[..] } else { &self.early[already..] };
            if let Some(member) = self.members[side as usize].as_ref().filter(|it| !it.has_ended())
            {
                news.iter().for_each(|&signal| member.signal(signal));
            }
        }
        Ok(())
    }

    /// Ends what runs: `SIGTERM`, and `SIGKILL` when its time is up.
    pub(super) fn stop(&mut self) {
        self.press();
        if self.until_none_runs().is_err() {
            self.kill();
        }
    }

    /// What is left if even watching fails.
    fn kill(&self) {
        for member in self.running() {
            member.signal(numbers::SIGKILL);
            let patience = Instant::now().checked_add(PATIENCE_AFTER_KILL);
            let _ = wait(member.pidfd.as_fd(), Interest::Readable, patience);
            let _ = process::try_wait(member.pidfd.as_fd());
        }
    }

    /// Waits for both; the time runs from here.
    pub(super) fn until_both_ended(mut self) -> Result<Outcome, JoinError> {
        self.deadline = self.limits.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Err(cause) = self.until_none_runs() {
            self.kill();
            return Err(JoinError::watching(cause));
        }
        let [Some(left), Some(right)] = self.members else {
            return Err(JoinError::watching(io::ErrorKind::NotFound.into()));
        };
        let (Some(left), Some(right)) = (left.ended, right.ended) else {
            return Err(JoinError::watching(io::ErrorKind::NotFound.into()));
        };
        let first = self.first.unwrap_or(Side::Left);
        Ok(Outcome { left, right, first, timed_out: self.timed_out })
    }

    fn until_none_runs(&mut self) -> io::Result<()> {
        while self.running().next().is_some() {
            match self.arrivals.next(self.deadline)? {
                Some(SIGNALS) => self.relay()?,
                Some(0) => self.reap(Side::Left)?,
                Some(_) => self.reap(Side::Right)?,
                None => {}
            }
            // Asked each time: a flood of signals, or a program that a debugger holds, must not keep
            // the time from being up.
            let is_late = self.deadline.is_some_and(|at| Instant::now() >= at);
            if is_late && self.running().next().is_some() {
                self.timed_out |= self.pressure == Pressure::None;
                self.note_sleepers();
                self.press();
            }
        }
        Ok(())
    }

    fn reap(&mut self, side: Side) -> io::Result<()> {
        let Some(member) = &mut self.members[side as usize] else { return Ok(()) };
        let how = match process::try_wait(member.pidfd.as_fd()) {
            // Traced: dead, and not ours to reap until the tracer has done so.
            Ok(None) => return pause(TRACED_PAUSE, self.deadline),
            Ok(Some(status)) => status.into(),
            Err(error) if error.raw_os_error() == Some(numbers::ECHILD) => Ending::Unknown,
            Err(error) => return Err(error),
        };
        member.end(how);
        self.arrivals.remove(&member.pidfd)?;
        // If both have ended, the signal knows which was first, even if it was not watched yet.
        self.relay()?;
        self.first.get_or_insert(side);
        Ok(())
    }

    /// Of several deaths before anybody looks, the kernel keeps the news of the first.
    fn note_first(&mut self, ended_child: Option<i32>) {
        let is_it = |side: Side| {
            let member = self.members[side as usize].as_ref();
            member.is_some_and(|member| Some(member.pid) == ended_child)
        };
        if let Some(side) = [Side::Left, Side::Right].into_iter().find(|&side| is_it(side)) {
            self.first.get_or_insert(side);
        }
    }

    /// Passes a signal on to both, unless the kernel sent it to their process group already.
    fn relay(&mut self) -> io::Result<()> {
        let Some(signals) = self.signals else { return Ok(()) };
        for _ in 0..SIGNALS_AT_ONCE {
            let Some(Arrived { signal, from_kernel, ended_child }) = signals.take()? else { break };
            if signal == numbers::SIGCHLD {
                self.note_first(ended_child);
                continue;
            }
            let own_group = process::group_of(0)?;
            for member in self.running() {
                // A key at the terminal reaches the whole foreground group; a hang-up only the
                // leader of the session.
                let has_it = signal == numbers::SIGINT
                    && from_kernel
                    && process::group_of(member.pid).is_ok_and(|it| it == own_group);
                if !has_it {
                    member.signal(signal);
                }
            }
        }
        Ok(())
    }

    /// The next stage: ask, then kill, then give up.
    fn press(&mut self) {
        let patience = match self.pressure {
            Pressure::None => {
                self.running().for_each(|member| {
                    member.signal(numbers::SIGTERM);
                    // One that is stopped could not act on it.
                    member.signal(numbers::SIGCONT);
                });
                self.pressure = Pressure::Terminated;
                self.limits.kill_after
            }
            Pressure::Terminated => {
                self.running().for_each(|member| member.signal(numbers::SIGKILL));
                self.pressure = Pressure::Killed;
                PATIENCE_AFTER_KILL
            }
            Pressure::Killed => {
                for member in self.members.iter_mut().flatten() {
                    if !member.has_ended() {
                        member.end(Ending::Unknown);
                    }
                }
                return;
            }
        };
        // A patience beyond all clocks is none.
        self.deadline = Instant::now().checked_add(patience);
    }

    /// At the timeout: what are they waiting for?
    fn note_sleepers(&mut self) {
        if self.pressure != Pressure::None {
            return;
        }
        for member in self.members.iter_mut().flatten() {
            if !member.has_ended() {
                member.was_late = true;
                member.asleep_in = process::asleep_in(member.pid).map(Into::into);
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten().filter(|member| !member.has_ended())
    }
}
