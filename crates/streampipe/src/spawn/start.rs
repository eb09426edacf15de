use std::io;
use std::process::{ExitStatus, Output};

use streampipe_sys::signal::SignalSet;
use streampipe_sys::spawn::{Identity, Placement, Setup, SupplementaryGroups, spawn};

use super::plan::Plan;
use super::spawn_error::Failure;
use super::stdio::Kind;
use super::{Command, SpawnError, Stdio};
use crate::{Child, process};

impl Command {
    /// Starts the program.
    ///
    /// Standard input, output and error are the parent's, unless set.
    ///
    /// # Errors
    ///
    /// A [`SpawnError`]; there is no child then, no zombie, and no new descriptor.
    ///
    /// # Examples
    ///
    /// See [above](Self).
    pub fn spawn(&mut self) -> Result<Child, SpawnError> {
        process::sweep();
        match self.start() {
            Ok(child) => {
                self.was_spawned();
                Ok(child)
            }
            Err(failure) => Err(SpawnError::new(&self.program, failure)),
        }
    }

    fn start(&self) -> Result<Child, Failure> {
        let plan = Plan::make(self)?;
        let image = self.image(&plan.variables)?;
        let placements = plan.placements(self)?;
        let spawned = spawn(&image, &self.setup(placements))?;
        let child = Child::new(spawned.pid, spawned.pidfd);
        Ok(plan.finish(child, self))
    }

    /// Starts the program, waits until it has ended, and returns how it did.
    ///
    /// Our direction ends at once; what the child sends is read and discarded.
    ///
    /// # Errors
    ///
    /// A [`SpawnError`] inside; else those of [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(streampipe::Command::new("true").status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        child.discard_what_comes()?;
        child.wait()
    }

    /// Starts the program and collects what it writes to standard output and error.
    ///
    /// Standard input is `/dev/null`, unless set. As [`status`](Self::status) for the pipe, except that
    /// with [`on_stdio`](Self::on_stdio) what comes on it is the output.
    ///
    /// **Unlike std's**, it ends with the program: what a process in the background writes after that is
    /// lost, and cannot keep the caller waiting.
    ///
    /// # Errors
    ///
    /// A [`SpawnError`] inside; else those of [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = streampipe::Command::new("echo").arg("hello").output()?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output(&mut self) -> io::Result<Output> {
        let before = self.set_unset([Stdio::null(), Stdio::piped(), Stdio::piped()]);
        let spawned = self.spawn();
        for (stdio, was_set) in self.stdio.iter_mut().zip(before) {
            if !was_set {
                *stdio = None;
            }
        }
        spawned?.wait_with_output()
    }

    /// Sets those of standard input, output and error that nothing else is to be; returns which it left.
    fn set_unset(&mut self, defaults: [Stdio; 3]) -> [bool; 3] {
        let is_taken = [0, 1, 2].map(|number| self.takes(number));
        let mut was_set = [true; 3];
        let places = self.stdio.iter_mut().zip(defaults).zip(is_taken).zip(&mut was_set);
        for (((stdio, default), is_taken), was_set) in places {
            if stdio.is_none() && !is_taken {
                *stdio = Some(default);
                *was_set = false;
            }
        }
        was_set
    }

    /// Whether something else is to be the descriptor of this number.
    fn takes(&self, number: i32) -> bool {
        self.place.takes(number) || self.inherited.iter().any(|(_, target)| *target == number)
    }

    fn setup<'plan>(&self, placements: Vec<Placement<'plan>>) -> Setup<'plan> {
        Setup {
            placements,
            closes_others: true,
            group: self.group,
            limits: self.limits.clone(),
            identity: self.identity_as_std_does(),
            no_new_privileges: self.no_new_privileges,
            death_signal: self.death_signal,
            announces_id: self.listen_names.is_some(),
            mask: Some(SignalSet::of(&[])),
        }
    }

    /// The parent's supplementary groups do not go to another user, if the kernel lets them be dropped.
    fn identity_as_std_does(&self) -> Identity {
        let mut identity = self.identity.clone();
        if identity.uid.is_some() && identity.groups == SupplementaryGroups::Keep {
            identity.groups = SupplementaryGroups::ClearIfPermitted;
        }
        identity
    }

    fn was_spawned(&mut self) {
        for stdio in self.stdio.iter_mut().flatten() {
            if let Kind::From(source) = &mut stdio.0 {
                source.was_spawned();
            }
        }
        for (source, _) in &mut self.inherited {
            source.was_spawned();
        }
    }
}
