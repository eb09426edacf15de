//! The `streampipe` command.

#![forbid(unsafe_code)]

mod args;
mod exit_code;
mod join;
mod messages;
mod places;
mod report;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Task};
use crate::exit_code::Code;
use crate::places::Asked;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return wrong_arguments(&error).end(),
        Err(error) => return messages::help(&error),
    };
    match args.task {
        Task::Join(options) => join::run(&options).end(),
    }
}

/// Says what is wrong where the arguments, as far as they are right, want it said.
fn wrong_arguments(error: &clap::Error) -> Code {
    let text = error.render().to_string();
    let text = text.trim_end().trim_start_matches("error: ");
    let asked = Asked::in_wrong_arguments(std::env::args_os());
    // If that place is wrong, too, standard error must do.
    let mut places = asked.open().unwrap_or_else(|_| asked.instead());
    places.failure(text, None, Code::OwnFailure);
    Code::OwnFailure
}
