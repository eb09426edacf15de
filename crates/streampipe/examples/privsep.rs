//! A privilege-separated reader: the parent opens files, a confined child parses them.
//!
//! The child may write no file, hold eight descriptors, and use 256 MiB; if we are root it runs as nobody,
//! and may start nothing. What it parses it is handed as descriptors, and of what it answers only a number is
//! believed: anything else is an error, however long it is.
//!
//! ```sh
//! cargo run -p streampipe --example privsep -- Cargo.toml README.md
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use streampipe::{Channel, Child, Command, Fd, Resource, SpawnError, SpawnStep};

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("--parser") => parse_what_is_handed(),
        Some(_) => count_words(&args),
        None => count_words(&["/proc/version".to_owned()]),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "privsep: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The parser, without rights.
fn parser() -> Command {
    let mut parser = Command::new("/proc/self/exe");
    parser
        .arg("--parser")
        .env_clear()
        .current_dir("/")
        // Its descriptors are refused, its answers have a deadline, `exec` gives it no rights.
        .untrusted()
        .session()
        .rlimit(Resource::OpenFiles, Some(8), Some(8))
        .rlimit(Resource::FileSize, Some(0), Some(0))
        .rlimit(Resource::Core, Some(0), Some(0))
        .rlimit(Resource::AddressSpace, Some(256 << 20), Some(256 << 20));
    parser
}

/// Starts the parser as nobody, or, where the system does not permit another user, as this one.
fn start_parser() -> Result<Child, SpawnError> {
    let mut as_nobody = parser();
    as_nobody.uid(NOBODY).gid(NOBODY).rlimit(Resource::Processes, Some(0), Some(0));
    match as_nobody.spawn() {
        Err(error) if error.step() == SpawnStep::Identity => parser().spawn(),
        started => started,
    }
}

/// The parent: it may open files, and never looks into them.
fn count_words(paths: &[String]) -> io::Result<()> {
    let mut child = start_parser()?;
    let parse: Channel<Fd, u64> = child.take_channel().expect("it was not taken yet");
    for path in paths {
        let file =
            File::open(path).map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        let words = parse.call(Fd::from(file))?;
        writeln!(io::stdout(), "{path}: {words} words")?;
    }
    drop(parse);
    let status = child.stop()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the parser: {status}"))) }
}

/// The child: it looks into files, and can do nothing else.
fn parse_what_is_handed() -> io::Result<()> {
    let parent = Channel::<u64, Fd>::from(streampipe::inherited()?);
    Ok(parent.serve(|fd| {
        let mut text = Vec::new();
        // What cannot be read has no words.
        let _ = File::from(fd).read_to_end(&mut text);
        text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() as u64
    })?)
}
