use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Command;

use streampipe_sys::spawn::Image;

/// Where programs are looked for if `PATH` is not set: as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Reads back from std's description what std lets us: program, arguments, changes to the
/// environment, directory.
pub(super) fn image_of(command: &Command) -> io::Result<Image> {
    let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => environment.insert(key.to_os_string(), value.to_os_string()),
            None => environment.remove(key),
        };
    }
    let search = environment.get(OsStr::new("PATH")).cloned();
    let search = search.unwrap_or_else(|| DEFAULT_PATH.into());
    let program = command.get_program();
    Image::new(
        program,
        std::iter::once(program).chain(command.get_args()),
        environment.iter(),
        command.get_current_dir(),
        &search,
    )
}
