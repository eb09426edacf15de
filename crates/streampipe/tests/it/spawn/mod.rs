//! `Command` and its `Child`, from outside: each start, each death, each ending.
//!
//! Rules of this directory:
//!
//! 1. What a promise says is shown next to the broken way, which the same check notices.
//! 2. The child is asked: what it holds, sees or was sent comes from its own mouth.
//! 3. A child that would run on is ended by the test, and so is what it leaves behind.

/// A program that is being started keeps ends open for a moment.
mod closing_copies;
/// A known peer dies while a call waits for it.
mod death;
/// Where a child gets a copy of the memory.
mod emulated;
/// `stop`, `wait`, `drop` and `signal`.
mod ending;
/// Supplementary groups of a child with another user.
mod groups;
/// Children that are slow, or stopped, on the way to their program.
mod held_up;
/// What these tests share.
pub(crate) mod helpers;
/// Too few descriptors or processes, and statuses that nobody keeps.
mod limits;
/// Which file a name means to another user.
mod lookup;
/// Kernels, filters and C libraries that lack something.
mod old_kernels;
/// Each descriptor under its number.
mod placing;
/// The process group that a child leads.
mod process_groups;
/// Calls about processes that a kernel or a filter refuses.
mod refused;
/// What reviews found.
mod reviewed;
/// As `std::process::Command` does.
mod std_like;
/// Each step that fails is told as that step.
mod steps;
/// Nothing else is inherited.
mod strays;
/// Other kernels, emulators and C libraries.
pub(crate) mod system;
/// A child and everything that descends from it.
mod trees;
/// `Ok` means that it runs; an error leaves nothing.
mod truth;
/// A command and its child as values: how one is shown, how the other is taken apart.
mod values;
/// Standard descriptors, announced descriptors, and who holds what.
mod wires;
