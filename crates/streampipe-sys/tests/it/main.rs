//! Tests of the cellar: each trap that lives below the public types.

/// A process of its own for each test, and a look at what it leaves behind.
#[path = "../../../streampipe/tests/it/support.rs"]
mod support;

/// Whether this process can be dumpable again.
#[path = "../shared/kcmp.rs"]
mod kcmp;

/// Between the clone and `exec`: which calls a child makes, and that it allocates nothing.
mod after_clone;
/// What a program is asleep in.
mod asleep;
/// Control messages: arbitrary bytes, and the layout the kernel uses.
mod cmsg;
/// A debugger's breakpoints beside starts.
mod debugger;
/// What kind of thing a descriptor is, and who is asked.
mod describe;
/// What a process does with signals.
mod dispositions;
/// What older kernels do not know.
mod fallbacks;
/// The fork that asks nothing.
mod fork;
/// Taking over what the parent prepared.
mod inherited;
/// Closed standard descriptors: nothing of ours takes their numbers.
mod lifting;
/// Signals that are blocked for a while.
mod masks;
/// Receiving: what the kernel attaches unasked is owned and closed.
mod message;
/// Pipes as one direction of a stream: no `SIGPIPE`, and an end to reading.
mod pipe;
/// Shared memory: what of a peer's is mapped, and what never.
mod region;
/// Spawning: every target, every permutation, every failure.
mod spawn;
/// Waits that are longer than a kernel can count.
mod waiting;
