//! Tests of the library from outside.

/// Whether this process can be dumpable again.
#[path = "../../../streampipe-sys/tests/shared/kcmp.rs"]
mod kcmp;
/// A process of its own for each test, and a look at what it leaves behind.
mod support;
/// A peer that is trusted.
#[path = "../../../streampipe-sys/tests/shared/trusted.rs"]
mod trusted;

/// What streams do, with each engine.
mod engines;

/// The same for tasks.
mod asynchronous;
/// The call: errors, numbers, close-on-exec.
mod call;
/// Values over a channel, and calls.
mod channels;
/// What a send says, beside what the peer got.
mod delivery;
/// A process that may open nothing any more waits all the same.
mod descriptor_limit;
/// Conversions, halves, timeouts, threads.
mod ends;
/// How errors compose.
mod errors;
/// The examples, run as programs.
mod examples;
/// One system call fails, at every place in turn.
mod faults;
/// Who said hello, as the kernel attests.
mod hello;
/// The child's side: which end is adopted, and which never.
mod inherit;
/// The longest timeouts and deadlines.
mod long_timeouts;
/// Whole messages of bytes.
mod messages;
/// Calls that ask for nothing.
mod nothing;
/// A call whose deadline is past does what one does that does not wait.
mod past_deadlines;
/// What a descriptor must be, and which may come and go.
mod policy;
/// `read_exact` within a timeout that is shorter than what it waits for.
mod read_exact;
/// Calls that are not answered.
mod refused;
/// Other libraries' defects, which we do not have.
mod regression;
/// Both directions at once.
mod relay;
/// The ring engine.
mod ring;

/// What is blocked in a direction that is shut down here.
mod shutdown;

/// The contract, clause by clause.
mod conformance;
/// Programs started with an end in hand.
mod spawn;
