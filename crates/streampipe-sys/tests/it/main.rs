//! Tests of the cellar: each trap that lives below the public types.

/// A process of its own for each test, and a look at what it leaves behind.
#[path = "../../../streampipe/tests/it/support.rs"]
mod support;

/// Control messages: arbitrary bytes, and the layout the kernel uses.
mod cmsg;
/// What older kernels do not know.
mod fallbacks;
/// The fork that asks nothing.
mod fork;
/// Closed standard descriptors: nothing of ours takes their numbers.
mod lifting;
/// Receiving: what the kernel attaches unasked is owned and closed.
mod message;
/// Spawning: every target, every permutation, every failure.
mod spawn;
