//! `streampipe join`.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use streampipe::join::{Join, JoinError, JoinStep, Outcome, Wiring, survive_file_limit};

use crate::args::JoinOptions;
use crate::exit_code::Code;
use crate::messages::{self, REPORT_TIME, printable};
use crate::places::{Asked, Places};
use crate::report::{self, Names};

pub(crate) fn run(options: &JoinOptions) -> Code {
    let mut places = match places(options) {
        Ok(places) => places,
        Err(code) => return code,
    };
    let Some((left, right)) = split(&options.programs) else {
        let usage = "streampipe join -- PROGRAM [ARG]... :: PROGRAM [ARG]...";
        let text = "join takes two programs with one :: between them";
        places.failure(text, Some(usage), Code::OwnFailure);
        return Code::OwnFailure;
    };
    let names = Names::of(left, right);
    let mut join = Join::new(command(left), command(right)).wiring(wiring(options)).relay_signals();
    if let Some(time) = options.kill_after {
        join = join.kill_after(time);
    }
    if let Some(timeout) = options.timeout {
        join = join.timeout(timeout);
    }
    let started = Instant::now();
    let run = join.run();
    survive_file_limit();
    places.set_deadline(deadline(options, started, &run));
    match run {
        Ok(outcome) => {
            places.set_shared();
            report_outcome(&outcome, &names, options, &mut places)
        }
        Err(error) => report_error(&error, &names, &mut places),
    }
}

/// Until when a report is kept for somebody to take it, where the command's time is bounded: by a
/// timeout, or by a signal that was to end it.
fn deadline(
    options: &JoinOptions,
    started: Instant,
    run: &Result<Outcome, JoinError>,
) -> Option<Instant> {
    let was_signalled =
        run.as_ref().is_ok_and(|it| it.killed_by.is_some() || it.unhandled.is_some());
    let timeout_at = options.timeout.map(|timeout| started.checked_add(timeout));
    let soon = Instant::now() + REPORT_TIME;
    match timeout_at {
        _ if was_signalled => Some(soon),
        Some(timeout_at) => Some(timeout_at?.max(soon)),
        None => None,
    }
}

fn report_outcome(
    outcome: &Outcome,
    names: &Names,
    options: &JoinOptions,
    places: &mut Places,
) -> Code {
    let code = Code::of_outcome(outcome, options.exit);
    if places.want_json() {
        places.json(&report::json(outcome, names, code));
    }
    if options.report || (!options.quiet && code != Code::Success) {
        let lines = report::text(outcome, names);
        places.words(&lines.iter().map(|line| messages::spoken(line)).collect::<String>());
    }
    places.code(code)
}

fn report_error(error: &JoinError, names: &Names, places: &mut Places) -> Code {
    let code = Code::of_error(error);
    if error.step() != JoinStep::Find {
        places.set_shared();
    }
    if places.want_json() {
        places.json(&report::json_error(error, names, code));
    }
    if places.want_words() {
        let name = error.side().map(|side| printable(names.of_side(side)));
        let name = name.map(|name| if name.is_empty() { "''".to_owned() } else { name } + ": ");
        let text = format!("{}{error}", name.unwrap_or_default());
        places.words(&messages::failure(&text, error.hint()));
    }
    code
}

/// Opens what the options name for reports; says what is wrong with them otherwise.
fn places(options: &JoinOptions) -> Result<Places, Code> {
    let asked = Asked { json: options.json.clone(), report_fd: options.report_fd };
    let mut places = asked.open().map_err(|what| {
        asked.instead().failure(&what, None, Code::OwnFailure);
        Code::OwnFailure
    })?;
    if options.quiet && !places.want_words() {
        let text = "--json without a file cannot be used with --quiet";
        places.failure(text, None, Code::OwnFailure);
        return Err(Code::OwnFailure);
    }
    Ok(places)
}

/// The two sides of the one `::`; neither may be empty.
fn split(programs: &[OsString]) -> Option<(&[OsString], &[OsString])> {
    let mut sides = programs.split(|word| word == "::");
    match (sides.next()?, sides.next()?, sides.next()) {
        (left @ [_, ..], right @ [_, ..], None) => Some((left, right)),
        _ => None,
    }
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn wiring(options: &JoinOptions) -> Wiring {
    match options.fd {
        Some(number) => Wiring::Fd(number),
        None if options.socket => Wiring::Socket,
        None => Wiring::Pipes,
    }
}
