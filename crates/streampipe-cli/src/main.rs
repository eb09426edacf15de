//! The `streampipe` command.

#![forbid(unsafe_code)]

mod args;
mod exit_code;
mod join;
mod messages;
mod report;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Task};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return messages::usage(&error),
    };
    match args.task {
        Task::Join(options) => join::run(&options),
    }
}
