//! Stream pipes: two connected sockets for related processes.
//!
//! `socketpair(2)` gives two processes, a parent and its child, two sockets that are already
//! connected: unnamed, private, full duplex, and able to carry open descriptors. This crate is that
//! call and what it takes to use it without losing a byte, a descriptor or a child.
//!
//! | to | use |
//! |---|---|
//! | make a stream pipe | [`pair`], [`Stream`] |
//! | make the call itself, with the standard's errors | [`socketpair`] |
//! | be as fast as memory | [`Builder`] with [`Engine::Ring`] |
//! | carry whole packets | [`SeqPacket`]; with its traps, [`Datagram`] |
//! | pass descriptors | [`Stream::send_fds`], [`Stream::recv_fds`]; keep them out: [`Stream::refuse_fds`] |
//! | say what a passed descriptor must be | [`FdRule`]; for all that come and go: [`FdPolicy`] |
#![cfg_attr(
    feature = "serde",
    doc = "| send values with descriptors inside, and call | [`channel()`], [`Channel`], [`Fd`]; in tasks: `streampipe::tokio` |"
)]
#![cfg_attr(
    not(feature = "serde"),
    doc = "| send values with descriptors inside, and call | `channel`, with the feature `serde` |"
)]
//! | send whole messages of bytes and descriptors | [`RawChannel`], [`Budget`] |
//! | read and write at once | [`copy_both`], [`Stream::into_split`] |
//! | start a program that holds the other end | [`Command`], [`Child`]; in the program: [`inherited`] |
//! | fork, each side holding one end | [`fork()`], [`Fork`] |
//! | fork workers for a large program | [`Zygote`], [`Worker`] |
//! | know who speaks | [`Stream::recv_hello`] |
//! | know from an error that the peer is gone | [`is_disconnected`], [`RecvError::is_disconnected`] |
//! | join two programs | [`join::Join`] |
//!
//! # Traps
//!
//! Every one of these has a section in `GOTCHAS.md` of the repository.
//!
//! - Both sides writing more than the buffers hold before either reads is a deadlock, with any pipe.
//! - The end comes when the *last* copy of the other end closes.
//! - Descriptors travel with bytes: a plain `read` that meets them fails and keeps both.
//! - A child that is gone may have left a copy of its end to another process: on the ends of a [`Child`] and a
//!   [`Worker`] a call returns all the same ([`PeerGone`]), on a bare [`pair`] it does not.
//! - A [`Datagram`] has no end, and lets its holder send to any named socket.
//! - A send that succeeded says "queued", not "read".
//! - Values that are sent by reference stay open here; a `Vec<u8>` is encoded byte by byte, [`Bytes`] is not.
//!
//! # Examples
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let (mut ours, mut theirs) = streampipe::pair()?;
//! ours.write_all(b"ping")?;
//! let mut heard = [0; 4];
//! theirs.read_exact(&mut heard)?;
//! theirs.write_all(b"pong")?; // The same pipe, the other way.
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Features
//!
//! `serde` (default): typed channels. `tokio`: all of it for tasks.
//!
//! # Platform
//!
//! Linux 5.4 or later; `PLATFORM.md` says which kernel each promise needs.

#![forbid(unsafe_code)]
// Parts of the ends and of raw messages are there for the typed channels.
#![cfg_attr(not(feature = "serde"), allow(dead_code, unused_imports))]

mod call;
#[cfg(feature = "serde")]
mod channel;
mod end;
mod inherit;
pub mod join;
mod message;
pub mod os;
mod policy;
mod process;
mod relay;
mod ring;
mod spawn;
#[cfg(feature = "tokio")]
pub mod tokio;
mod turn;
mod zygote;

pub use call::{Family, Type, UnsupportedPair, socketpair};
#[cfg(feature = "serde")]
pub use channel::{
    Channel, Fd, Incoming, Request, Responder, Sendable, Undecodable, Values, channel, passed,
};
pub use end::{
    ConvertError, Datagram, FdError, NoHello, PacketError, Peer, PeerGone, ReadHalf, ReuniteError,
    SeqPacket, Stream, WriteHalf, is_disconnected, pair,
};
pub use inherit::{NotInherited, inherited};
pub use message::{
    Budget, Bytes, CallError, Message, Messages, RawChannel, RawRequest, RecvError, SendError,
    SendReason, TooLarge,
};
pub use policy::{Access, FdKind, FdPolicy, FdRule, RefusedFd, Seals, WrongFd};
pub use process::{
    Child, Fork, ForkRefused, StatusUnavailable, StopSchedule, fork, fork_unchecked,
};
pub use relay::{CopyError, copy_both, copy_both_timeout};
pub use ring::{Builder, Engine, Poisoned, Readable, Reserved, Wait};
pub use spawn::{Command, Inheritable, Resource, SpawnError, SpawnStep, Stdio, UnreadableCommand};
pub use streampipe_ring::{Corrupt, Overrun};
pub use streampipe_sys::region::Trusted;
pub use streampipe_wire::{BadNote, Malformed, Torn};
pub use zygote::{Death, Deaths, Worker, Zygote};

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
