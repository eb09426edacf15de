//! A fork server: a small process that forks workers for a large one.
//!
//! | file | process |
//! |---|---|
//! | `zygote.rs`, `worker.rs`, `deaths.rs`, `control.rs` | the one that asks |
//! | `server.rs`, `brood.rs` | the zygote |
//! | `message.rs` | what the two say to each other |

mod brood;
mod control;
mod deaths;
mod message;
mod server;
mod worker;
mod zygote_process;

pub use deaths::{Death, Deaths};
pub use worker::Worker;
pub use zygote_process::Zygote;
