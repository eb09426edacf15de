//! What std's own types let us read back.
//!
//! Std has getters for the program, the arguments, the changes to the environment and the directory.
//! For the rest there is only the text of `{:#?}`. That text is no promise of std's, so it decides
//! nothing on its own: what it shows and we cannot carry over is refused, and what it does not show
//! in the form known here is refused as well, never guessed.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::{error, fmt};

use super::Command;
use super::source::Source;
use super::stdio::{Kind, Stdio};

/// A command of std's with settings that std does not let be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableCommand {
    /// The settings, by the names of std's methods.
    pub settings: Vec<&'static str>,
}

impl fmt::Display for UnreadableCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "std::process::Command does not let {} be read back: set it on streampipe::Command",
            self.settings.join(", ")
        )
    }
}

impl error::Error for UnreadableCommand {}

impl From<UnreadableCommand> for io::Error {
    fn from(error: UnreadableCommand) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// The fields of the standard descriptors in std's text.
const STDIO: [&str; 3] = ["stdin", "stdout", "stderr"];

/// Names of fields in std's text, and of the methods that set them.
const REFUSED: &[(&str, &str)] = &[
    ("uid", "uid"),
    ("gid", "gid"),
    ("groups", "groups"),
    ("pgroup", "process_group"),
    ("chroot", "chroot"),
    ("setsid", "setsid"),
];

/// Carries over the program, the arguments, the environment (cleared or changed), the directory, and
/// standard descriptors that are inherited, null or piped.
///
/// Settings of std's that cannot be read back (identity, groups, standard descriptors of files, `arg0`)
/// are an error, not ignored; only `pre_exec` closures cannot be seen at all, and are not carried over.
impl TryFrom<&process::Command> for Command {
    type Error = UnreadableCommand;

    fn try_from(theirs: &process::Command) -> Result<Self, UnreadableCommand> {
        let text = format!("{theirs:#?}");
        let settings = unreadable(theirs, &text);
        if !settings.is_empty() {
            return Err(UnreadableCommand { settings });
        }
        let mut ours = readable_part(theirs);
        ours.clears_environment = clears_environment(&text);
        for (field, ours) in STDIO.iter().zip(&mut ours.stdio) {
            *ours = stdio_in(&text, field).and_then(Seen::simple);
        }
        Ok(ours)
    }
}

/// What std has getters for: program, arguments, changes to the environment, directory.
pub(super) fn readable_part(theirs: &process::Command) -> Command {
    let mut ours = Command::new(theirs.get_program());
    ours.args(theirs.get_args());
    for (key, value) in theirs.get_envs() {
        match value {
            Some(value) => ours.env(key, value),
            None => ours.env_remove(key),
        };
    }
    if let Some(directory) = theirs.get_current_dir() {
        ours.current_dir(directory);
    }
    ours
}

fn unreadable(command: &process::Command, text: &str) -> Vec<&'static str> {
    // A field of the outermost level: arguments, which may hold any text, are quoted and deeper.
    let has = |name: &str| {
        let start = format!("    {name}: Some(");
        text.lines().any(|line| line.starts_with(&start))
    };
    let refused = REFUSED.iter().filter(|(field, _)| has(field)).map(|&(_, method)| method);
    let files = STDIO
        .iter()
        .copied()
        .filter(|field| stdio_in(text, field).is_some_and(|seen| !matches!(seen, Seen::Simple(_))));
    refused.chain(files).chain(names_itself_otherwise(command, text).then_some("arg0")).collect()
}

/// Whether `arg0` was used: the first argument is not the program then.
fn names_itself_otherwise(command: &process::Command, text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| *line != "    args: [").skip(1);
    // Std keeps it as a C string, whose text differs from that of an `OsStr`.
    let Ok(own) = CString::new(command.get_program().as_bytes()) else { return true };
    let own = format!("        {own:?},");
    lines.next().is_some_and(|first| first != own && first != "    ],")
}

fn clears_environment(text: &str) -> bool {
    text.lines()
        .skip_while(|line| *line != "    env: CommandEnv {")
        .take_while(|line| *line != "    },")
        .any(|line| line == "        clear: true,")
}

/// What std's text says of a standard descriptor.
enum Seen {
    Simple(Stdio),
    /// A descriptor of this number, which std holds.
    File(i32),
    /// Not in a form known here.
    Unknown,
}

impl Seen {
    fn simple(self) -> Option<Stdio> {
        match self {
            Self::Simple(stdio) => Some(stdio),
            Self::File(_) | Self::Unknown => None,
        }
    }
}

fn stdio_in(text: &str, field: &str) -> Option<Seen> {
    let start = format!("    {field}: Some(");
    let mut lines = text.lines().skip_while(|line| *line != start).skip(1);
    Some(match lines.next()?.trim() {
        "MakePipe," => Seen::Simple(Stdio::piped()),
        "Null," => Seen::Simple(Stdio::null()),
        "Inherit," => Seen::Simple(Stdio::inherit()),
        "Fd(" | "StaticFd(" => lines
            .find_map(|line| line.trim().strip_prefix("fd: ")?.strip_suffix(","))
            .and_then(|digits| digits.parse().ok())
            .map_or(Seen::Unknown, Seen::File),
        _ => Seen::Unknown,
    })
}

/// Reads std's `Stdio` back.
pub(super) fn stdio(theirs: process::Stdio) -> Stdio {
    let mut command = process::Command::new("");
    command.stdin(theirs);
    let copy = match stdio_in(&format!("{command:#?}"), STDIO[0]) {
        Some(Seen::Simple(stdio)) => return stdio,
        // `command` holds the descriptor meanwhile; it is given, so the copy is this program's.
        Some(Seen::File(number)) => streampipe_sys::fd::duplicate_number(number),
        Some(Seen::Unknown) | None => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this std::process::Stdio cannot be read back: use streampipe::Stdio",
        )),
    };
    Stdio(Kind::From(copy.map_or_else(|error| Source::Lent(Err(error)), Source::Given)))
}
