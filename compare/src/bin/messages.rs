//! Messages between two processes: ours beside other people's, each payload touched on both sides.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use compare::measure::{machine, print_machine};
use compare::place::Processors;
use compare::ways::{ALL, Way, named};
use compare::works::{Rounds, Works};
use compare::{peer, plot};

const USAGE: &str = "cargo xtask bench messages [--quick] [--only WAY,WAY] [--plot PATH]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == peer::FLAG => peer::main(rest).map_err(Into::into),
        _ => Options::parse(&arguments).and_then(|options| options.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("messages: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Options {
    rounds: Rounds,
    ways: Vec<&'static dyn Way>,
    plot: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            rounds: Rounds { small: 41, huge: 7, starts: 15 },
            ways: ALL.to_vec(),
            plot: None,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.rounds = Rounds { small: 9, huge: 3, starts: 5 },
                "--only" => options.ways = chosen(words.next().ok_or(USAGE)?)?,
                "--plot" => options.plot = Some(words.next().ok_or(USAGE)?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn run(&self) -> Result<(), Box<dyn Error>> {
        let processors = Processors::of_this_process()?;
        print_machine()?;
        print_versions();
        println!(
            "\nRatios are of times: below 1 is faster. p50 and p99 are of all rounds, ratios medians of \
             the rounds' ratios."
        );
        processors.warm_up()?;
        let works = Works { ways: &self.ways, processors: &processors, rounds: self.rounds };
        let panels = works.all()?;
        match &self.plot {
            Some(path) => plot::draw(path, &machine()?, &panels),
            None => Ok(()),
        }
    }
}

/// The ways whose names are given, in the order of the tables.
fn chosen(names: &str) -> Result<Vec<&'static dyn Way>, Box<dyn Error>> {
    let all = || ALL.iter().map(|way| way.name()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = names.split(',').find(|name| named(name).is_none()) {
        return Err(format!("no way is called `{unknown}`; there are {}", all()).into());
    }
    let is_chosen = |way: &&&dyn Way| names.split(',').any(|name| name == way.name());
    Ok(ALL.iter().filter(is_chosen).copied().collect())
}

/// What the crates were, from the lock file that this was built with.
fn print_versions() {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &str| {
        let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", after.split('"').next()?))
    };
    let names = [
        "ipc-channel",
        "tokio-unix-ipc",
        "tokio",
        "postcard",
        "serde",
        "serde_bytes",
        "serde_json",
    ];
    let versions: Vec<String> = names.into_iter().filter_map(version).collect();
    println!("{}, {}", versions.join(", "), python());
}

/// What Python says it is, or that it is not there.
fn python() -> String {
    match Command::new("python3").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "no python3: its rows are skipped".to_owned(),
    }
}
