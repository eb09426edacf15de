//! Watching two programs until both have ended: signals in, deadlines, exit statuses out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use streampipe_sys::arrivals::Arrivals;
use streampipe_sys::job::procfs::{self, Activity};
use streampipe_sys::open::numbers;
use streampipe_sys::signal::{Arrived, SignalFd};
use streampipe_sys::wait::{Interest, has_ended, pause, wait};
use streampipe_sys::{job, process};

use super::order::Order;
use super::sleep::Sleep;
use super::tree::Tree;
use super::wiring::JoinedFiles;
use super::{Ended, Ending, JoinError, Outcome, Side};

/// How long `SIGKILL` follows the `SIGTERM` of a timeout, unless said otherwise.
const USUAL_KILL_AFTER: Duration = Duration::from_secs(2);

/// How long a program may outlive `SIGKILL` before it is given up: it hangs in the kernel.
const GIVE_UP_AFTER_KILL: Duration = Duration::from_secs(10);

/// How often a dead program is looked at that a debugger has not let go of.
const TRACED_PAUSE: Duration = Duration::from_millis(10);

/// How often it is looked whether something is left of what the programs started, after a timeout.
const TREE_PAUSE: Duration = Duration::from_millis(10);

/// How many signals are passed on before the time is looked at; more are asked for then.
const SIGNALS_AT_ONCE: usize = 16;

/// The name of the signals' descriptor among the arrivals; the programs' are 0 and 1.
const SIGNALS: u64 = 2;

/// How long the programs may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Option<Duration>,
    pub(super) kill_after: Option<Duration>,
}

/// A started program.
pub(super) struct Member {
    pid: i32,
    pidfd: OwnedFd,
    started: Instant,
    /// What it slept in when the time was up.
    sleep: Sleep,
    was_late: bool,
    ended: Option<Ended>,
    is_reaped: bool,
}

/// How far the pressure on those that still run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pressure {
    None,
    /// `SIGTERM` was sent or passed on. `SIGKILL` follows at a time, or never.
    Terminated {
        kill_at: Option<Instant>,
    },
    Killed {
        give_up_at: Option<Instant>,
    },
}

pub(super) struct Watch<'signals> {
    arrivals: Arrivals,
    signals: Option<&'signals SignalFd>,
    limits: Limits,
    files: JoinedFiles,
    members: [Option<Member>; 2],
    tree: Tree,
    /// Signals that came before both programs had been started.
    early: Vec<i32>,
    /// Signals that were passed on.
    passed_on: Vec<i32>,
    /// The first signal that came when no program was left to get it.
    unhandled: Option<i32>,
    /// Whose end the kernel reported first.
    reported: Option<Side>,
    order: Order,
    pressure: Pressure,
    timeout_at: Option<Instant>,
    timed_out: bool,
}

impl Member {
    pub(super) fn new(pid: i32, pidfd: OwnedFd, started: Instant) -> Self {
        let (sleep, was_late, ended) = (Sleep::default(), false, None);
        Self { pid, pidfd, started, sleep, was_late, ended, is_reaped: false }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    fn end(&mut self, how: Ending) {
        let (pid, after) = (self.pid.unsigned_abs(), self.started.elapsed());
        let (asleep_in, asleep_on) = (self.sleep.call, self.sleep.file);
        self.ended = Some(Ended { pid, how, after, in_time: !self.was_late, asleep_in, asleep_on });
    }

    fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// A program that has ended in the meantime does not mind.
    fn signal(&self, signal: i32) {
        let _ = process::signal_child(self.pid.unsigned_abs(), self.pidfd.as_fd(), signal);
    }

    fn reap(&mut self) {
        if !self.is_reaped {
            self.is_reaped = job::reap(self.pid).is_ok();
        }
    }
}

impl<'signals> Watch<'signals> {
    pub(super) fn new(
        limits: Limits,
        files: JoinedFiles,
        signals: Option<&'signals SignalFd>,
    ) -> io::Result<Self> {
        let arrivals = Arrivals::new()?;
        if let Some(signals) = signals {
            arrivals.add(signals, SIGNALS)?;
        }
        Ok(Self {
            arrivals,
            signals,
            limits,
            files,
            members: [None, None],
            tree: Tree::default(),
            early: Vec::new(),
            passed_on: Vec::new(),
            unhandled: None,
            reported: None,
            order: Order::default(),
            pressure: Pressure::None,
            timeout_at: None,
            timed_out: false,
        })
    }

    /// The programs have a process group of their own, led by this one.
    pub(super) fn set_group(&mut self, leader: i32) {
        self.tree.set_group(leader);
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
                // Both have been started, and were over before anybody passed it on.
                signal if started == Side::Right && !self.is_for_programs(&arrived) => {
                    self.unhandled.get_or_insert(signal);
                }
                signal => {
                    self.early.push(signal);
                    self.note_passed_on(signal);
                }
            }
        }
        let (older, new) = self.early.split_at(already);
        if let Some(member) = &self.members[started as usize] {
            older.iter().for_each(|&signal| member.signal(signal));
        }
        for &signal in new {
            self.signal_programs(signal);
        }
        Ok(())
    }

    /// Whether a program was there to get the signal.
    fn is_for_programs(&self, arrived: &Arrived) -> bool {
        let is_alive = |member: &Member| !has_ended(member.pidfd.as_fd()).is_ok_and(|it| it);
        self.running().any(|member| is_key(arrived) || is_alive(member))
    }

    /// Ends what runs: `SIGTERM`, and `SIGKILL` when its time is up.
    pub(super) fn stop(&mut self) {
        self.terminate();
        if self.until_none_runs().is_err() {
            self.kill();
        }
    }

    /// What is left if even watching fails.
    fn kill(&mut self) {
        self.signal_all(numbers::SIGKILL);
        for member in self.members.iter_mut().flatten().filter(|member| !member.has_ended()) {
            let give_up_at = Instant::now().checked_add(GIVE_UP_AFTER_KILL);
            let _ = wait(member.pidfd.as_fd(), Interest::Readable, give_up_at);
            member.reap();
        }
    }

    /// Waits for both; the time runs from here.
    pub(super) fn until_both_ended(mut self) -> Result<Outcome, JoinError> {
        self.timeout_at =
            self.limits.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let Err(cause) = self.until_none_runs() {
            self.kill();
            return Err(JoinError::watching(cause));
        }
        let of = |side: Side| self.members[side as usize].as_ref().and_then(|it| it.ended);
        let (Some(left), Some(right)) = (of(Side::Left), of(Side::Right)) else {
            return Err(JoinError::watching(io::ErrorKind::NotFound.into()));
        };
        let first = self.order.first(&left, &right);
        let (killed_by, unhandled) = (self.killed_by(&[left.how, right.how]), self.unhandled);
        let sleep = |side: Side| self.members[side as usize].as_ref().map(|it| &it.sleep);
        let standstill =
            self.timed_out.then(|| Sleep::standstill(sleep(Side::Left)?, sleep(Side::Right)?));
        let (timed_out, standstill) = (self.timed_out, standstill.flatten());
        Ok(Outcome { left, right, first, timed_out, standstill, killed_by, unhandled })
    }

    /// A signal that was passed on, and killed a program.
    fn killed_by(&self, endings: &[Ending]) -> Option<i32> {
        let by = |signal: i32| {
            let ended_by = |ending: &Ending| match *ending {
                Ending::Signaled { signal: its, .. } => its == signal,
                _ => false,
            };
            endings.iter().any(ended_by)
        };
        let was_killed = matches!(self.pressure, Pressure::Killed { .. });
        let killed = |signal: i32| match signal {
            // That was the SIGTERM of the timeout.
            numbers::SIGTERM if self.timed_out => false,
            numbers::SIGTERM => by(signal) || (was_killed && by(numbers::SIGKILL)),
            _ => by(signal),
        };
        self.passed_on.iter().copied().find(|&signal| killed(signal))
    }

    fn until_none_runs(&mut self) -> io::Result<()> {
        while self.running().next().is_some() {
            match self.arrivals.next(self.deadline())? {
                Some(SIGNALS) => self.relay()?,
                Some(0) => self.look_at(Side::Left)?,
                Some(_) => self.look_at(Side::Right)?,
                None => {}
            }
            // Asked each time: a flood of signals, or a program that a debugger holds, must not keep
            // the time from being up.
            if self.running().next().is_some() {
                self.press();
            }
        }
        let rest = self.end_what_is_left();
        self.members.iter_mut().flatten().for_each(Member::reap);
        rest
    }

    /// After a timeout: waits for what the programs have started, until it must be killed.
    fn end_what_is_left(&mut self) -> io::Result<()> {
        let Pressure::Terminated { kill_at } = self.pressure else {
            return self.until_tree_is_gone();
        };
        if !self.timed_out {
            return Ok(());
        }
        while self.tree.is_alive(&self.pids()) == Some(true) && self.unhandled.is_none() {
            let now = Instant::now();
            if kill_at.is_some_and(|at| now >= at) {
                break;
            }
            let next = now + TREE_PAUSE;
            let next = kill_at.map_or(next, |at| at.min(next));
            if self.arrivals.next(Some(next))? == Some(SIGNALS) {
                self.relay()?;
            }
        }
        // Also if nobody can tell whether something is left.
        self.signal_all(numbers::SIGKILL);
        self.pressure =
            Pressure::Killed { give_up_at: Instant::now().checked_add(GIVE_UP_AFTER_KILL) };
        self.until_tree_is_gone()
    }

    /// What was killed leaves the kernel in its own time.
    fn until_tree_is_gone(&mut self) -> io::Result<()> {
        let Pressure::Killed { give_up_at } = self.pressure else { return Ok(()) };
        while self.tree.is_alive(&self.pids()) == Some(true) {
            if give_up_at.is_some_and(|at| Instant::now() >= at) {
                break;
            }
            pause(TREE_PAUSE, give_up_at)?;
        }
        Ok(())
    }

    /// The next time at which something must be done.
    fn deadline(&self) -> Option<Instant> {
        let timeout_at = self.timeout_at.filter(|_| !self.timed_out);
        match self.pressure {
            Pressure::None => timeout_at,
            Pressure::Terminated { kill_at } => [timeout_at, kill_at].into_iter().flatten().min(),
            Pressure::Killed { give_up_at } => give_up_at,
        }
    }

    /// Does what is due: ask, then kill, then give up.
    fn press(&mut self) {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| Instant::now() >= at);
        match self.pressure {
            Pressure::None | Pressure::Terminated { .. }
                if !self.timed_out && is_over(self.timeout_at) =>
            {
                self.timed_out = true;
                self.note_sleepers();
                self.terminate();
            }
            Pressure::Terminated { kill_at } if is_over(kill_at) => {
                self.signal_all(numbers::SIGKILL);
                let give_up_at = Instant::now().checked_add(GIVE_UP_AFTER_KILL);
                self.pressure = Pressure::Killed { give_up_at };
            }
            Pressure::Killed { give_up_at } if is_over(give_up_at) => {
                let running = self.members.iter_mut().flatten().filter(|it| !it.has_ended());
                running.for_each(|member| member.end(Ending::Unknown));
            }
            _ => {}
        }
    }

    fn terminate(&mut self) {
        self.tree.look(&self.pids_of_running());
        self.signal_all(numbers::SIGTERM);
        // One that is stopped could not act on it.
        self.signal_all(numbers::SIGCONT);
        self.kill_within(self.limits.kill_after.unwrap_or(USUAL_KILL_AFTER));
    }

    /// `SIGKILL` follows after this time, or earlier if that was settled before.
    fn kill_within(&mut self, time: Duration) {
        // A time beyond all clocks is none.
        let kill_at = Instant::now().checked_add(time);
        let already = match self.pressure {
            Pressure::None => None,
            Pressure::Terminated { kill_at } => kill_at,
            Pressure::Killed { .. } => return,
        };
        let kill_at = [already, kill_at].into_iter().flatten().min();
        self.pressure = Pressure::Terminated { kill_at };
    }

    /// Signals the programs, and what they started.
    fn signal_all(&mut self, signal: i32) {
        if signal == numbers::SIGKILL {
            self.tree.look(&self.pids_of_running());
        }
        let was_sent = self.signal_programs(signal);
        self.tree.signal_found(signal, was_sent);
    }

    /// Signals the programs, by their group if they have one; says whether the group was signalled.
    fn signal_programs(&self, signal: i32) -> bool {
        let mut unreaped = self.members.iter().flatten().filter(|member| !member.is_reaped);
        let was_sent = unreaped.any(|member| self.tree.signal_group(member.pid, signal));
        for member in self.running() {
            let left_it = || process::group_of(member.pid).ok() != self.tree.group();
            if !was_sent || left_it() {
                member.signal(signal);
            }
        }
        was_sent
    }

    /// Sees whether this program has ended, and if so, how.
    fn look_at(&mut self, side: Side) -> io::Result<()> {
        let Some(member) = &self.members[side as usize] else { return Ok(()) };
        let how = match job::ended_status(member.pid) {
            // Traced: dead, and not ours to reap until the tracer has done so.
            Ok(None) => return pause(TRACED_PAUSE, self.deadline()),
            Ok(Some(status)) => status.into(),
            Err(error) if error.raw_os_error() == Some(numbers::ECHILD) => Ending::Unknown,
            Err(error) => return Err(error),
        };
        self.arrivals.remove(&member.pidfd)?;
        self.note_end(side, how)?;
        let is_last = self.running().next().is_none();
        // The last one of a group keeps its number from meaning another group, until nothing is left
        // to be signalled. All others go at once: programs look for each other's numbers.
        let keeps = is_last && self.timed_out && self.tree.group().is_some();
        if let Some(member) = self.members[side as usize].as_mut().filter(|_| !keeps) {
            member.reap();
        }
        Ok(())
    }

    fn note_end(&mut self, side: Side, how: Ending) -> io::Result<()> {
        let other_is_over = self.is_over_or_exiting(side.other());
        if let Some(member) = &mut self.members[side as usize] {
            member.end(how);
        }
        // If both have ended, the signal knows which was first, even if it was not watched yet.
        self.relay()?;
        let reported = *self.reported.get_or_insert(side);
        if self.order == Order::Open {
            self.order = match other_is_over {
                Some(true) => Order::AtOnce(reported),
                Some(false) | None => Order::Told(side),
            };
        }
        Ok(())
    }

    /// Whether a program has ended or is on its way out; `None` if it runs as far as can be seen.
    fn is_over_or_exiting(&self, side: Side) -> Option<bool> {
        let Some(member) = &self.members[side as usize] else { return Some(false) };
        let seen = || has_ended(member.pidfd.as_fd()).is_ok_and(|ended| ended).then_some(true);
        procfs::is_exiting(member.pid).or_else(seen)
    }

    /// Of several deaths before anybody looks, the kernel keeps the news of the first.
    fn note_first(&mut self, ended_child: Option<i32>) {
        let is_it = |side: Side| {
            let member = self.members[side as usize].as_ref();
            member.is_some_and(|member| Some(member.pid) == ended_child)
        };
        if let Some(side) = [Side::Left, Side::Right].into_iter().find(|&side| is_it(side)) {
            self.reported.get_or_insert(side);
        }
    }

    /// Passes a signal on to both, unless the kernel sent it to their process group already.
    fn relay(&mut self) -> io::Result<()> {
        let Some(signals) = self.signals else { return Ok(()) };
        for _ in 0..SIGNALS_AT_ONCE {
            let Some(arrived) = signals.take()? else { break };
            let signal = arrived.signal;
            if signal == numbers::SIGCHLD {
                self.note_first(arrived.ended_child);
            } else if self.is_for_programs(&arrived) {
                self.note_passed_on(signal);
                self.pass_on(signal, is_key(&arrived))?;
            } else {
                self.unhandled.get_or_insert(signal);
            }
        }
        Ok(())
    }

    fn note_passed_on(&mut self, signal: i32) {
        if !self.passed_on.contains(&signal) {
            self.passed_on.push(signal);
        }
        if let (numbers::SIGTERM, Some(time)) = (signal, self.limits.kill_after) {
            self.kill_within(time);
        }
    }

    fn pass_on(&self, signal: i32, is_key: bool) -> io::Result<()> {
        if self.tree.group().is_some() {
            self.signal_programs(signal);
            return Ok(());
        }
        let own_group = process::group_of(0)?;
        for member in self.running() {
            let has_it = is_key && process::group_of(member.pid).is_ok_and(|it| it == own_group);
            if !has_it {
                member.signal(signal);
            }
        }
        Ok(())
    }

    /// What comes when both have ended is for this process alone.
    pub(super) fn note_late(outcome: &mut Outcome, signals: &SignalFd) {
        while let Ok(Some(arrived)) = signals.take() {
            if arrived.signal != numbers::SIGCHLD {
                outcome.unhandled.get_or_insert(arrived.signal);
            }
        }
    }

    /// At the timeout: what are they waiting for?
    fn note_sleepers(&mut self) {
        for member in self.members.iter_mut().flatten() {
            if member.has_ended() {
                continue;
            }
            let activity = procfs::activity(member.pid);
            member.was_late = activity != Activity::Ended;
            member.sleep = Sleep::of(activity, member.pid, &self.files);
        }
    }

    fn pids(&self) -> Vec<i32> {
        self.members.iter().flatten().map(|member| member.pid).collect()
    }

    fn pids_of_running(&self) -> Vec<i32> {
        self.running().map(|member| member.pid).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten().filter(|member| !member.has_ended())
    }
}

/// Whether a key at the terminal sent it, to the whole foreground group. A hang-up reaches only the leader
/// of the session.
fn is_key(arrived: &Arrived) -> bool {
    arrived.from_kernel && matches!(arrived.signal, numbers::SIGINT | numbers::SIGQUIT)
}
