//! Ours beside other people's: the same work, interleaved rounds, and the machine they belong to.
//!
//! `measure` serves `bench spawn`, [`ring`] is `bench ring`; the rest is `bench messages`: [`ways`] holds one file for each way
//! two processes can talk, [`works`] what is measured of them.

pub mod ancillary;
pub mod exchange;
pub mod frame;
pub mod measure;
pub mod message;
pub mod peer;
pub mod place;
pub mod plot;
pub mod race;
pub mod ring;
pub mod ways;
pub mod works;
