use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Strings;

/// What to run, complete before the clone.
#[derive(Debug)]
pub struct Image {
    pub(super) paths: Vec<CString>,
    pub(super) args: Strings,
    pub(super) environment: Strings,
    pub(super) directory: Option<CString>,
}

impl Image {
    /// Describes a program: its name as typed, its arguments (its name for itself first), and its
    /// environment.
    ///
    /// A name without a slash is looked for in `search`, a list as in `PATH`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string with a NUL in it; `ENOENT` if no such file exists; `EACCES`, or
    /// what else the kernel says of its path, if one exists that cannot be executed.
    pub fn new(
        program: &OsStr,
        args: Strings,
        environment: Strings,
        directory: Option<&Path>,
        search: &OsStr,
    ) -> io::Result<Self> {
        let directory_string = directory.map(|at| string(at.as_os_str())).transpose()?;
        let paths = candidates(program, search, directory)?;
        Ok(Self { paths, args, environment, directory: directory_string })
    }
}

fn string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in an argument"))
}

/// The files that `execvp` would try, those that cannot be executed left out.
fn candidates(
    program: &OsStr,
    search: &OsStr,
    directory: Option<&Path>,
) -> io::Result<Vec<CString>> {
    // A NUL is told as one, and not as a file that is not there.
    string(program)?;
    let mut verdict = libc::ENOENT;
    let mut found = Vec::new();
    let is_a_path = program.as_bytes().contains(&b'/');
    let names: Vec<_> = if is_a_path {
        vec![Path::new(program).to_path_buf()]
    } else if program.is_empty() {
        Vec::new()
    } else {
        let entries = search.as_bytes().split(|&byte| byte == b':');
        entries.map(|entry| Path::new(OsStr::from_bytes(entry)).join(program)).collect()
    };
    if directory.is_some_and(|at| is_a_path && !program_is_absolute(program) && !at.is_dir()) {
        // What is missing is the directory: the child will say so.
        return Ok(vec![string(program)?]);
    }
    for name in names {
        // The child changes its directory first, so that is what a relative name is relative to.
        let seen_from_here = directory.map_or_else(|| name.clone(), |at| at.join(&name));
        match std::fs::metadata(&seen_from_here) {
            Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => {
                found.push(string(name.as_os_str())?);
            }
            Ok(_) => verdict = libc::EACCES,
            // A directory of the search list that this user may not look into is not the place
            // where the program is: other users' lists have such directories.
            Err(error) => match error.raw_os_error() {
                Some(errno) if is_a_path || errno == libc::ENAMETOOLONG => verdict = errno,
                Some(_) | None => {}
            },
        }
    }
    if found.is_empty() {
        return Err(io::Error::from_raw_os_error(verdict));
    }
    Ok(found)
}

fn program_is_absolute(program: &OsStr) -> bool {
    program.as_bytes().first() == Some(&b'/')
}
