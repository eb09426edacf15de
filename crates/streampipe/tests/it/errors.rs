//! Errors as a program composes them: texts, sources, and `io::Error` with the value inside.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::{fmt, fs};

use streampipe::join::Join;
use streampipe::{
    BadNote, CallError, Channel, Command, ConvertError, CopyError, Corrupt, Family, FdError,
    FdPolicy, FdRule, ForkRefused, Malformed, NoHello, NotInherited, Overrun, PacketError,
    PeerGone, Poisoned, RawChannel, RecvError, RefusedFd, SendError, SendReason, SpawnError,
    StatusUnavailable, Stream, Torn, Type, Undecodable, UnreadableCommand, UnsupportedPair,
    WrongFd, channel, is_disconnected,
};

use crate::engines::{pair, tests_of_engines};
use crate::support::tests_alone;

/// What somebody else's code, or the system, gives as the cause: three errors, each with the next as its source.
#[derive(Debug)]
struct Layer(u8);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {} of 3", self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0 {
            1 => Some(&Self(2)),
            2 => Some(&Self(3)),
            _ => None,
        }
    }
}

fn layered() -> io::Error {
    io::Error::other(Layer(1))
}

type AnyError = Box<dyn Error + Send + Sync>;

fn inside<T: Error + 'static>(error: io::Error) -> T {
    let inside = error.into_inner().expect("something is inside");
    let Ok(inside) = inside.downcast::<T>() else { panic!("another type") };
    *inside
}

fn too_large() -> streampipe::TooLarge {
    let (ours, theirs) = RawChannel::pair().expect("a pair");
    ours.set_budget(streampipe::Budget::default().message_bytes(1));
    theirs.send(b"two", &[]).expect("room");
    match ours.recv() {
        Err(RecvError::TooLarge(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn malformed() -> Malformed {
    let (ours, mut theirs) = streampipe::pair().expect("a pair");
    theirs.write_all(&[b'x'; 64]).expect("room");
    match RawChannel::from(ours).recv() {
        Err(RecvError::Malformed(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn unencodable() -> Undecodable {
    let (ours, _theirs) = channel::<f32, Fails>().expect("a pair");
    drop(ours);
    let (ours, _theirs) = channel::<Fails, f32>().expect("a pair");
    match ours.send(Fails).expect_err("it fails").into_parts().1 {
        SendReason::Unencodable(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Is never encoded, nor decoded.
#[derive(Debug, serde::Deserialize)]
struct Fails;

impl serde::Serialize for Fails {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

fn copy_error() -> CopyError {
    let (mut client, left) = streampipe::pair().expect("a pair");
    let (right, server) = streampipe::pair().expect("a pair");
    client.write_all(b"nobody reads this").expect("room");
    client.shutdown(Shutdown::Write).expect("ours");
    drop(server);
    inside(streampipe::copy_both(&left, &right).expect_err("nobody reads"))
}

fn wrong_fd() -> WrongFd {
    let file = fs::File::open("/etc/passwd").expect("a file");
    FdRule::pipe().check(file.into()).expect_err("no pipe")
}

fn refused_fd() -> RefusedFd {
    let directory = fs::File::open("/").expect("a directory");
    let policy = FdPolicy::new().untrusted_peer();
    policy.check_outgoing(&[directory.as_fd()]).expect_err("a directory")
}

fn convert_error() -> ConvertError {
    let file = fs::File::open("/etc/passwd").expect("a file");
    Stream::try_from(OwnedFd::from(file)).expect_err("no socket")
}

fn spawn_error() -> SpawnError {
    Command::new("no-such-program").spawn().expect_err("there is none")
}

fn reunite_error() -> streampipe::ReuniteError {
    let (a, b) = streampipe::pair().expect("a pair");
    let ((reader, _), (_, writer)) = (a.into_split(), b.into_split());
    reader.reunite(writer).expect_err("halves of two streams")
}

fn unreadable() -> UnreadableCommand {
    let mut command = std::process::Command::new("true");
    std::os::unix::process::CommandExt::uid(&mut command, 0);
    Command::try_from(&command).expect_err("its user cannot be read back")
}

fn register_error() -> streampipe::tokio::RegisterError<streampipe::Child> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let mut child = Command::new("true").spawn().expect("true");
    child.wait().expect("a status");
    let none = crate::support::FreeDescriptors::exactly(0);
    let error = streampipe::tokio::Child::try_from(child).expect_err("no descriptor");
    drop(none);
    error
}

fn torn() -> Torn {
    Torn { have: 1, need: 32 }
}

fn bad_note() -> BadNote {
    BadNote { bytes: [b'x'; 16] }
}

/// One of each public type, and each variant with something inside, by the type's name.
fn samples() -> Vec<(&'static str, AnyError)> {
    let system = || io::Error::from_raw_os_error(105);
    let corrupt = Corrupt::Head { claimed: 1, possible: (2, 3) };
    let overrun = Overrun { bytes: 2, most: 1 };
    let join = Join::new(
        std::process::Command::new("true"),
        std::process::Command::new("no-such-program"),
    );
    vec![
        ("BadNote", Box::new(bad_note())),
        ("CallError", Box::new(CallError::<()>::NoAnswer)),
        ("CallError", Box::new(CallError::<()>::NotReceived(RecvError::Io(layered())))),
        ("CallError", Box::new(CallError::<()>::NotReceived(RecvError::Io(system())))),
        ("CallError", Box::new(CallError::<()>::NotReceived(RecvError::Closed))),
        ("CallError", Box::new(not_sent().expect_err("nobody is there"))),
        ("ConvertError", Box::new(convert_error())),
        ("CopyError", Box::new(copy_error())),
        ("Corrupt", Box::new(corrupt)),
        ("FdError", Box::new(FdError::NoBytes { given: 1 })),
        ("ForkRefused", Box::new(fork_refused())),
        ("JoinError", Box::new(join.run().expect_err("there is none"))),
        ("Malformed", Box::new(malformed())),
        ("NoHello", Box::new(NoHello::Ended)),
        ("NotInherited", Box::new(NotInherited::System { errno: 24 })),
        ("Overrun", Box::new(overrun)),
        ("PacketError", Box::new(PacketError::Empty)),
        ("PeerGone", Box::new(peer_gone())),
        ("Poisoned", Box::new(Poisoned::Position(corrupt))),
        ("Poisoned", Box::new(Poisoned::Note(bad_note()))),
        ("Poisoned", Box::new(Poisoned::Step(overrun))),
        ("RecvError", Box::new(RecvError::Io(layered()))),
        ("RecvError", Box::new(RecvError::Malformed(malformed()))),
        ("RecvError", Box::new(RecvError::PeerGone(peer_gone()))),
        ("RecvError", Box::new(RecvError::TooLarge(too_large()))),
        ("RecvError", Box::new(RecvError::Torn(torn()))),
        ("RecvError", Box::new(RecvError::Undecodable(unencodable()))),
        ("RecvError", Box::new(RecvError::WrongFd(wrong_fd()))),
        ("RefusedFd", Box::new(refused_fd())),
        ("RegisterError", Box::new(register_error())),
        ("ReuniteError", Box::new(reunite_error())),
        ("SendError", Box::new(send_error())),
        ("SendReason", Box::new(SendReason::Fd(FdError::NoBytes { given: 1 }))),
        ("SendReason", Box::new(SendReason::Io(layered()))),
        ("SendReason", Box::new(SendReason::PeerGone(peer_gone()))),
        ("SendReason", Box::new(SendReason::RefusedFd(refused_fd()))),
        ("SendReason", Box::new(SendReason::Unencodable(unencodable()))),
        ("SpawnError", Box::new(spawn_error())),
        ("StatusUnavailable", Box::new(status_unavailable())),
        ("TooLarge", Box::new(too_large())),
        ("Torn", Box::new(torn())),
        ("Undecodable", Box::new(unencodable())),
        ("UnreadableCommand", Box::new(unreadable())),
        ("UnsupportedPair", Box::new(unsupported_pair())),
        ("WrongFd", Box::new(wrong_fd())),
    ]
}

fn not_sent() -> Result<streampipe::Message, CallError> {
    let (ours, theirs) = RawChannel::pair().expect("a pair");
    drop(theirs);
    ours.call(b"anybody?", &[])
}

fn send_error() -> SendError {
    let (ours, theirs) = RawChannel::pair().expect("a pair");
    drop(theirs);
    ours.send(b"anybody?", &[]).expect_err("nobody is there")
}

fn unsupported_pair() -> UnsupportedPair {
    let inet = Family::from_raw(2);
    inside(streampipe::socketpair(inet, Type::STREAM, 0).expect_err("no pair"))
}

fn fork_refused() -> ForkRefused {
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || stopped.recv());
        let refused = streampipe::fork().expect_err("another thread runs");
        drop(stop);
        inside(refused)
    })
}

/// A child whose end somebody else keeps, and the somebody, who ends with their input.
fn left_behind() -> (streampipe::Child, Stream, Stream) {
    let (input, keeps) = streampipe::pair().expect("a pipe");
    let mut command = Command::new("sh");
    command.args(["-c", "exec 4<&0; cat <&4 >/dev/null & echo >&3"]);
    command.stdin(OwnedFd::from(input)).fd(3);
    let mut child = command.spawn().expect("sh");
    let mut stream = child.take_stream().expect("its end");
    stream.read_exact(&mut [0]).expect("it has started the other");
    (child, stream, keeps)
}

fn peer_gone() -> PeerGone {
    let (mut child, mut stream, keeps) = left_behind();
    let gone = stream.read(&mut [0]).expect_err("it is gone");
    drop(keeps);
    child.wait().expect("a status");
    inside(gone)
}

fn status_unavailable() -> StatusUnavailable {
    let mut child = Command::new("true").spawn().expect("true");
    let id = rustix::process::Pid::from_raw(child.id().try_into().expect("an id"));
    rustix::process::waitpid(id, rustix::process::WaitOptions::empty()).expect("it is ours");
    inside(child.wait().expect_err("its status was taken"))
}

/// All texts that a reporter prints, such as `{:#}` of anyhow: the error's, its source's, and so on.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let (mut texts, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

/// The names behind `Error for` in the sources of a crate.
fn error_types(sources: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(sources).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            error_types(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let of_error = text.lines().filter(|line| line.starts_with("impl"));
        for line in of_error.filter(|line| line.contains("Error for ") && !line.contains("From<")) {
            let name = line.rsplit("Error for ").next().expect("a name");
            found.insert(name.split(['<', ' ']).next().expect("a name").to_owned());
        }
    }
}

tests_alone! {
    fn each_cause_is_told_once_by_every_error() {
        for (name, error) in samples() {
            let texts = chain(&*error);
            assert!(texts.iter().all(|text| !text.is_empty()), "{name}: {texts:?}");
            for (at, text) in texts.iter().enumerate().skip(1) {
                let before = &texts[..at];
                assert!(!before.iter().any(|it| it.contains(text)), "{name} repeats: {texts:?}");
            }
        }
        // A cause with causes of its own: all of them are told.
        for error in [RecvError::Io(layered()).into(), AnyError::from(SendReason::Io(layered()))] {
            assert_eq!(chain(&*error), ["layer 1 of 3", "layer 2 of 3", "layer 3 of 3"]);
        }
        let call = CallError::<()>::NotReceived(RecvError::Io(layered()));
        assert_eq!(chain(&call)[0], "no answer was received: layer 1 of 3");
        assert_eq!(chain(&call)[1..], ["layer 2 of 3", "layer 3 of 3"]);
    }

    fn the_walk_over_errors_leaves_none_out() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = BTreeSet::new();
        for sources in ["src", "../streampipe-wire/src", "../streampipe-ring/src"] {
            error_types(&own.join(sources), &mut found);
        }
        // Not public: it becomes the text of `NotInherited::BadMemory`.
        assert!(found.remove("Unusable"));
        let walked: BTreeSet<_> = samples().into_iter().map(|it| it.0.to_owned()).collect();
        assert_eq!(walked, found);
    }

    fn an_io_error_has_the_error_inside() {
        fn keeps<E: Error + 'static>(error: E) -> E
        where
            io::Error: From<E>,
        {
            let text = error.to_string();
            let error = io::Error::from(error);
            assert_eq!(error.to_string(), text);
            inside(error)
        }
        // What gives something back does so after it was an `io::Error`, too.
        let number = |fd: &OwnedFd| std::os::fd::AsRawFd::as_raw_fd(fd);
        let wrong = keeps(wrong_fd());
        assert!(number(&wrong.into_fd()) > 2);
        let unfit = keeps(convert_error());
        assert!(number(&unfit.into_fd()) > 2);
        keeps(refused_fd());
        keeps(copy_error());
        keeps(FdError::NoBytes { given: 1 });
        keeps(fork_refused());
        keeps(NoHello::Ended);
        keeps(NotInherited::NoVariable);
        keeps(PacketError::Empty);
        keeps(peer_gone());
        keeps(Poisoned::LifelineCut);
        keeps(spawn_error());
        keeps(status_unavailable());
        keeps(unreadable());
        keeps(unsupported_pair());
        assert!(matches!(keeps(RecvError::Closed), RecvError::Closed));
        assert!(matches!(keeps(RecvError::WrongFd(wrong_fd())), RecvError::WrongFd(_)));
        assert!(matches!(keeps(SendReason::Full), SendReason::Full));
        assert!(matches!(keeps(send_error()).reason(), SendReason::Closed));
        assert!(matches!(keeps(CallError::<()>::NoAnswer), CallError::NoAnswer));
        let call = keeps(CallError::<()>::NotReceived(RecvError::TimedOut));
        assert!(call.is_timeout());

        // What has a message of the caller's loses it, and nothing else.
        let (ours, theirs) = channel::<String, String>().expect("a pair");
        drop(theirs);
        let error = io::Error::from(ours.send("mine".to_owned()).expect_err("nobody is there"));
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(inside::<SendError>(error).reason(), SendReason::Closed));
        let error = io::Error::from(ours.call("mine".to_owned()).expect_err("nobody is there"));
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(matches!(inside::<CallError>(error), CallError::NotSent(_)));

        // What the system said is said with its number.
        let system = || io::Error::from_raw_os_error(105);
        let told = [
            io::Error::from(RecvError::Io(system())),
            SendReason::Io(system()).into(),
            CallError::<()>::NotReceived(RecvError::Io(system())).into(),
        ];
        assert!(told.iter().all(|error| error.raw_os_error() == Some(105)), "{told:?}");
    }

    fn a_peer_that_is_gone_but_whose_end_is_kept_is_disconnected() {
        let (mut child, mut stream, keeps) = left_behind();
        let error = stream.read(&mut [0]).expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert!(is_disconnected(&error));
        let channel = RawChannel::from(stream);
        let error = channel.recv().expect_err("it is gone");
        assert!(matches!(error, RecvError::PeerGone(_)), "{error:?}");
        assert!(error.is_disconnected() && is_disconnected(&error.into()));
        let error = channel.call(b"anybody?", &[]).expect_err("it is gone");
        assert!(error.is_disconnected() && is_disconnected(&error.into()));
        let sent = std::iter::repeat_with(|| channel.send(&[0; 4096], &[])).find_map(Result::err);
        let error = sent.expect("it ends");
        assert!(matches!(error.reason(), SendReason::PeerGone(_)), "{error:?}");
        assert!(error.is_disconnected() && is_disconnected(&error.into()));
        drop(keeps);
        child.wait().expect("a status");
    }
}

/// The first frame of a message of which the rest never comes.
fn begun() -> Vec<u8> {
    let mut frame = vec![b'S', b'P', 1, 1, 0, 0, 0, 0];
    frame.extend(100_u32.to_le_bytes());
    frame.extend([0; 20]);
    frame.push(7);
    frame
}

tests_of_engines! {
    fn errors_say_whether_the_peer_is_gone() {
        // It is there.
        let (a, b) = pair().expect("a pair");
        let (ours, theirs) = (Channel::<u32, u32>::from(a), Channel::<u32, u32>::from(b));
        assert!(!ours.try_recv().expect_err("nothing").is_disconnected());
        let error = ours.call_timeout(1, std::time::Duration::ZERO).expect_err("too late");
        assert!(!error.is_disconnected() && !is_disconnected(&error.into()));
        // It has closed.
        drop(theirs);
        let error = ours.recv().expect_err("it has closed");
        assert!(error.is_disconnected() && is_disconnected(&error.into()), "closed");
        let error = ours.send(1).expect_err("it has closed");
        assert!(error.is_disconnected() && error.reason().is_disconnected());
        assert!(is_disconnected(&error.into()), "closed");
        let error = ours.call(1).expect_err("it has closed");
        assert!(error.is_disconnected() && is_disconnected(&error.into()), "closed");
        // It has closed in the middle of a message.
        let (a, mut b) = pair().expect("a pair");
        let ours = Channel::<u32, u32>::from(a);
        b.write_all(&begun()).expect("room");
        drop(b);
        let error = ours.recv().expect_err("it is torn");
        assert!(matches!(error, RecvError::Torn(_)), "{error:?}");
        assert!(error.is_disconnected() && is_disconnected(&error.into()), "torn");
        // It has closed with messages of ours unread.
        let (a, b) = pair().expect("a pair");
        let ours = Channel::<u32, u32>::from(a);
        ours.send(1).expect("room");
        drop(b);
        let error = ours.recv().expect_err("it was reset");
        assert!(matches!(error, RecvError::Reset), "{error:?}");
        assert!(error.is_disconnected() && is_disconnected(&error.into()), "reset");
        // It is there, and breaks the protocol.
        let (a, mut b) = pair().expect("a pair");
        b.write_all(&[b'x'; 64]).expect("room");
        let error = Channel::<u32, u32>::from(a).recv().expect_err("no frame");
        assert!(error.is_final() && !error.is_disconnected(), "{error:?}");
        assert!(!is_disconnected(&error.into()));
    }

    fn errors_of_bytes_say_whether_the_peer_is_gone() {
        let (mut ours, theirs) = pair().expect("a pair");
        ours.set_nonblocking(true).expect("a mode");
        assert!(!is_disconnected(&ours.read(&mut [0]).expect_err("nothing")));
        ours.set_nonblocking(false).expect("a mode");
        drop(theirs);
        assert!(is_disconnected(&ours.write(b"x").expect_err("it has closed")));
        assert!(is_disconnected(&ours.read_exact(&mut [0]).expect_err("it has closed")));
        let (mut ours, theirs) = pair().expect("a pair");
        ours.write_all(b"unread").expect("room");
        drop(theirs);
        assert!(is_disconnected(&ours.read(&mut [0]).expect_err("it was reset")));
    }
}
