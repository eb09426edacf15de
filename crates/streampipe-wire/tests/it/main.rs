//! The codec, tried with bytes alone.

// What a peer claims costs nothing.
mod claims;
// An allocator that counts.
#[path = "../../../streampipe-sys/tests/shared/counting.rs"]
mod counting;
// Cut short, cut in two, one bit turned over.
mod cuts;
// The encoder at the bounds.
mod frames;
// Each byte of a header.
mod header;
// What goes over the lifeline of a ring.
mod note;
// A decoder that is plain and slow, for comparison.
mod oracle;
// What is no stream.
mod packets;
// What was encoded is decoded, wherever it is cut.
mod round_trip;
// Messages that stand for the others.
mod samples;
// All short sequences of headers.
mod sequence;
// A million streams with damage.
mod streams;
