//! Typed channels: values with descriptors inside, calls, and what a peer could do to them.

// Values, with whatever may stand in them.
mod typed;
