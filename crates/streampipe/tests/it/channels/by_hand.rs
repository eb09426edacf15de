//! A peer that makes its frames by hand, as no peer that follows the protocol does.

use std::io::{Read, Write};
use std::net::Shutdown;

use streampipe::{Channel, Stream};

use super::HANG;
use crate::engines::pair;

pub(super) const MESSAGE: u8 = 1;
pub(super) const REQUEST: u8 = 2;
pub(super) const ANSWER: u8 = 3;
pub(super) const NO_ANSWER: u8 = 4;
pub(super) const WITHDRAWAL: u8 = 5;

/// The other end of a channel.
pub(super) struct ByHand(Stream);

/// A channel, and its peer.
pub(super) fn by_hand<A, B>() -> (Channel<A, B>, ByHand) {
    let (ours, theirs) = pair().expect("a pair");
    theirs.set_read_timeout(Some(HANG)).expect("a timeout");
    theirs.set_write_timeout(Some(HANG)).expect("a timeout");
    (ours.into(), ByHand(theirs))
}

/// A message of one frame.
pub(super) fn frame(kind: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'S', b'P', 1, kind, 0, 0, 0, 0];
    frame.extend(u32::try_from(payload.len()).expect("a short one").to_le_bytes());
    frame.extend([0; 12]);
    frame.extend(id.to_le_bytes());
    frame.extend(payload);
    frame
}

impl ByHand {
    pub(super) fn send(&self, kind: u8, id: u64, payload: &[u8]) {
        self.write(&frame(kind, id, payload));
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        (&self.0).write_all(bytes).expect("room");
    }

    /// The next frame's kind, id and payload; `None` at the end.
    pub(super) fn recv(&self) -> Option<(u8, u64, Vec<u8>)> {
        let mut header = [0; 32];
        if (&self.0).read(&mut header[..1]).expect("a frame in time") == 0 {
            return None;
        }
        (&self.0).read_exact(&mut header[1..]).expect("all of a header");
        let len = u32::from_le_bytes(header[8..12].try_into().expect("4 bytes"));
        let mut payload = vec![0; len as usize];
        (&self.0).read_exact(&mut payload).expect("all of a frame");
        let id = u64::from_le_bytes(header[24..].try_into().expect("8 bytes"));
        Some((header[3], id, payload))
    }

    pub(super) fn close(&self) {
        self.0.shutdown(Shutdown::Write).expect("ours");
    }
}
