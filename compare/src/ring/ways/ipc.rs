//! ipc-channel's channel of bytes.

use std::io;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use super::{End, Opener};
use crate::ring::block::Block;

pub(super) fn make(most: usize) -> io::Result<(Opener, Opener)> {
    let (there, theirs) = bytes_channel()?;
    let (back, ours) = bytes_channel()?;
    Ok((opener(there, ours, most), opener(back, theirs, most)))
}

fn opener(sender: IpcBytesSender, receiver: IpcBytesReceiver, most: usize) -> Opener {
    Box::new(move || Ok(Box::new(Channel { sender, receiver, buffer: vec![0; most] })))
}

struct Channel {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
    buffer: Vec<u8>,
}

impl End for Channel {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        block.fill(bytes, 0);
        self.sender.send(bytes).map_err(io::Error::other)
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let bytes = self.receiver.recv().map_err(io::Error::other)?;
        block.check(&bytes, 0)
    }
}
