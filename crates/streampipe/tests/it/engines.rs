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

use streampipe::{Builder, Engine, SeqPacket, Stream};

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

/// What the receives bring where bytes were sent, then bytes with descriptors, then bytes again.
///
/// Descriptors come with the first byte they were sent with, and never two sends of them in one receive. A
/// socket may put earlier bytes in front of it and stops behind the bytes of that send; a ring knows where
/// it is, and not how many it was.
pub(crate) struct Receives {
    pub(crate) before: Vec<Vec<u8>>,
    pub(crate) with: Vec<u8>,
    pub(crate) after: Vec<Vec<u8>>,
}

impl Receives {
    pub(crate) fn of(before: &[u8], with: &[u8], after: &[u8]) -> Self {
        let one = |bytes: &[u8]| Vec::from_iter((!bytes.is_empty()).then(|| bytes.to_vec()));
        match engine() {
            Engine::Ring => {
                Self { before: one(before), with: [with, after].concat(), after: Vec::new() }
            }
            _ => Self { before: Vec::new(), with: [before, with].concat(), after: one(after) },
        }
    }
}

/// Two connected streams of the engine under test.
pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    Builder::new().engine(engine()).pair()
}

/// Two of them with about this much room for what was not read.
pub(crate) fn pair_with_room(bytes: usize) -> io::Result<(Stream, Stream)> {
    if engine() == Engine::Ring {
        return Builder::new().engine(Engine::Ring).capacity(bytes).pair();
    }
    let (a, b) = Stream::pair()?;
    a.set_send_buffer_size(bytes)?;
    b.set_send_buffer_size(bytes)?;
    Ok((a, b))
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
