//! A peer that writes its own bytes: what our channel receives is made by hand.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe::{RawChannel, RecvError, SeqPacket, Stream};
use streampipe_wire::{Frames, HEADER_LEN, Header, Kind, Totals};

use super::borrowed;
use crate::engines::{over_each_carrier, pair};
use crate::support::identity;

/// The end that the peer writes to.
pub(super) enum Peer {
    Packets(SeqPacket),
    Bytes(Stream),
}

impl Peer {
    /// A peer over packets, and our end.
    pub(super) fn of_packets() -> (Self, RawChannel) {
        let (theirs, ours) = SeqPacket::pair().expect("a pair");
        (Self::Packets(theirs), ours.into())
    }

    /// A peer over a stream, and our end.
    pub(super) fn of_bytes() -> (Self, RawChannel) {
        let (theirs, ours) = pair().expect("a pair");
        (Self::Bytes(theirs), ours.into())
    }

    pub(super) fn of_each_kind() -> Vec<(Self, RawChannel)> {
        over_each_carrier(
            |theirs, ours| (Self::Packets(theirs), ours.into()),
            |theirs, ours| (Self::Bytes(theirs), ours.into()),
        )
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    /// Sends these bytes, descriptors on the first of them.
    pub(super) fn put(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let sent = self.try_put(bytes, fds).expect("room for it");
        assert_eq!(sent, bytes.len(), "room for all of it");
    }

    pub(super) fn try_put(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize> {
        match self {
            Self::Packets(end) => end.send_fds(bytes, fds),
            Self::Bytes(end) => end.send_fds(bytes, fds),
        }
    }

    pub(super) fn put_frame(&self, header: Header, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        self.put(&[&header.to_bytes()[..], payload].concat(), fds);
    }

    /// Sends a message as it should be.
    pub(super) fn put_message(&self, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        for piece in pieces(payload, fds.len()) {
            self.put(&piece.bytes, &fds[piece.fds]);
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Packets(end) => end.as_fd(),
            Self::Bytes(end) => end.as_fd(),
        }
    }
}

/// A frame as bytes, and which of the message's descriptors come with it.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: std::ops::Range<usize>,
}

/// The frames of a message.
pub(super) fn pieces(payload: &[u8], fds: usize) -> Vec<Piece> {
    let totals = Totals { bytes: payload.len() as u64, fds: u32::try_from(fds).expect("few") };
    let frames = Frames::new(Kind::Message, 0, totals);
    let piece = |frame: streampipe_wire::Frame| Piece {
        bytes: [&frame.header.to_bytes()[..], &payload[frame.bytes]].concat(),
        fds: frame.fds,
    };
    frames.map(piece).collect()
}

/// The first frame of a message, of which this much follows.
pub(super) fn first(length: u32, rest: u64, rest_fds: u32) -> Header {
    Header { length, rest, rest_fds, ..Header::new(Kind::Message, 0) }
}

/// A frame that brings descriptors, of which this many follow.
pub(super) fn bringing(fds: u16, rest_fds: u32) -> Header {
    Header { fds, rest_fds, ..Header::new(Kind::Message, 0) }
}

pub(super) fn withdrawal() -> Header {
    Header::new(Kind::Withdrawal, 0)
}

/// Files that are told apart by their inode.
pub(super) struct Files(Vec<OwnedFd>);

impl Files {
    pub(super) fn new() -> Self {
        Self((0..24).map(|_| tempfile::tempfile().expect("a file").into()).collect())
    }

    /// So many descriptors of them, from this one on, over and over.
    pub(super) fn some(&self, first: usize, count: usize) -> Vec<BorrowedFd<'_>> {
        let fds = self.0.iter().cycle().skip(first % self.0.len());
        fds.take(count).map(AsFd::as_fd).collect()
    }
}

/// Whether these are descriptors of those files, in order.
pub(super) fn are_same(came: &[OwnedFd], sent: &[BorrowedFd<'_>]) -> bool {
    let identities = |fds: Vec<BorrowedFd<'_>>| fds.into_iter().map(identity).collect::<Vec<_>>();
    identities(borrowed(came)) == identities(sent.to_vec())
}

/// Receives what must be there already.
pub(super) fn expect_message(ours: &RawChannel, payload: &[u8], fds: &[BorrowedFd<'_>]) {
    let message = ours.try_recv().expect("a message");
    assert!(message.bytes == payload, "another payload: {:?}", message.bytes);
    assert!(are_same(&message.fds, fds), "{} descriptors, or others", message.fds.len());
}

pub(super) fn expect_nothing(ours: &RawChannel) {
    let received = ours.try_recv();
    assert!(matches!(received, Err(RecvError::Empty)), "{received:?}");
}

pub(super) fn expect_closed(ours: &RawChannel) {
    let received = ours.try_recv();
    assert!(matches!(received, Err(RecvError::Closed)), "{received:?}");
}

/// The bytes of a header.
pub(super) const HEADER: usize = HEADER_LEN;
