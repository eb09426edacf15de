//! An end at which frames are written and read by hand, beside a channel.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use streampipe::{RawChannel, SeqPacket, Stream};
use streampipe_wire::{Decoder, Event, Frames, Header, Kind, Place, Totals};

use super::borrowed;
use crate::engines::over_each_carrier;

/// A test that fails does not wait longer for a reader.
const HANG: Duration = Duration::from_secs(10);

/// The other end of a channel.
pub(crate) enum Hand {
    Packets(SeqPacket),
    Stream(Stream),
}

impl Hand {
    /// A channel over each carrier, and its other end.
    pub(crate) fn pairs() -> Vec<(&'static str, RawChannel, Self)> {
        let packets = |a: SeqPacket, b: SeqPacket| {
            b.set_write_timeout(Some(HANG)).expect("not 0");
            ("packets", a.into(), Self::Packets(b))
        };
        let stream = |a: Stream, b: Stream| {
            b.set_write_timeout(Some(HANG)).expect("not 0");
            ("stream", a.into(), Self::Stream(b))
        };
        over_each_carrier(packets, stream)
    }

    /// Sends a frame, with descriptors on its first byte; says whether there is still a reader.
    pub(crate) fn put(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let sent = match self {
            Self::Packets(end) if fds.is_empty() => end.send(frame),
            Self::Packets(end) => end.send_fds(frame, fds),
            Self::Stream(end) if fds.is_empty() => (&*end).write_all(frame).map(|()| frame.len()),
            Self::Stream(end) => end.send_fds(frame, fds),
        };
        match sent {
            Ok(len) => len == frame.len(),
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::TimedOut => false,
                _ => panic!("by hand: {error}"),
            },
        }
    }

    pub(crate) fn put_message(&self, kind: Kind, id: u64, payload: &[u8], fds: &[OwnedFd]) -> bool {
        frames(kind, id, payload, fds.len())
            .iter()
            .all(|(frame, places)| self.put(frame, &borrowed(&fds[places.clone()])))
    }

    pub(crate) fn withdraw(&self, id: u64) -> bool {
        self.put(&Header::new(Kind::Withdrawal, id).to_bytes(), &[])
    }

    /// Receives a packet, or so many bytes of the stream; none at the end.
    pub(crate) fn get(&self, most: usize) -> Vec<u8> {
        let mut buffer = vec![0; if matches!(self, Self::Stream(_)) { most } else { 80_000 }];
        let got = match self {
            Self::Packets(end) => end.recv(&mut buffer),
            Self::Stream(end) => (&*end).read(&mut buffer),
        };
        buffer.truncate(got.expect("bytes without descriptors"));
        buffer
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self) {
        let ended = match self {
            Self::Packets(end) => end.shutdown(Shutdown::Write),
            Self::Stream(end) => end.shutdown(Shutdown::Write),
        };
        ended.expect("our direction");
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }
}

impl AsFd for Hand {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Packets(end) => end.as_fd(),
            Self::Stream(end) => end.as_fd(),
        }
    }
}

/// A message as frames, each with the places of its descriptors.
pub(crate) fn frames(
    kind: Kind,
    id: u64,
    payload: &[u8],
    fds: usize,
) -> Vec<(Vec<u8>, std::ops::Range<usize>)> {
    let totals = Totals { bytes: payload.len() as u64, fds: fds as u32 };
    Frames::new(kind, id, totals)
        .map(|it| ([&it.header.to_bytes()[..], &payload[it.bytes]].concat(), it.fds))
        .collect()
}

/// A frame of a message with id 0, with what is to follow it.
pub(crate) fn first(payload: &[u8], rest: u64, rest_fds: u32) -> Vec<u8> {
    let length = payload.len() as u32;
    let header = Header { length, rest, rest_fds, ..Header::new(Kind::Message, 0) };
    [&header.to_bytes()[..], payload].concat()
}

/// The payloads of the messages in these frames, without those that were withdrawn.
pub(crate) fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut decoder, mut whole, mut partial) = (Decoder::new(), Vec::new(), Vec::new());
    let mut more = 0;
    while let Some(event) = decoder.next(&mut bytes).expect("frames in order") {
        match event {
            Event::Header(_, Place::Withdrawn) => {
                (partial, more) = (Vec::new(), 0);
                continue;
            }
            Event::Header(header, _) => {
                more = header.rest + u64::from(header.rest_fds) + u64::from(header.length);
            }
            Event::Payload(part) => {
                more -= part.len() as u64;
                partial.extend_from_slice(part);
            }
        }
        if more == 0 {
            whole.push(std::mem::take(&mut partial));
        }
    }
    decoder.finish().expect("whole messages");
    whole
}
