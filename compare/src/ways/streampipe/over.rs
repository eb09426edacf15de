use std::io;
use std::os::fd::OwnedFd;

use streampipe::{RawChannel, SeqPacket, Stream};

use crate::peer::{Peer, Task};
use crate::ways::Way;

/// What carries the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Packets,
    Bytes,
}

impl Over {
    /// Both ends; the second one is for whoever inherits it.
    pub(super) fn pair(self) -> io::Result<(RawChannel, OwnedFd)> {
        Ok(match self {
            Self::Packets => {
                let (ours, theirs) = SeqPacket::pair()?;
                (ours.into(), theirs.into())
            }
            Self::Bytes => {
                let (ours, theirs) = Stream::pair()?;
                (ours.into(), theirs.into())
            }
        })
    }

    /// Two channels, to be closed.
    pub(super) fn both(self) -> io::Result<(RawChannel, RawChannel)> {
        match self {
            Self::Packets => RawChannel::pair(),
            Self::Bytes => {
                let (ours, theirs) = Stream::pair()?;
                Ok((ours.into(), theirs.into()))
            }
        }
    }

    /// Our end, and the peer that has the other.
    pub(super) fn start(self, way: &dyn Way, task: Task) -> io::Result<(RawChannel, Peer)> {
        let (ours, theirs) = self.pair()?;
        Ok((ours, Peer::with_end(way, task, theirs)?))
    }
}

/// The end that this process was started with.
pub(super) fn inherited() -> io::Result<RawChannel> {
    Ok(RawChannel::try_from(crate::peer::inherited()?)?)
}
