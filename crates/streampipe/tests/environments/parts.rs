//! What children of the probe do: this program again.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use streampipe::{Channel, Command, Fd, Stream};

/// Says which part a child plays.
pub(crate) const PART: &str = "STREAMPIPE_PROBE_PART";

/// The emulator that a part runs in, if there is one.
pub(crate) const AROUND: &str = "STREAMPIPE_PROBE_AROUND_PARTS";

#[derive(Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) input: Fd,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) length: usize,
    pub(crate) output: Fd,
}

/// A child that plays this part.
pub(crate) fn part(name: &str) -> Command {
    // Not `current_exe`, which asks `/proc`.
    let program = std::env::var_os(crate::probe::PROGRAM).expect("who started the probe said it");
    let mut words: Vec<OsString> = std::env::var_os(AROUND).into_iter().collect();
    words.push(program);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env(PART, name);
    command
}

/// Plays it; the number to exit with.
pub(crate) fn play(name: &str) -> u8 {
    let Ok(end) = streampipe::inherited() else { return 2 };
    let played = match name {
        "echo" => echo(end),
        "serve" => serve(end),
        _ => None,
    };
    if played.is_some() { 0 } else { 1 }
}

/// Sends back all that comes.
fn echo(mut end: Stream) -> Option<()> {
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes).ok()?;
    end.write_all(&bytes).ok()
}

/// Answers each question.
fn serve(end: Stream) -> Option<()> {
    Channel::<Answer, Question>::from(end).serve(answer).ok()
}

/// Reads what waits in the descriptor, sends it back there, and the descriptor with the answer.
fn answer(question: Question) -> Answer {
    let mut input = UnixStream::from(OwnedFd::from(question.input));
    let mut bytes = [0; 6];
    let _ = input.read_exact(&mut bytes).and_then(|()| input.write_all(&bytes));
    Answer { length: question.text.len(), output: Fd::from(OwnedFd::from(input)) }
}
