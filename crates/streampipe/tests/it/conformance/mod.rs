//! The contract of a pair, clause by clause, shown through the public API.
//!
//! TABLE

/// R1: what a fresh pair is.
mod creation;

/// R2: what is written is read.
mod data;

/// R3: limits, blocking, buffers.
mod limits;

/// R4: close and shutdown.
mod closing;

/// R4: what `poll` and `epoll` say of it.
mod polling;

/// R5: descriptors that travel.
mod descriptors;

/// R6: who the peer is.
mod credentials;

use std::error::Error;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use streampipe::{ConvertError, Datagram, SeqPacket, Stream};

/// Long enough to be a wait, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(20);

/// Longer than a test may take.
const LONG: Duration = Duration::from_secs(1000);

/// What one receive brings, or the kind of its error.
type Heard<'bytes> = Result<&'bytes [u8], ErrorKind>;

/// 0 bytes: the end for a `Stream` or a `SeqPacket`, an empty packet for a `Datagram`.
const NOTHING: Heard<'static> = Ok(b"");

const RESET: Heard<'static> = Err(ErrorKind::ConnectionReset);

/// Two connected streams of the engine under test.
fn stream() -> (Stream, Stream) {
    End::pair()
}

/// Two connected ends that carry packets, with an end.
fn seqpacket() -> (SeqPacket, SeqPacket) {
    End::pair()
}

/// Two connected ends that carry packets, without an end.
fn datagram() -> (Datagram, Datagram) {
    End::pair()
}

/// What an engine offers: a rule that several types share is written once, for this.
trait End:
    AsFd
    + AsRawFd
    + Debug
    + Into<OwnedFd>
    + TryFrom<OwnedFd, Error = ConvertError>
    + Send
    + Sync
    + Sized
{
    const NAME: &'static str;

    fn pair() -> (Self, Self) {
        Self::try_pair().expect("a pair")
    }

    fn try_pair() -> io::Result<(Self, Self)>;
    fn try_clone(&self) -> io::Result<Self>;

    /// `write` of a stream.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// `read` of a stream.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize>;
    fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    fn set_nonblocking(&self, nonblocking: bool);
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn read_timeout(&self) -> Option<Duration>;
    fn write_timeout(&self) -> Option<Duration>;
    fn set_send_buffer_size(&self, bytes: usize) -> usize;
    fn send_buffer_size(&self) -> usize;
    fn set_recv_buffer_size(&self, bytes: usize) -> usize;
    fn recv_buffer_size(&self) -> usize;
    fn refuse_fds(&self);
    fn allow_self(&self);
}

macro_rules! implement_end {
    ($type:ident, $send:expr, $recv:expr) => {
        impl End for $type {
            const NAME: &'static str = stringify!($type);

            fn try_pair() -> io::Result<(Self, Self)> {
                <$type>::pair()
            }
            fn try_clone(&self) -> io::Result<Self> {
                <$type>::try_clone(self)
            }
            fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                $send(self, bytes)
            }
            fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                $recv(self, buffer)
            }
            fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                <$type>::send_fds(self, bytes, fds)
            }
            fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
                <$type>::recv_fds(self, buffer)
            }
            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                <$type>::shutdown(self, how)
            }
            fn set_nonblocking(&self, nonblocking: bool) {
                <$type>::set_nonblocking(self, nonblocking).expect("no error is known");
            }
            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$type>::set_read_timeout(self, timeout)
            }
            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                <$type>::set_write_timeout(self, timeout)
            }
            fn read_timeout(&self) -> Option<Duration> {
                <$type>::read_timeout(self).expect("no error is known")
            }
            fn write_timeout(&self) -> Option<Duration> {
                <$type>::write_timeout(self).expect("no error is known")
            }
            fn set_send_buffer_size(&self, bytes: usize) -> usize {
                <$type>::set_send_buffer_size(self, bytes).expect("a size")
            }
            fn send_buffer_size(&self) -> usize {
                <$type>::send_buffer_size(self).expect("a size")
            }
            fn set_recv_buffer_size(&self, bytes: usize) -> usize {
                <$type>::set_recv_buffer_size(self, bytes).expect("a size")
            }
            fn recv_buffer_size(&self) -> usize {
                <$type>::recv_buffer_size(self).expect("a size")
            }
            fn refuse_fds(&self) {
                <$type>::refuse_fds(self).expect("none on a pair");
            }
            fn allow_self(&self) {
                <$type>::allow_self(self);
            }
        }
    };
}

implement_end!(Stream, |mut end: &Stream, bytes| end.write(bytes), |mut end: &Stream, buffer| end
    .read(buffer));
implement_end!(SeqPacket, SeqPacket::send, SeqPacket::recv);
implement_end!(Datagram, Datagram::send, Datagram::recv);

/// As `tests_alone!`, for rules that hold for several types: the body runs once with each.
macro_rules! tests_of_types {
    ($($(#[$meta:meta])* fn $name:ident<$end:ident: $($type:ident)|+>() $body:block)*) => {
        crate::support::tests_alone! {$(
            $(#[$meta])*
            fn $name() {
                fn check<$end: $crate::conformance::End>() $body
                $({
                    let _said_on_failure = $crate::conformance::With(stringify!($type));
                    check::<$type>();
                })+
            }
        )*}
    };
}
use tests_of_types;

/// Says on a panic which type the body ran with.
struct With(&'static str);

impl Drop for With {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(io::stderr(), "with {}", self.0);
        }
    }
}

/// Sends all of it at once.
#[track_caller]
fn say(end: &impl End, bytes: &[u8]) {
    let sent = end.send(bytes).unwrap_or_else(|error| panic!("{end:?}: {error}"));
    assert_eq!(sent, bytes.len(), "{end:?}");
}

/// Sends all of it at once, with descriptors.
#[track_caller]
fn hand(end: &impl End, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let sent = end.send_fds(bytes, fds).unwrap_or_else(|error| panic!("{end:?}: {error}"));
    assert_eq!(sent, bytes.len(), "{end:?}");
}

/// Why a send of this fails.
#[track_caller]
fn refused(end: &impl End, bytes: &[u8]) -> ErrorKind {
    match end.send(bytes) {
        Ok(sent) => panic!("{end:?}: {sent} bytes were sent"),
        Err(error) => error.kind(),
    }
}

/// What one receive brings, up to 64 bytes.
fn hear(end: &impl End) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = [0; 64];
    let len = end.recv(&mut buffer).map_err(|error| error.kind())?;
    Ok(buffer[..len].to_vec())
}

/// Checks what the next receives bring, one after the other.
#[track_caller]
fn hears(end: &impl End, expected: &[Heard<'_>]) {
    for (index, expected) in expected.iter().enumerate() {
        let heard = hear(end);
        let heard = heard.as_deref().map_err(|&kind| kind);
        assert_eq!(heard, *expected, "{end:?}, receive {index}");
    }
}

/// Checks that a receive would have to wait.
#[track_caller]
fn hears_no_more(end: &impl End) {
    end.set_nonblocking(true);
    hears(end, &[Err(ErrorKind::WouldBlock)]);
    end.set_nonblocking(false);
}

/// What one receive brings, up to 64 bytes, with its descriptors.
#[track_caller]
fn take(end: &impl End) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buffer = [0; 64];
    let received = end.recv_fds(&mut buffer);
    let (len, fds) = received.unwrap_or_else(|error| panic!("{end:?}: {error}"));
    (buffer[..len].to_vec(), fds)
}

/// Sends such messages until there is no more room; returns how many.
fn fill(end: &impl End, message: &[u8]) -> usize {
    end.set_nonblocking(true);
    let mut count = 0;
    loop {
        match end.send(message) {
            Ok(sent) if sent == message.len() => count += 1,
            // A stream that took the rest of its room.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{end:?}: {error}"),
        }
    }
    end.set_nonblocking(false);
    count
}

/// The error of this type inside.
#[track_caller]
fn inside<E: Error + Copy + 'static>(error: &io::Error) -> E {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<E>());
    *inside.unwrap_or_else(|| panic!("another error: {error:?}"))
}

/// What `poll` says of an end for all that can be asked for, now.
fn revents(end: impl AsFd) -> PollFlags {
    let asked = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
    let mut watched = [PollFd::from_borrowed_fd(end.as_fd(), asked)];
    rustix::event::poll(&mut watched, Some(&Timespec::default())).expect("poll");
    watched[0].revents()
}

/// A pipe whose writing end is passed around: what became of it shows at the reader.
struct Canary {
    reader: OwnedFd,
}

impl Canary {
    fn new() -> (Self, OwnedFd) {
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (reader, writer) = rustix::pipe::pipe_with(flags).expect("a pipe");
        (Self { reader }, writer)
    }

    /// Whether no copy of the writing end is left, neither open nor in flight.
    fn is_gone(&self) -> bool {
        revents(&self.reader).contains(PollFlags::HUP)
    }

    /// Waits for that, while the kernel may have to collect it; says whether it came.
    fn goes(&self) -> bool {
        // The collector runs when a socket is closed. An end that is in flight is not, so the last
        // close of a ring may come too late for the run that the others asked for.
        (0..600).any(|_| {
            drop(stream());
            crate::support::readable_within(self.reader.as_fd(), Duration::from_millis(100))
        })
    }

    /// Checks that this descriptor is the writing end.
    #[track_caller]
    fn hears(&self, writer: impl AsFd) {
        rustix::io::write(writer, b"!").expect("a pipe with room");
        let mut buffer = [0; 4];
        assert_eq!(rustix::io::read(&self.reader, &mut buffer), Ok(1));
        assert_eq!(buffer[0], b'!');
    }
}

/// Set in a child to the type of the end that it has.
const CHILD: &str = "STREAMPIPE_TEST_CHILD";

/// Runs one body here and one in a child, each with its end of a fresh pair.
///
/// Must be all that the body of a test does: the child is this program again, and its test comes
/// here to find its body. Not by `fork`, which refuses beside the second thread of the harness.
/// The child's end is its standard input as well, so it is open there until the child ends.
fn with_child<E: End>(parent: impl FnOnce(E, &mut Child), child: impl FnOnce(E)) {
    if let Some(wanted) = std::env::var_os(CHILD) {
        if wanted == E::NAME {
            let fd = io::stdin().as_fd().try_clone_to_owned().expect("room");
            child(E::try_from(fd).expect("an end as standard input"));
        }
        return;
    }
    let (ours, theirs) = E::pair();
    let mut process = Command::new(std::env::current_exe().expect("the test binary"))
        .args(std::env::args_os().skip(1))
        .env(CHILD, E::NAME)
        .stdin(Into::<OwnedFd>::into(theirs))
        .spawn()
        .expect("the process starts");
    parent(ours, &mut process);
    assert!(process.wait().expect("our child").success());
}

/// Whether this kernel is at least that new; if not, says what is not tested.
fn has_kernel(major: u32, minor: u32, what: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < (major, minor) {
        crate::support::skip(what, &format!("it needs Linux {major}.{minor}"));
    }
    found >= (major, minor)
}
