//! A child and all that descends from it.

mod descendants;
mod kill_tree;

pub(crate) use descendants::Descendants;

pub(in crate::process) use kill_tree::kill_tree;
