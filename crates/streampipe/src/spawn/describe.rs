//! The program's file, arguments and environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use streampipe_sys::spawn::Image;

use super::Command;

/// Where programs are looked for if `PATH` is not set: as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Variables that are about this process's own descriptors, and never the program's.
const OWN: [&str; 4] = [crate::inherit::VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

impl Command {
    /// Finds the file and puts together what `exec` needs; `more` variables win over the caller's.
    pub(super) fn image(&self, more: Vec<(&'static str, String)>) -> io::Result<Image> {
        let mut environment: BTreeMap<OsString, OsString> =
            if self.clears_environment { BTreeMap::new() } else { std::env::vars_os().collect() };
        for name in OWN {
            environment.remove(OsStr::new(name));
        }
        for (key, value) in &self.variables {
            match value {
                Some(value) => environment.insert(key.clone(), value.clone()),
                None => environment.remove(key),
            };
        }
        let more = more.into_iter().map(|(key, value)| (key.into(), value.into()));
        environment.extend(more);
        let name = self.arg0.as_ref().unwrap_or(&self.program);
        let args = std::iter::once(name).chain(&self.args);
        image(&self.program, args, &environment, self.directory.as_deref())
    }
}

/// Reads back from std's description what its getters let us: program, arguments, changes to the
/// environment, directory.
pub(crate) fn image_of(command: &std::process::Command) -> io::Result<Image> {
    let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => environment.insert(key.to_os_string(), value.to_os_string()),
            None => environment.remove(key),
        };
    }
    let program = command.get_program();
    let args = std::iter::once(program).chain(command.get_args());
    image(program, args, &environment, command.get_current_dir())
}

fn image(
    program: &OsStr,
    args: impl Iterator<Item = impl AsRef<OsStr>>,
    environment: &BTreeMap<OsString, OsString>,
    directory: Option<&Path>,
) -> io::Result<Image> {
    let search = environment.get(OsStr::new("PATH")).cloned();
    let search = search.unwrap_or_else(|| DEFAULT_PATH.into());
    Image::new(program, args, environment.iter(), directory, &search)
}
