use std::iter::FusedIterator;

use super::RawChannel;
use crate::{Message, RecvError};

/// The messages of a channel, until it ends; from [`RawChannel::iter`].
#[derive(Debug)]
pub struct Messages<'channel> {
    channel: &'channel RawChannel,
    is_over: bool,
}

impl<'channel> Messages<'channel> {
    pub(super) fn new(channel: &'channel RawChannel) -> Self {
        Self { channel, is_over: false }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let received = self.channel.recv();
        self.is_over = matches!(&received, Err(error) if error.is_final());
        match received {
            Err(RecvError::Closed) => None,
            other => Some(other),
        }
    }
}

impl FusedIterator for Messages<'_> {}
