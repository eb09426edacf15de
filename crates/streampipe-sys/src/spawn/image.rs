use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{SpawnError, Step, Strings};

/// What to run, complete before the clone.
#[derive(Debug)]
pub struct Image {
    pub(super) lookup: Lookup,
    /// Whether the paths come from a search, so that one that is not there says nothing of the others.
    pub(super) is_searched: bool,
    pub(super) paths: Vec<CString>,
    pub(super) args: Strings,
    pub(super) environment: Strings,
    pub(super) directory: Option<CString>,
}

/// Who looks whether the program's file is there and may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This process, before the start.
    ByParent,
    /// The child, after it has changed its identity: it may see files that this process may not, and
    /// the other way round.
    ByChild,
}

impl Image {
    /// Describes a program: its name as typed, its arguments (its name for itself first), and its
    /// environment.
    ///
    /// A name without a slash is looked for in `search`, a list as in `PATH`.
    ///
    /// # Errors
    ///
    /// [`Step::Describe`], `InvalidInput`, for a string with a NUL in it. If this process looks,
    /// [`Step::Find`], `ENOENT`, if no such file exists, or what else the kernel says of its path; and
    /// [`Step::Permission`], `EACCES`, if one exists that may not be executed.
    pub fn new(
        program: &OsStr,
        args: Strings,
        environment: Strings,
        directory: Option<&Path>,
        search: &OsStr,
        lookup: Lookup,
    ) -> Result<Self, SpawnError> {
        let described = |source| SpawnError { step: Step::Describe, source };
        // A NUL is told as one, and not as a file that is not there.
        string(program).map_err(described)?;
        let directory_string = directory.map(|at| string(at.as_os_str())).transpose();
        let directory_string = directory_string.map_err(described)?;
        let is_searched = !program.as_bytes().contains(&b'/');
        let names = names(program, search, is_searched);
        let names = match lookup {
            Lookup::ByParent => found(names, directory, is_searched)?,
            Lookup::ByChild => names,
        };
        let paths = names.iter().map(|name| string(name.as_os_str())).collect::<io::Result<_>>();
        let paths = paths.map_err(described)?;
        Ok(Self { lookup, is_searched, paths, args, environment, directory: directory_string })
    }
}

fn string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in an argument"))
}

/// The files that `execvp` would try.
fn names(program: &OsStr, search: &OsStr, is_searched: bool) -> Vec<PathBuf> {
    if !is_searched {
        vec![Path::new(program).to_path_buf()]
    } else if program.is_empty() {
        Vec::new()
    } else {
        let entries = search.as_bytes().split(|&byte| byte == b':');
        entries.map(|entry| Path::new(OsStr::from_bytes(entry)).join(program)).collect()
    }
}

/// Those among them that are there and have a permission to be executed.
fn found(
    names: Vec<PathBuf>,
    directory: Option<&Path>,
    is_searched: bool,
) -> Result<Vec<PathBuf>, SpawnError> {
    let is_relative = |name: &PathBuf| !is_searched && name.is_relative();
    if directory.is_some_and(|at| names.iter().any(is_relative) && !at.is_dir()) {
        // What is missing is the directory: the child will say so.
        return Ok(names);
    }
    let mut verdict = (Step::Find, libc::ENOENT);
    let mut found = Vec::new();
    for name in names {
        // The child changes its directory first, so that is what a relative name is relative to.
        let seen_from_here = directory.map_or_else(|| name.clone(), |at| at.join(&name));
        match std::fs::metadata(&seen_from_here) {
            Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => {
                found.push(name);
            }
            Ok(_) => verdict = (Step::Permission, libc::EACCES),
            // A directory of the search list that this user may not look into is not the place
            // where the program is: other users' lists have such directories.
            Err(error) => match error.raw_os_error() {
                Some(errno) if !is_searched || errno == libc::ENAMETOOLONG => {
                    verdict = (Step::Find, errno);
                }
                Some(_) | None => {}
            },
        }
    }
    if found.is_empty() {
        let (step, errno) = verdict;
        return Err(SpawnError { step, source: io::Error::from_raw_os_error(errno) });
    }
    Ok(found)
}
