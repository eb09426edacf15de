//! The ring, written and read in place: one publication for a block.

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

struct InPlace {
    stream: Stream,
    piece: [u8; PIECE],
}

impl End for InPlace {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let mut room = self.stream.reserve(block.size())?;
        for at in (0..block.size()).step_by(PIECE) {
            let piece = &mut self.piece[..PIECE.min(block.size() - at)];
            block.fill(piece, at);
            room.write_at(at, piece);
        }
        room.commit(block.size())
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let mut at = 0;
        while at < block.size() {
            let mut there = self.stream.readable()?;
            if there.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while at < block.size() && !there.is_empty() {
                let most = PIECE.min(block.size() - at).min(there.len());
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
