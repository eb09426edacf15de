//! Starting a program without copying the parent's page tables, and without `pre_exec`.
//!
//! `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`: the child borrows the parent's memory until it
//! calls `exec`, so the cost does not grow with the parent, and what went wrong comes back through
//! that memory: there is no error pipe whose number a target could collide with (kernel trap D5).
//! Where the system makes a copy of the memory all the same, as valgrind and qemu-user do, the child
//! reports over a pipe, which gets out of the way of every target.
//!
//! Rules of this room:
//!
//! 1. Everything the child needs is built before the clone. Between the clone and `exec` nothing
//!    allocates, locks, or panics; only the system calls listed at `child` in `program.rs` are made.
//! 2. All signals are blocked around the clone, and handlers are reset in the child before it lets
//!    signals in, so that no handler of the parent's ever runs on borrowed memory.
//! 3. Descriptors are placed in two phases, so that every permutation and cycle comes out right.
//! 4. What changes the identity is a bare system call: the C library's `setuid` would change every
//!    thread of the parent, whose list of threads the child borrows too.

mod clone;
mod image;
mod in_flight;
mod moves;
mod own_id;
mod program;
mod setup;
mod spawn_error;
mod stack;
mod start;
mod strings;
mod undumpable;

pub use image::{Image, Lookup};
pub use in_flight::{StartGuard, StartMark};
pub use rustix::process::Resource;
pub use setup::{Group, Identity, Limit, Placement, Setup, SupplementaryGroups};
pub use spawn_error::{SpawnError, Step};
pub use start::{Spawned, spawn};
pub use strings::Strings;
