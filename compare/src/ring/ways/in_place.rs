//! The ring, written and read in place: one publication for a block, or for each part of one that is larger than its share
//! of the ring.

use std::io::{self, Read};

use streampipe::{Builder, Engine, Stream};

use super::{End, Opener};
use crate::ring::block::{Block, RECORD};

pub(super) fn make(_most: usize) -> io::Result<(Opener, Opener)> {
    let (a, b) = Builder::new().engine(Engine::Ring).pair()?;
    Ok((opener(a), opener(b)))
}

fn opener(stream: Stream) -> Opener {
    Box::new(move || Ok(Box::new(InPlace { stream, piece: [0; PIECE] })))
}

/// What is made or compared at once, which stays in the nearest cache.
const PIECE: usize = 4096;
/// What is published or given back at once, a quarter of the ring, so that one side works while the other does.
const PART: usize = 64 << 10;

struct InPlace {
    stream: Stream,
    piece: [u8; PIECE],
}

impl End for InPlace {
    fn send(&mut self, block: Block) -> io::Result<()> {
        for first in (0..block.size()).step_by(PART) {
            let part = PART.min(block.size() - first);
            let mut room = self.stream.reserve(part)?;
            for at in (0..part).step_by(PIECE) {
                let piece = &mut self.piece[..PIECE.min(part - at)];
                block.fill(piece, first + at);
                room.write_at(at, piece);
            }
            room.commit(part)?;
        }
        Ok(())
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let mut at = 0;
        while at < block.size() {
            let mut there = self.stream.readable()?;
            if there.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = block.size().min(at + PART);
            while at < end && !there.is_empty() {
                let most = PIECE.min(end - at).min(there.len());
                let most = if most > RECORD { most - most % RECORD } else { most };
                there.read_exact(&mut self.piece[..most])?;
                block.check(&self.piece[..most], at)?;
                at += most;
            }
            there.release();
        }
        Ok(())
    }
}
