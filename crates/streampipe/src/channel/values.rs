use std::iter::FusedIterator;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Channel, Request};
use crate::RecvError;

/// What comes on a channel that is both talked and called over; from [`Channel::recv_any`].
#[derive(Debug)]
pub enum Incoming<A, B> {
    /// A value that expects no answer.
    Value(B),
    /// A request, to be answered.
    Request(Request<A, B>),
}

/// The values of a channel, until it ends; from [`Channel::iter`].
#[derive(Debug)]
pub struct Values<'channel, A, B> {
    channel: &'channel Channel<A, B>,
    is_over: bool,
}

impl<'channel, A, B> Values<'channel, A, B> {
    pub(super) fn new(channel: &'channel Channel<A, B>) -> Self {
        Self { channel, is_over: false }
    }
}

impl<A: Serialize, B: DeserializeOwned> Iterator for Values<'_, A, B> {
    type Item = Result<B, RecvError>;

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

impl<A: Serialize, B: DeserializeOwned> FusedIterator for Values<'_, A, B> {}
