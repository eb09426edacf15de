use std::process::Command;
use std::time::{Duration, Instant};

use streampipe_sys::job;
use streampipe_sys::open::numbers;
use streampipe_sys::signal::{self, SignalFd, SignalSet};
use streampipe_sys::spawn::{Group, Image, Setup, Step, spawn};

use super::watch::{Limits, Member, Watch};
use super::wiring::{Wires, placements};
use super::{JoinError, JoinStep, Outcome, Side, Wiring};
use crate::spawn::image_of;

/// The signals that [`Join::relay_signals`] passes on.
const PASSED_ON: [i32; 4] = [numbers::SIGINT, numbers::SIGTERM, numbers::SIGHUP, numbers::SIGQUIT];

/// Two programs, to be joined both ways: what one writes, the other reads.
///
/// This process is not in the data path, and keeps no copy of any end: the programs are connected
/// to each other alone, and each end of input is a true one. They inherit everything else: the
/// environment, the directory, standard error, and with [`Wiring::Fd`] standard input and output.
///
/// **Of a [`Command`] only the program, the arguments, the directory and the changes to single
/// variables are used.** Std does not let the rest be read back, so `uid`, `gid`, `groups`,
/// `process_group`, `env_clear`, `arg0`, `pre_exec`, `stdin`, `stdout` and `stderr` are **ignored**.
///
/// A timeout ends the two programs and what they have started, as far as that can be found: see
/// [`timeout`](Self::timeout).
///
/// If this process is killed, both programs get `SIGTERM` (a parent-death signal): the kernel sends
/// it when the *thread* that called [`run`](Self::run) ends, and not to programs that are set-uid,
/// nor to what the programs have started themselves.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use streampipe::join::{Ending, Join};
///
/// let mut left = Command::new("sh");
/// left.args(["-c", "echo banana; echo apple; exec 1>&-; read first; test $first = apple"]);
/// let outcome = Join::new(left, Command::new("sort")).run()?;
/// assert_eq!(outcome.left.how, Ending::Exited(0));
/// assert!(outcome.is_success());
/// # Ok::<(), streampipe::join::JoinError>(())
/// ```
#[derive(Debug)]
pub struct Join {
    left: Command,
    right: Command,
    wiring: Wiring,
    limits: Limits,
    relays_signals: bool,
}

impl Join {
    /// Two programs, joined by [`Wiring::Pipes`], without a timeout.
    ///
    /// Identity and other settings of the commands are ignored, see [above](Self).
    #[must_use]
    pub fn new(left: Command, right: Command) -> Self {
        Self {
            left,
            right,
            wiring: Wiring::default(),
            limits: Limits { timeout: None, kill_after: None },
            relays_signals: false,
        }
    }

    /// Chooses how they are connected.
    #[must_use]
    pub fn wiring(mut self, wiring: Wiring) -> Self {
        self.wiring = wiring;
        self
    }

    /// Bounds the whole: when the time is up, those that still run get `SIGTERM`, and after
    /// [`kill_after`](Self::kill_after) `SIGKILL`.
    ///
    /// What they have started gets the same signals, and is waited for as long:
    ///
    /// - all whose parents lead to one of the programs when the time is up (needs `/proc`);
    /// - with [`relay_signals`](Self::relay_signals), and in a process without a controlling terminal,
    ///   all of the programs' process group, which is then one of their own. Signals are passed on to the
    ///   whole group.
    ///
    /// At a terminal the programs stay in this process's group, so that they can read the terminal and its
    /// keys reach them; one of their processes whose parent has ended goes on then. A process of another
    /// user, and one that left the group and its parents (a daemon), goes on in any case.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// How long after `SIGTERM` `SIGKILL` follows.
    ///
    /// After the `SIGTERM` of a timeout 2 seconds if this is not said; after a `SIGTERM` that
    /// [`relay_signals`](Self::relay_signals) passed on, only if this is said.
    #[must_use]
    pub fn kill_after(mut self, time: Duration) -> Self {
        self.limits.kill_after = Some(time);
        self
    }

    /// Passes `SIGINT`, `SIGTERM`, `SIGHUP` and `SIGQUIT` on to both programs, and survives them.
    ///
    /// Those that this process ignores, as under `nohup`, stay ignored. Which one ended the programs is in
    /// [`Outcome::killed_by`].
    ///
    /// For a process whose whole job is the join: the signals, and `SIGCHLD`, are blocked in the
    /// calling thread while it runs, so no other thread may be there to take them, and an ignored `SIGCHLD` gets
    /// its default action back for the whole process. A signal from a key of the terminal, which
    /// the programs got already, is not passed on a second time.
    #[must_use]
    pub fn relay_signals(mut self) -> Self {
        self.relays_signals = true;
        self
    }

    /// Starts both programs, and waits until both have ended.
    ///
    /// # Errors
    ///
    /// A [`JoinError`] if one cannot be found or started. Both files are looked for before either is
    /// started; should a start fail after that, the other program gets `SIGTERM`, then `SIGKILL`,
    /// and is reaped.
    pub fn run(self) -> Result<Outcome, JoinError> {
        let left = self.find(Side::Left, &self.left)?;
        let right = self.find(Side::Right, &self.right)?;
        if !self.relays_signals {
            return self.run_images(&left, &right, None, None);
        }
        signal::stop_ignoring_child_deaths();
        let mut taken = vec![numbers::SIGCHLD];
        taken.extend(PASSED_ON.into_iter().filter(|&signal| !job::is_ignored(signal)));
        let taken = SignalSet::of(&taken);
        let blocked = taken.block_scoped();
        let mask = Some(blocked.before());
        let outcome = SignalFd::open(&taken).map_err(JoinError::preparing).and_then(|signals| {
            let mut outcome = self.run_images(&left, &right, Some(&signals), mask)?;
            Watch::note_late(&mut outcome, &signals);
            Ok(outcome)
        });
        drop(blocked);
        outcome
    }

    fn find(&self, side: Side, command: &Command) -> Result<Image, JoinError> {
        image_of(command).map_err(|error| JoinError {
            side: Some(side),
            step: JoinStep::Find,
            is_forbidden: error.step == Step::Permission,
            cause: error.source,
        })
    }

    fn run_images(
        &self,
        left: &Image,
        right: &Image,
        signals: Option<&SignalFd>,
        mask: Option<SignalSet>,
    ) -> Result<Outcome, JoinError> {
        let mut wires = Wires::make(self.wiring).map_err(JoinError::preparing)?;
        // One clock for both, so that their times can be compared.
        let started = Instant::now();
        let start = |side, image: &Image, own: Vec<_>, group| {
            let setup = Setup {
                placements: placements(&own),
                group,
                mask,
                death_signal: Some(numbers::SIGTERM),
                ..Setup::default()
            };
            match spawn(image, &setup) {
                Ok(spawned) => Ok(Member::new(spawned.pid, spawned.pidfd, started)),
                Err(error) => Err(JoinError {
                    side: Some(side),
                    step: error.step.into(),
                    is_forbidden: false,
                    cause: error.source,
                }),
            }
            // `own` closes here: this process keeps no copy of a started program's ends.
        };
        // Before anything runs, so that nothing runs if it fails.
        let files = wires.files().map_err(JoinError::preparing)?;
        let mut watch = Watch::new(self.limits, files, signals).map_err(JoinError::preparing)?;
        let own_group = self.limits.timeout.is_some() && signals.is_some() && !job::has_terminal();
        let group = if own_group { Group::Of(0) } else { Group::Inherited };
        let left = start(Side::Left, left, wires.take_left(), group)?;
        let leader = left.pid();
        if own_group {
            watch.set_group(leader);
        }
        watch.add(Side::Left, left)?;
        // The left one is not reaped before the right one has started, so the group exists.
        let group = if own_group { Group::Of(leader) } else { Group::Inherited };
        match start(Side::Right, right, wires.take_right(), group) {
            Ok(right) => watch.add(Side::Right, right)?,
            Err(error) => {
                watch.stop();
                return Err(error);
            }
        }
        watch.until_both_ended()
    }
}
