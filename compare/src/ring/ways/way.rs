//! A way, and the list of all.

use std::io;

use super::{bytes, iceoryx, in_place, ipc, packets, shm};
use crate::ring::block::Block;

/// One end.
pub trait End {
    /// Writes every byte of the block and sends it.
    ///
    /// # Errors
    ///
    /// The way's.
    fn send(&mut self, block: Block) -> io::Result<()>;

    /// Receives the block and compares every byte of it.
    ///
    /// # Errors
    ///
    /// The way's, and a byte that is not as it was written.
    fn receive(&mut self, block: Block) -> io::Result<()>;
}

/// Makes an end, in the process that has it.
pub type Opener = Box<dyn FnOnce() -> io::Result<Box<dyn End>>>;

/// How a way waits; rows of one class are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// In the kernel.
    Sleeps,
    /// Never.
    Spins,
    /// First awake, then asleep.
    Both,
}

/// A way.
#[derive(Clone, Copy)]
pub struct Way {
    /// What the tables call it.
    pub name: &'static str,
    /// How it waits.
    pub class: Class,
    /// The largest block it takes.
    pub most: usize,
    /// How many messages of 64 bytes it takes at once; 1 if it cannot.
    pub batch: usize,
    /// Makes both ends, for blocks of at most so many bytes.
    pub make: fn(usize) -> io::Result<(Opener, Opener)>,
}

const MIB: usize = 1 << 20;

/// As its configuration says, which it does not leave in silence.
pub const SHMIPC: &str = "shmipc, v4 eventfd";

/// All of them. The first is what the others are compared with.
pub const ALL: &[Way] = &[
    Way {
        name: "socketpair",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 1,
        make: bytes::socketpair,
    },
    Way {
        name: "socketpair, 4 MiB",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 4096,
        make: bytes::large_socketpair,
    },
    Way {
        name: "packets, sendmmsg",
        class: Class::Sleeps,
        most: 64,
        batch: 64,
        make: packets::make,
    },
    Way { name: "pipe", class: Class::Sleeps, most: 64 * MIB, batch: 1024, make: bytes::pipe },
    Way {
        name: "pipe, 1 MiB",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 4096,
        make: bytes::large_pipe,
    },
    Way { name: "TCP", class: Class::Sleeps, most: 64 * MIB, batch: 1024, make: bytes::tcp },
    Way { name: "ipc-channel", class: Class::Sleeps, most: 64 * MIB, batch: 1, make: ipc::make },
    Way { name: SHMIPC, class: Class::Sleeps, most: 64 * MIB, batch: 1, make: shm::make },
    Way { name: "iceoryx2", class: Class::Spins, most: 64 * MIB, batch: 64, make: iceoryx::polled },
    Way {
        name: "iceoryx2, events",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 64,
        make: iceoryx::events,
    },
    Way {
        name: "streampipe, socket",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 1,
        make: bytes::ours,
    },
    Way { name: "ring", class: Class::Both, most: 64 * MIB, batch: 1, make: bytes::ring },
    Way {
        name: "ring, spinning",
        class: Class::Spins,
        most: 64 * MIB,
        batch: 1,
        make: bytes::ring_spinning,
    },
    Way {
        name: "ring, sleeping",
        class: Class::Sleeps,
        most: 64 * MIB,
        batch: 1,
        make: bytes::ring_sleeping,
    },
    Way {
        name: "ring, in place",
        class: Class::Both,
        most: 64 * MIB,
        batch: 64,
        make: in_place::make,
    },
];

/// The way of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Way> {
    ALL.iter().find(|way| way.name == name)
}
