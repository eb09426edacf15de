//! The socket of a ring: doorbells, descriptors, a hello, the memory of a child, and the end.

mod hello;
mod memory;
mod notes;

pub(crate) use hello::Hello;
pub(crate) use memory::{Unusable, receive_ring, send_memory};

pub(super) use notes::{
    Batch, Doorbell, Heard, Lifeline, Trouble, is_behind, ring_bell, send_note,
};
