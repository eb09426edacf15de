//! The socket of a ring: doorbells, descriptors, a hello, the memory of a child, and the end.

mod batches;
mod hello;
mod memory;
mod notes;

pub(crate) use hello::Hello;
pub(crate) use memory::{Unusable, receive_ring, send_memory};

pub(super) use batches::{Came, Search};
pub(super) use notes::{Doorbell, Heard, Lifeline, Trouble, ring_bell, send_note};
