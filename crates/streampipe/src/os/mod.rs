//! What one system has and others do not.

pub mod linux;
