//! The cellar of streampipe: every system call and every `unsafe` block of the project.
//!
//! This crate is an implementation detail of `streampipe`: its
//! interface follows the kernel's and changes whenever `streampipe` needs it to. Rules of the
//! room:
//!
//! 1. Each function is one operation of the kernel's with its traps taken out: `EINTR` is retried,
//!    new descriptors are close-on-exec from birth and never 0, 1 or 2, and are owned before
//!    anything else can fail.
//! 2. No policy: no buffering, no deadlines beyond the one wait in [`wait`](mod@wait), no threads.
//! 3. [`cmsg`] is arithmetic on byte slices; it makes no call and has no `unsafe`.
//! 4. Between `clone` and `exec` ([`spawn`](mod@spawn)) nothing allocates, locks or panics.
//!
//! Platform: Linux 5.4 or later.

#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(not(target_os = "linux"))]
compile_error!("streampipe supports Linux; see PLATFORM.md for what other systems would need");

pub mod arrivals;
pub mod bell;
pub mod cmsg;
pub mod describe;
pub mod fd;
pub mod fork;
pub mod futex;
pub mod generation;
pub mod inherited;
pub mod job;
pub mod message;
pub mod open;
pub mod pipe;
pub mod process;
pub mod queue;
pub mod region;
pub mod signal;
pub mod sockopt;
pub mod spawn;
pub mod table;
pub mod wait;
