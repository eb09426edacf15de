//! The program's file, arguments and environment.

use std::ffi::OsStr;
use std::io;

use streampipe_sys::spawn::{self, Image, Lookup, Step, Strings};

use super::Command;
use super::from_std::readable_part;

/// Where programs are looked for if `PATH` is not set: as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Bytes that most environments have room in.
const USUAL_ENVIRONMENT: usize = 8 << 10;

/// Variables that are about this process's own descriptors, and never the program's.
const OWN: [&str; 4] = [crate::inherit::VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

impl Command {
    /// Finds the file and puts together what `exec` needs; `more` variables win over the caller's.
    ///
    /// Where the child changes its identity, it looks for the file itself: what this process may see says nothing.
    pub(super) fn image(&self, more: &[(&str, String)]) -> Result<Image, spawn::SpawnError> {
        let lookup = if self.identity.changes() { Lookup::ByChild } else { Lookup::ByParent };
        self.image_without(&OWN, more, lookup)
    }

    /// The same, with these variables of this process's own kept from the program.
    fn image_without(
        &self,
        kept: &[&str],
        more: &[(&str, String)],
        lookup: Lookup,
    ) -> Result<Image, spawn::SpawnError> {
        let described = |source| spawn::SpawnError { step: Step::Describe, source };
        let environment = self.environment(kept, more).map_err(described)?;
        let search = match self.variables.get(OsStr::new("PATH")) {
            Some(changed) => changed.clone(),
            None if self.clears_environment => None,
            None => std::env::var_os("PATH"),
        };
        let search = search.unwrap_or_else(|| DEFAULT_PATH.into());
        let mut args = Strings::default();
        args.add(self.arg0.as_ref().unwrap_or(&self.program)).map_err(described)?;
        self.args.iter().try_for_each(|arg| args.add(arg)).map_err(described)?;
        let directory = self.directory.as_deref();
        Image::new(&self.program, args, environment, directory, &search, lookup)
    }

    fn environment(&self, kept: &[&str], more: &[(&str, String)]) -> io::Result<Strings> {
        let is_kept = |key: &OsStr| kept.iter().any(|own| key == *own);
        let mut environment = Strings::with_capacity(USUAL_ENVIRONMENT);
        if !self.clears_environment {
            for (key, value) in std::env::vars_os() {
                if !is_kept(&key) && !self.variables.contains_key(&key) {
                    environment.add_variable(&key, &value)?;
                }
            }
        }
        for (key, value) in &self.variables {
            if let Some(value) = value.as_ref().filter(|_| !more.iter().any(|it| key == it.0)) {
                environment.add_variable(key, value)?;
            }
        }
        for (key, value) in more {
            environment.add_variable(OsStr::new(key), OsStr::new(value))?;
        }
        Ok(environment)
    }
}

/// What `exec` needs of a program that std describes, as far as std lets it be read.
pub(crate) fn image_of(command: &std::process::Command) -> Result<Image, spawn::SpawnError> {
    // A joined program inherits all that this one has, the descriptors that these are about among it.
    readable_part(command).image_without(&[], &[], Lookup::ByParent)
}
