//! Tests of the ring.

// The wake-ups, in all executions of the memory model, and in memories that lack something.
mod wake;
