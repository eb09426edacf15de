//! Where this run's reports and errors go.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::time::Instant;

use clap::CommandFactory;
use streampipe::join::report_fd;

use crate::args::Args;
use crate::exit_code::Code;
use crate::messages::{self, Place};
use crate::report;

/// What the arguments say about where to report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `--json`, with an empty name, or `--json=FILE`.
    pub(crate) json: Option<OsString>,
    pub(crate) report_fd: Option<i32>,
}

/// Where words go, and where JSON does, if it was asked for.
#[derive(Debug)]
pub(crate) struct Places {
    words: Option<Place>,
    json: Option<Place>,
    /// Until when something that nobody takes is kept; for ever if `None`.
    deadline: Option<Instant>,
    /// Whether a program had the chance to write there.
    shared: bool,
    /// Whether something that was asked for could not be written where it was to go.
    failed: bool,
}

impl Asked {
    /// Looks through arguments that are wrong somewhere, as far as they can be understood.
    pub(crate) fn in_wrong_arguments(args: impl IntoIterator<Item = OsString>) -> Self {
        let mut asked = Self::default();
        let mut args = args.into_iter().skip(2);
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str() else {
                asked.json = json_file(&arg).or(asked.json);
                continue;
            };
            match text.split_once('=') {
                // Where the programs begin, options are theirs.
                _ if text == "--" || !text.starts_with('-') => break,
                Some(("--report-fd", number)) => asked.report_fd = number.parse().ok(),
                Some(("--json", file)) => asked.json = Some(file.into()),
                None if text == "--json" => asked.json = Some(OsString::new()),
                None if text == "--report-fd" => {
                    asked.report_fd = args.next().and_then(|it| it.to_str()?.parse().ok());
                }
                None if takes_a_value(text) => drop(args.next()),
                _ => {}
            }
        }
        asked
    }

    /// Where to say that these places cannot be opened.
    pub(crate) fn instead(&self) -> Places {
        let json = self.json.as_ref().filter(|name| name.is_empty());
        let (words, json) = match json {
            Some(_) => (None, Some(Place::StandardError)),
            None => (Some(Place::StandardError), None),
        };
        Places { words, json, deadline: None, shared: false, failed: false }
    }

    /// Opens what is to be written to.
    ///
    /// # Errors
    ///
    /// Words for people: what cannot be written to, and why.
    pub(crate) fn open(&self) -> Result<Places, String> {
        let numbered = self.report_fd.map(|number| {
            let file =
                report_fd(number).map_err(|error| format!("--report-fd {number}: {error}"))?;
            Ok::<_, String>(Place::Named(file, format!("descriptor {number}")))
        });
        let numbered = numbered.transpose()?.unwrap_or(Place::StandardError);
        let (words, json) = match &self.json {
            None => (Some(numbered), None),
            Some(name) if name.is_empty() => (None, Some(numbered)),
            Some(name) => {
                let shown = messages::printable(&name.to_string_lossy());
                let file = create(name).map_err(|error| format!("--json={shown}: {error}"))?;
                (Some(numbered), Some(Place::Named(file, shown)))
            }
        };
        Ok(Places { words, json, deadline: None, shared: false, failed: false })
    }
}

impl Places {
    /// What nobody takes is given up at this time.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Programs have run, and may have left a line unfinished.
    pub(crate) fn set_shared(&mut self) {
        self.shared = true;
    }

    /// Whether there is a place for JSON.
    pub(crate) fn want_json(&self) -> bool {
        self.json.is_some()
    }

    /// Whether there is a place for words, which JSON may have taken.
    pub(crate) fn want_words(&self) -> bool {
        self.words.is_some()
    }

    /// Writes lines for people.
    pub(crate) fn words(&mut self, text: &str) {
        if let Some(place) = &self.words {
            let written = self.write(place, text);
            self.note(written);
        }
    }

    /// Writes one line for machines.
    pub(crate) fn json(&mut self, line: &str) {
        if let Some(place) = &self.json {
            let written = self.write(place, &format!("{line}\n"));
            self.note(written);
        }
    }

    /// A failure of the command itself, in words and for machines.
    pub(crate) fn failure(&mut self, text: &str, hint: Option<&str>, code: Code) {
        self.json(&report::json_failure(text, hint, code));
        self.words(&messages::failure(text, hint));
    }

    /// The code to end with: what was asked for and could not be written is no success.
    pub(crate) fn code(&self, code: Code) -> Code {
        if self.failed && code == Code::Success { Code::OwnFailure } else { code }
    }

    fn write(&self, place: &Place, text: &str) -> Result<(), String> {
        let line_end = if self.shared { place.line_end() } else { "" };
        let written = place.write(format!("{line_end}{text}"), self.deadline);
        match (place, written) {
            (Place::Named(_, name), Err(error)) => Err(format!("{name}: {error}")),
            // Nobody may be there to read standard error: that is no failure.
            _ => Ok(()),
        }
    }

    fn note(&mut self, written: Result<(), String>) {
        if let Err(what) = written {
            self.failed = true;
            let text = messages::spoken(&format!("the report could not be written: {what}"));
            let _ = self.write(&Place::StandardError, &text);
        }
    }
}

/// Creates or empties the file. A named pipe that nobody reads is an error, and never a wait.
fn create(name: &OsStr) -> io::Result<File> {
    streampipe::join::report_file(name.as_ref())
}

/// The file of a `--json=FILE` whose name is no text.
fn json_file(arg: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;
    let file = arg.as_bytes().strip_prefix(b"--json=")?;
    Some(OsStr::from_bytes(file).to_owned())
}

/// Whether the word behind this option belongs to it.
fn takes_a_value(option: &str) -> bool {
    let command = Args::command();
    let Some(join) = command.find_subcommand("join") else { return false };
    let mut options = join.get_opts();
    options.any(|it| {
        it.get_long().is_some_and(|long| option.strip_prefix("--") == Some(long))
            && !it.is_require_equals_set()
            && it.get_action().takes_values()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Asked {
        let words = ["streampipe", "join"].into_iter().chain(words.split(' '));
        Asked::in_wrong_arguments(words.map(OsString::from))
    }

    fn json(file: &str) -> Asked {
        Asked { json: Some(file.into()), report_fd: None }
    }

    #[test]
    fn json_is_found_beside_what_is_wrong() {
        assert_eq!(asked("--json --bogus -- a :: b"), json(""));
        assert_eq!(asked("--bogus --json=file a :: b"), json("file"));
        assert_eq!(asked("--fd x --json"), json(""));
        let both = Asked { json: Some(OsString::new()), report_fd: Some(5) };
        assert_eq!(asked("--report-fd 5 --json --fd 2"), both);
        assert_eq!(asked("--json --report-fd=5"), both);
    }

    #[test]
    fn options_of_the_programs_ask_for_nothing() {
        assert_eq!(asked("-- a --json"), Asked::default());
        assert_eq!(asked("a --json :: b"), Asked::default());
        assert_eq!(asked("--exit --json"), Asked::default());
        assert_eq!(asked("--timeout 1 a --json=file"), Asked::default());
    }
}
