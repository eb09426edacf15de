//! The ring beside other ways to move bytes between two processes: `bench ring`.
//!
//! [`ways`] are the ways, [`work`] what is measured of them: each block is written on one side and compared on the other,
//! by the same code for all. [`team`] is a way with its two processes.

pub mod block;
pub mod both;
pub mod calibrate;
pub mod clock;
pub mod epoll;
pub mod forked;
pub mod memory;
pub mod order;
pub mod pairs;
pub mod pattern;
pub mod picture;
pub mod queue;
pub mod report;
pub mod setup;
pub mod shared;
pub mod table;
pub mod team;
pub mod usage;
pub mod ways;
pub mod work;
