//! A listener handed to a new version of a server, without losing a connection.
//!
//! The supervisor keeps the listener and never accepts. A version of the server holds a stream pipe to
//! the supervisor, and is handed the listener over it. The new version says when it is ready; only then
//! is the old one told to finish, by the end of its pipe: it accepts no more, answers what it has
//! accepted, and exits. While neither accepts, connections wait in the listener's queue.
//!
//! Clients connect all the time, and count: none may go unanswered.
//!
//! ```sh
//! cargo run -p streampipe --example handover
//! ```

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use streampipe::{Channel, Child, Command, Fd};

const CLIENTS: usize = 4;

/// How many answers each version gives before the next step.
const ANSWERS: usize = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("--version") => serve(args.get(1).map_or("", String::as_str)),
        _ => supervise(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "handover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let old = start(&listener, "1")?;
    let (answers, counted) = channel();
    let (answered, new) = thread::scope(|scope| -> io::Result<_> {
        // Each client has a sender, and nobody else: if all give up, that is noticed.
        let senders = vec![answers; CLIENTS].into_iter();
        let clients: Vec<_> = senders
            .map(|answers| scope.spawn(move || ask_until_nobody_counts(address, answers)))
            .collect();
        wait_for_answers(&counted, "1")?;
        let new = start(&listener, "2")?;
        let status = old.stop()?;
        writeln!(io::stdout(), "version 1 ended: {status}; version 2 took over")?;
        wait_for_answers(&counted, "2")?;
        // The clients end, while version 2 still answers.
        drop(counted);
        let counts = clients.into_iter().map(|client| client.join().expect("it does not panic"));
        Ok((counts.sum::<io::Result<usize>>()?, new))
    })?;
    new.stop()?;
    let enough = answered >= 2 * ANSWERS;
    writeln!(io::stdout(), "every connection had its answer; both versions answered: {enough}")
}

/// Starts a version, hands it the listener, and waits until it says that it is ready.
fn start(listener: &TcpListener, version: &str) -> io::Result<Server> {
    let mut child = Command::new("/proc/self/exe").args(["--version", version]).spawn()?;
    let channel = child.take_channel::<Fd, ()>().expect("it was not taken yet");
    // A version that dies first makes this an error, never a wait.
    channel.call(Fd::from(listener.try_clone()?))?;
    Ok(Server { child, channel })
}

/// A version that runs, until its channel ends.
struct Server {
    child: Child,
    channel: Channel<Fd, ()>,
}

impl Server {
    fn stop(mut self) -> io::Result<ExitStatus> {
        drop(self.channel);
        self.child.stop()
    }
}

/// Counts until this version has given enough answers.
fn wait_for_answers(answers: &Receiver<String>, version: &str) -> io::Result<()> {
    let mut given = 0;
    while given < ANSWERS {
        let answer = answers.recv().map_err(|_| io::Error::other("all clients gave up"))?;
        given += usize::from(answer == version);
    }
    Ok(())
}

/// A client: one connection after the other, until nobody counts. One without an answer is an error.
fn ask_until_nobody_counts(address: SocketAddr, answers: Sender<String>) -> io::Result<usize> {
    let mut asked = 0;
    loop {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.write_all(b"who?")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        if answer.is_empty() {
            return Err(io::Error::other("a connection was lost"));
        }
        asked += 1;
        if answers.send(answer).is_err() {
            return Ok(asked);
        }
    }
}

/// A version of the server: accepts until the supervisor ends its direction.
fn serve(version: &str) -> io::Result<()> {
    let supervisor = Channel::<(), Fd>::from(streampipe::inherited()?);
    let (listener, ready) = supervisor.recv_request()?.into_parts();
    let listener = TcpListener::from(listener);
    // The open file description is shared by all versions, and all of them want it so.
    listener.set_nonblocking(true)?;
    ready.answer(())?;
    loop {
        let [supervisor, incoming] = [supervisor.as_fd(), listener.as_fd()];
        let mut watched =
            [supervisor, incoming].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut watched, None))?;
        if !watched[0].revents().is_empty() {
            return Ok(());
        }
        match listener.accept() {
            Ok((connection, _)) => answer(connection, version)?,
            // The other version was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn answer(mut connection: TcpStream, version: &str) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.read_exact(&mut [0; "who?".len()])?;
    connection.write_all(version.as_bytes())
}
