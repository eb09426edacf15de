//! `streampipe join`.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use streampipe::join::{Join, Wiring};

use crate::args::JoinOptions;
use crate::exit_code::Code;
use crate::messages::{self, printable};
use crate::report::{self, Names};

pub(crate) fn run(options: &JoinOptions) -> ExitCode {
    let Some((left, right)) = split(&options.programs) else {
        messages::failure(
            "join takes two programs with one :: between them",
            Some("streampipe join -- PROGRAM [ARG]... :: PROGRAM [ARG]..."),
        );
        return Code::OwnFailure.into();
    };
    let names = Names::of(left, right);
    let mut join = Join::new(command(left), command(right))
        .wiring(wiring(options))
        .kill_after(options.kill_after)
        .relay_signals();
    if let Some(timeout) = options.timeout {
        join = join.timeout(timeout);
    }
    match join.run() {
        Ok(outcome) => {
            let code = Code::of_outcome(&outcome, options.exit);
            if options.json {
                messages::line(&report::json(&outcome, &names, code));
            } else if options.report || (!options.quiet && !outcome.is_success()) {
                report::text(&outcome, &names).iter().for_each(|line| messages::say(line));
            }
            code.into()
        }
        Err(error) => {
            let code = Code::of_error(&error);
            if options.json {
                messages::line(&report::json_error(&error, &names, code));
            } else {
                let name = error.side().map(|side| printable(names.of_side(side)));
                let name =
                    name.map(|name| if name.is_empty() { "''".to_owned() } else { name } + ": ");
                messages::failure(&format!("{}{error}", name.unwrap_or_default()), error.hint());
            }
            code.into()
        }
    }
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
