//! Tests of the ring.

#![forbid(unsafe_code)]

// Positions, capacities and arms, and the two sides beside a queue.
mod arithmetic;
// A peer whose words say something else at each look.
mod hostile;
// Words of both ends.
mod memory;
// The wake-ups, in all executions of the memory model, and in memories that lack something.
mod wake;
