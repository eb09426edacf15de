//! Raw messages, over packets and over a stream.

// One system call of a channel fails, at every place in turn.
mod faults;
// Calls that do not wait, or whose deadline has passed.
mod at_once;
// A peer that does not follow the protocol.
mod hostile;
// Signals that interrupt system calls.
#[path = "../../../../streampipe-sys/tests/shared/interrupt.rs"]
mod interrupt;
// Random schedules against a model.
mod model;
// Random and half-right bytes.
mod noise;
// A peer that writes its own bytes.
mod peer;
// What is received is changed in place.
mod payload;
// What is sent arrives.
mod raw;
// What a review found.
mod reviewed;
// A stream cut at every byte.
mod split;
// What was not sent has not come.
mod not_sent;
// The document and its examples.
mod protocol;
// A peer in another language.
mod python;
// Ends at which frames are written by hand.
mod by_hand;
// What is too much, and for whom.
mod limits;
// What comes last, and from several threads.
mod ends;
// A peer that floods and never reads.
mod unclaimed;
// Who waits is told when it is over.
mod waiters;
// No call takes longer than it may.
mod time;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe::RawChannel;

use crate::engines::over_each_carrier;

/// A pair over each carrier.
pub(crate) fn pairs() -> Vec<(&'static str, RawChannel, RawChannel)> {
    over_each_carrier(|a, b| ("packets", a.into(), b.into()), |a, b| ("stream", a.into(), b.into()))
}

/// Descriptors that can be told apart by what they read.
pub(crate) fn files(count: usize, first: usize) -> Vec<OwnedFd> {
    use std::io::{Seek, Write};
    (first..first + count)
        .map(|number| {
            let mut file = tempfile::tempfile().expect("a file");
            write!(file, "{number}").expect("room");
            file.rewind().expect("a file");
            file.into()
        })
        .collect()
}

pub(crate) fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

pub(crate) fn number_in(fd: OwnedFd) -> usize {
    use std::io::{Read, Seek};
    let mut file = std::fs::File::from(fd);
    let mut text = String::new();
    file.rewind().expect("a file");
    file.read_to_string(&mut text).expect("text");
    text.parse().expect("a number")
}
