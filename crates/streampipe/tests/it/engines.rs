//! The engines that a `Stream` can have: what streams do is shown once, and runs with each.
//!
//! 1. A test of `tests_of_engines!` is run as `name::socket` and as `name::ring`, each in a process of
//!    its own (`alone`).
//! 2. A process has the engine that the path of its test ends with, so no body need be told: it makes
//!    its streams with [`pair`]. A test of `tests_alone!` has sockets.
//! 3. What stays there says why: it asks the kernel about the socket (options, names, `poll`, raw
//!    calls), makes a descriptor of an end or an end of a descriptor, or has packets, pipes or another
//!    process.

use std::io;

use streampipe::{SeqPacket, Stream};

/// Which of them this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Socket,
    Ring,
}

/// Defines tests whose bodies run alone, once with each engine.
macro_rules! tests_of_engines {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        fn $name(path: &str) {
            crate::support::alone(path, || $body);
        }
        $crate::engines::with_each_engine!($name);
    )*};
}
pub(crate) use tests_of_engines;

/// Defines tests that call this function with their own path, one for each engine.
macro_rules! with_each_engine {
    ($name:ident) => {
        mod $name {
            #[test]
            fn socket() {
                super::$name(concat!(module_path!(), "::socket"));
            }

            #[cfg(false)] // Until there is one.
            #[test]
            fn ring() {
                super::$name(concat!(module_path!(), "::ring"));
            }
        }
    };
}
pub(crate) use with_each_engine;

/// The same for what only sockets have.
macro_rules! with_sockets {
    ($name:ident) => {
        mod $name {
            #[test]
            fn socket() {
                super::$name(concat!(module_path!(), "::socket"));
            }
        }
    };
}
pub(crate) use with_sockets;

/// The engine of this process.
pub(crate) fn engine() -> Engine {
    match crate::support::own_path() {
        Some(path) if path.ends_with("::ring") => Engine::Ring,
        _ => Engine::Socket,
    }
}

impl Engine {
    /// Whether bytes that were sent before come in one receive with those that brought descriptors.
    ///
    /// Otherwise they come in one of their own, and descriptors with the first byte they were sent with.
    pub(crate) fn joins_what_is_before_descriptors(self) -> bool {
        self == Self::Socket
    }
}

/// Two connected streams of the engine under test.
pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    match engine() {
        Engine::Socket => Stream::pair(),
        Engine::Ring => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Two of them with about this much room for what was not read.
pub(crate) fn pair_with_room(bytes: usize) -> io::Result<(Stream, Stream)> {
    match engine() {
        Engine::Socket => {
            let (a, b) = Stream::pair()?;
            for end in [&a, &b] {
                end.set_send_buffer_size(bytes)?;
            }
            Ok((a, b))
        }
        Engine::Ring => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Something over packets, and the same over a stream of the engine under test.
///
/// Packets have one engine, and are left out where it is not the one under test.
pub(crate) fn over_each_carrier<T>(
    packets: impl FnOnce(SeqPacket, SeqPacket) -> T,
    stream: impl FnOnce(Stream, Stream) -> T,
) -> Vec<T> {
    let mut both = Vec::new();
    if engine() == Engine::Socket {
        let (a, b) = SeqPacket::pair().expect("a pair");
        both.push(packets(a, b));
    }
    let (a, b) = pair().expect("a pair");
    both.push(stream(a, b));
    both
}
