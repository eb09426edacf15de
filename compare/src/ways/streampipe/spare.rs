use streampipe::Bytes;

use crate::message::{Order, fill};

/// The last payload, which is filled anew for the next message.
///
/// A message is sent by reference, so that its payload is there afterwards.
#[derive(Default)]
pub(super) struct Spare(Bytes);

impl Spare {
    /// A payload that is filled.
    pub(super) fn take(&mut self, order: Order) -> Bytes {
        let mut payload = self.room(order.size);
        fill(payload.make_mut(), order.sequence);
        payload
    }

    /// A payload of this size, to be filled.
    pub(super) fn room(&mut self, size: usize) -> Bytes {
        let payload = std::mem::take(&mut self.0);
        if payload.len() == size { payload } else { vec![0; size].into() }
    }

    /// Keeps a payload that was sent or received.
    pub(super) fn put(&mut self, payload: Bytes) {
        self.0 = payload;
    }

    /// Gives the memory back to the channel, which receives the next one into it.
    pub(super) fn free(&mut self) {
        self.0 = Bytes::default();
    }
}
