//! An end that is two pipes, one for each direction.

mod outlet;
mod read_pipe;

pub(super) use outlet::Outlet;
pub(super) use read_pipe::ReadPipe;
