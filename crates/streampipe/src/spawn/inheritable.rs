use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use super::source::Source;
use crate::{Datagram, SeqPacket, Stream};

/// Something that a program can [inherit](super::Command::inherit): given by value, or lent by
/// reference.
///
/// **Given** (`File`, `OwnedFd`, an end, a socket): it goes to one program, and this process's copy is
/// closed when `spawn` returns, so that no forgotten copy keeps the end of a pipe away.
/// **Lent** (`&File` and the like, `BorrowedFd`): it is duplicated at once, for each program that the
/// command starts; the duplicate is closed with the command, and the caller's own stays the caller's.
///
/// An end of a ring that is given is refused when the program is started, and of one that is lent the program gets the lifeline
/// alone, not the bytes: use [`Command::engine`](super::Command::engine).
pub trait Inheritable: sealed::Sealed {}

pub(super) mod sealed {
    use super::Source;

    pub trait Sealed {
        #[doc(hidden)]
        fn into_source(self) -> Source;
    }
}

impl<T: AsFd> Inheritable for &T {}

impl<T: AsFd> sealed::Sealed for &T {
    fn into_source(self) -> Source {
        Source::lend(self.as_fd())
    }
}

impl Inheritable for BorrowedFd<'_> {}

impl sealed::Sealed for BorrowedFd<'_> {
    fn into_source(self) -> Source {
        Source::lend(self)
    }
}

macro_rules! lent {
    ($($name:ty),* $(,)?) => {$(
        impl Inheritable for $name {}

        impl sealed::Sealed for $name {
            fn into_source(self) -> Source {
                Source::lend(self.as_fd())
            }
        }
    )*};
}

lent!(io::Stdin, io::Stdout, io::Stderr);

macro_rules! given {
    ($($name:ty),* $(,)?) => {$(
        impl Inheritable for $name {}

        impl sealed::Sealed for $name {
            fn into_source(self) -> Source {
                Source::Given(self.into())
            }
        }
    )*};
}

given!(OwnedFd, File, SeqPacket, Datagram);
given!(UnixStream, UnixListener, UnixDatagram, TcpStream, TcpListener, UdpSocket);
given!(ChildStdin, ChildStdout, ChildStderr);

impl Inheritable for Stream {}

impl sealed::Sealed for Stream {
    fn into_source(self) -> Source {
        Source::give(self)
    }
}
