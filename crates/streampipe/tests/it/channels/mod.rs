//! Typed channels: values with descriptors inside, calls, and what a peer could do to them.

// Bytes that claim more than they are.
mod bombs;
// A peer that makes its frames by hand.
mod by_hand;
// Requests and their answers.
mod calls;
// Children, who serve, are not trusted, or die.
mod children;
// An untrusted child that may return some descriptors.
mod decoder;
// Each error, deadlines, and values that misbehave.
mod errors;
// Which descriptors come and go, and what a budget keeps out.
mod policy;
// Values of every shape.
mod shapes;
// What is not handed over, and who is told.
mod spoiled;
// Several threads on one end: one of them reads for all.
mod waiters;
// A descriptor that is taken out of a value while it is sent.
mod taken;
// Channels inside of values.
mod travel;
// What postcard cannot say.
mod unsayable;
// Values, with whatever may stand in them.
mod typed;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe::Channel;

use crate::engines::over_each_carrier;

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(10);

/// A pair over each carrier.
pub(crate) fn pairs<A, B>() -> Vec<(Channel<A, B>, Channel<B, A>)>
where
    A: Serialize + DeserializeOwned,
    B: Serialize + DeserializeOwned,
{
    over_each_carrier(|a, b| (a.into(), b.into()), |a, b| (a.into(), b.into()))
}
