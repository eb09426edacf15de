//! Everything the command says, and where.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use streampipe::join::can_be_written;

use crate::exit_code::Code;

/// How long a report waits for somebody to take it where the command's time is bounded.
pub(crate) const REPORT_TIME: Duration = Duration::from_secs(1);

/// The stack of the thread that writes; it calls `write(2)` and nothing else.
const WRITER_STACK: usize = 64 << 10;

/// Where the command says something.
#[derive(Debug)]
pub(crate) enum Place {
    /// Standard error, which the programs have, too.
    StandardError,
    /// A file or a descriptor that was named for it.
    Named(File, String),
}

impl Place {
    /// Writes the text, which ends with a newline, in one piece.
    ///
    /// After the deadline it is given up: `TimedOut`.
    pub(crate) fn write(&self, text: String, deadline: Option<Instant>) -> io::Result<()> {
        match (self, deadline) {
            (Self::StandardError, None) => write_all(&mut io::stderr(), &text, None),
            (Self::StandardError, Some(at)) => write_until(io::stderr(), text, at),
            (Self::Named(file, _), None) => write_all(&mut &*file, &text, None),
            (Self::Named(file, _), Some(at)) => write_until(file.try_clone()?, text, at),
        }
    }

    /// A newline if a program may have left a line unfinished there.
    pub(crate) fn line_end(&self) -> &'static str {
        let stderr = io::stderr();
        let shared = match self {
            Self::StandardError => stderr.as_fd().try_clone_to_owned().map(File::from),
            Self::Named(file, _) if is_shared(file) => file.try_clone(),
            Self::Named(..) => return "",
        };
        match shared.and_then(is_at_line_start) {
            Ok(true) => "",
            Ok(false) | Err(_) => "\n",
        }
    }
}

/// Writes in a thread of its own: nothing else bounds a write to a terminal that was stopped, or to a
/// pipe that somebody else fills, without changing it for everybody who has it.
fn write_until(
    mut file: impl Write + AsFd + Send + 'static,
    text: String,
    deadline: Instant,
) -> io::Result<()> {
    let (done, is_done) = mpsc::channel();
    let (give, take) = mpsc::channel::<(_, String)>();
    let writes = move || {
        if let Ok((mut file, text)) = take.recv() {
            let _ = done.send(write_all(&mut file, &text, Some(deadline)));
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    match thread::Builder::new().stack_size(WRITER_STACK).spawn(writes) {
        Ok(_) => {
            let _ = give.send((file, text));
            is_done.recv_timeout(left).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        // No more threads for this user: if there is room now, a write that fits does not wait.
        Err(_) if can_be_written(&file, Some(deadline))? => {
            write_all(&mut file, &text, Some(deadline))
        }
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Writes all, also where somebody who shares the description has made it non-blocking.
fn write_all(
    file: &mut (impl Write + AsFd),
    text: &str,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !can_be_written(&*file, deadline)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether this is a file that the programs have as standard output or error.
fn is_shared(file: &File) -> bool {
    let identity = |file: &File| file.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
    let copy = |fd: io::Result<_>| fd.ok().map(File::from).and_then(|file| identity(&file));
    let own = identity(file);
    let standard = [
        copy(io::stderr().as_fd().try_clone_to_owned()),
        copy(io::stdout().as_fd().try_clone_to_owned()),
    ];
    own.is_some() && standard.contains(&own)
}

/// Whether what is written next begins a line. Only of a regular file can that be known.
fn is_at_line_start(mut file: File) -> io::Result<bool> {
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Ok(false);
    }
    // The position of who appends is 0 before the first time.
    let end = match file.stream_position()? {
        0 => facts.len(),
        position => position,
    };
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    if file.read_exact_at(&mut byte, last).is_err() {
        // It was opened for writing alone.
        File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?
            .read_exact_at(&mut byte, last)?;
    }
    Ok(byte == *b"\n")
}

/// `streampipe: what`, as one line.
pub(crate) fn spoken(text: &str) -> String {
    format!("streampipe: {text}\n")
}

/// What went wrong, and what may help.
pub(crate) fn failure(text: &str, hint: Option<&str>) -> String {
    spoken(text) + &hint.map_or(String::new(), |hint| format!("hint: {hint}\n"))
}

/// Help and version go to standard output. A reader that went away is no failure.
pub(crate) fn help(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    Code::Success.end()
}

/// Text from outside, made safe for a terminal: control characters are shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    let obeyed = |c: char| {
        // Controls, and the marks that turn the direction of writing round.
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
