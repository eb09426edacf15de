//! A privilege-separated reader: the parent opens files, a confined child parses them.
//!
//! The child may write no file, hold eight descriptors, and use 256 MiB; if we are root it runs as nobody,
//! and may start nothing. What it parses it is handed as descriptors, and what it answers is checked
//! before it is believed.
//!
//! ```sh
//! cargo run -p streampipe --example privsep -- Cargo.toml README.md
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use streampipe::{Command, Resource, Stream};

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

/// What the parent believes at most of one answer: a line of so many bytes.
const LONGEST_ANSWER: u64 = 100;

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

/// The parent: it may open files, and never looks into them.
fn count_words(paths: &[String]) -> io::Result<()> {
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
    if rustix::process::geteuid().is_root() {
        parser.uid(NOBODY).gid(NOBODY).rlimit(Resource::Processes, Some(0), Some(0));
    }
    let mut child = parser.spawn()?;
    for path in paths {
        let file =
            File::open(path).map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        child.stream().send_fds(b"f", &[file.as_fd()])?;
        let words = read_number(child.stream())?;
        writeln!(io::stdout(), "{path}: {words} words")?;
    }
    let status = child.stop()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the parser: {status}"))) }
}

/// One line with one number, or it is not believed.
fn read_number(stream: &Stream) -> io::Result<u64> {
    let mut line = String::new();
    // A buffered reader could keep bytes of the next answer; there is one answer to each question.
    BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line)?;
    let number = line.strip_suffix('\n').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("said {line:?}")))
}

/// The child: it looks into files, and can do nothing else.
fn parse_what_is_handed() -> io::Result<()> {
    let mut parent = streampipe::inherited()?;
    loop {
        let (n, fds) = parent.recv_fds(&mut [0; 1])?;
        let Some(fd) = fds.into_iter().next().filter(|_| n == 1) else { return Ok(()) };
        let mut text = Vec::new();
        File::from(fd).read_to_end(&mut text)?;
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
        parent.write_all(format!("{words}\n").as_bytes())?;
    }
}
