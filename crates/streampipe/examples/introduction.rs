//! Two workers that never met: the parent sends each of them one end of a channel, through a channel.
//!
//! From then on they talk to each other directly. The parent holds neither end any more: when one of them is
//! done, the other one sees the end.
//!
//! ```text
//!                 parent
//!     channel ↙            ↘ channel
//!      asker ◀── its own ──▶ answerer
//! ```
//!
//! ```sh
//! cargo run -p streampipe --example introduction
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use streampipe::{Channel, Child, Command};

/// What the workers say to each other.
type Asking = Channel<String, usize>;
type Answering = Channel<usize, String>;

/// What the parent says to a worker.
#[derive(Serialize, Deserialize)]
enum Task {
    /// Ask whoever is there about these words.
    Ask { peer: Asking, words: Vec<String> },
    /// Answer whoever is there.
    Answer { peer: Answering },
}

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("--worker") => work(),
        _ => introduce(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "introduction: {error}");
            ExitCode::FAILURE
        }
    }
}

fn introduce() -> io::Result<()> {
    let (mut asker, to_asker) = start()?;
    let (mut answerer, to_answerer) = start()?;
    let (asking, answering) = streampipe::channel()?;
    // By value: sent, and closed here.
    to_answerer.send(Task::Answer { peer: answering })?;
    let words = ["stream", "pipe"].map(str::to_owned).into();
    let report = to_asker.call(Task::Ask { peer: asking, words })?;
    writeln!(io::stdout(), "{report}")?;
    drop((to_asker, to_answerer));
    writeln!(io::stdout(), "asker: {}, answerer: {}", asker.wait()?, answerer.wait()?)
}

fn start() -> io::Result<(Child, Channel<Task, String>)> {
    let mut child = Command::new("/proc/self/exe").arg("--worker").spawn()?;
    let channel = child.take_channel().expect("it was not taken yet");
    Ok((child, channel))
}

fn work() -> io::Result<()> {
    let parent = Channel::<String, Task>::from(streampipe::inherited()?);
    match parent.recv_any()? {
        streampipe::Incoming::Value(Task::Answer { peer }) => Ok(peer.serve(|word| word.len())?),
        streampipe::Incoming::Request(request) => {
            let (task, report) = request.into_parts();
            let Task::Ask { peer, words } = task else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let lengths: io::Result<Vec<String>> = words
                .into_iter()
                .map(|word| Ok(format!("{word} has {} letters", peer.call(&word)?)))
                .collect();
            Ok(report.answer(lengths?.join(", "))?)
        }
        streampipe::Incoming::Value(Task::Ask { .. }) => Err(io::ErrorKind::InvalidData.into()),
    }
}
