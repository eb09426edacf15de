//! The codec, tried with bytes alone.

// What was encoded is decoded, wherever it is cut.
mod round_trip;
