//! Tests of the ring.

fn main() {}
