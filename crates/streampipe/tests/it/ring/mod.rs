//! What only the ring engine has, or has in its own way. What both engines have in common is in `conformance` and the
//! suites of messages, channels and tasks, which run on both.

/// Which system calls are made, and which are not.
mod calls;
/// Programs that are started with an end, and forks of all kinds.
mod children;
/// Descriptors among bytes.
mod fds;
/// What is written in place, and read.
mod in_place;
/// Who waits for what somebody writes in place, or reads.
mod lent;
/// What the process may not have.
mod limits;
/// Who polls the descriptor.
mod polled;
/// Threads that share an end.
mod shared;
/// Tasks.
mod tasks;
