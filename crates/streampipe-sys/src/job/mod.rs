//! Programs that run side by side: their process group and terminal, and what `/proc` shows of them.

mod control;
pub mod procfs;

pub use control::{
    die_of, ended_status, has_terminal, is_ignored, reap, signal_group_of, survive_file_limit,
};
