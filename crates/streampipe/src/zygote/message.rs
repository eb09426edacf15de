//! What is said between the two processes, which are two copies of one program: fixed sizes, native
//! byte order. A reply that brings a worker carries two descriptors: its end, and its pidfd.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The size of each message, in bytes.
pub(super) const SIZE: usize = 16;

/// What the zygote is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Fork a worker.
    Fork,
    /// How did the worker of this serial number end?
    Status(u64),
    /// Nobody will ask for this one. There is no reply.
    Forget(u64),
    /// Send this worker a signal: its parent may use its number, and knows whether it was reaped.
    Signal { serial: u64, number: u32 },
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A worker runs; two descriptors come with this.
    Forked { serial: u64, pid: u32 },
    /// None could be made; the error's number.
    Failed(i32),
    /// The worker has ended, so.
    Ended(ExitStatus),
    /// It has not, or somebody traces it.
    Runs,
    /// It has ended, and nobody can say how.
    Unknown,
    /// The signal was sent.
    Signalled,
}

/// A worker that has ended, with the number of its process.
pub(super) fn death(pid: u32, status: Option<ExitStatus>) -> [u8; SIZE] {
    match status {
        Some(status) => pack(1, pid, raw(status)),
        None => pack(2, pid, 0),
    }
}

/// Reads [`death`]; `None` for anything else.
pub(super) fn read_death(bytes: [u8; SIZE]) -> Option<(u32, Option<ExitStatus>)> {
    match unpack(bytes) {
        (1, pid, raw) => Some((pid, Some(status(raw)?))),
        (2, pid, _) => Some((pid, None)),
        _ => None,
    }
}

impl Request {
    pub(super) fn to_bytes(self) -> [u8; SIZE] {
        match self {
            Self::Fork => pack(1, 0, 0),
            Self::Status(serial) => pack(2, 0, serial),
            Self::Forget(serial) => pack(3, 0, serial),
            Self::Signal { serial, number } => pack(4, number, serial),
        }
    }

    pub(super) fn from_bytes(bytes: [u8; SIZE]) -> Option<Self> {
        match unpack(bytes) {
            (1, ..) => Some(Self::Fork),
            (2, _, serial) => Some(Self::Status(serial)),
            (3, _, serial) => Some(Self::Forget(serial)),
            (4, number, serial) => Some(Self::Signal { serial, number }),
            _ => None,
        }
    }
}

impl Reply {
    pub(super) fn to_bytes(self) -> [u8; SIZE] {
        match self {
            Self::Forked { serial, pid } => pack(1, pid, serial),
            Self::Failed(errno) => pack(2, errno.unsigned_abs(), 0),
            Self::Ended(status) => pack(3, 0, raw(status)),
            Self::Runs => pack(4, 0, 0),
            Self::Unknown => pack(5, 0, 0),
            Self::Signalled => pack(6, 0, 0),
        }
    }

    pub(super) fn from_bytes(bytes: [u8; SIZE]) -> Option<Self> {
        match unpack(bytes) {
            (1, pid, serial) => Some(Self::Forked { serial, pid }),
            (2, errno, _) => Some(Self::Failed(i32::try_from(errno).ok()?)),
            (3, _, raw) => Some(Self::Ended(status(raw)?)),
            (4, ..) => Some(Self::Runs),
            (5, ..) => Some(Self::Unknown),
            (6, ..) => Some(Self::Signalled),
            _ => None,
        }
    }
}

fn pack(kind: u32, short: u32, long: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..4].copy_from_slice(&kind.to_ne_bytes());
    bytes[4..8].copy_from_slice(&short.to_ne_bytes());
    bytes[8..].copy_from_slice(&long.to_ne_bytes());
    bytes
}

fn unpack(bytes: [u8; SIZE]) -> (u32, u32, u64) {
    let [a, b, c, d, e, f, g, h, long @ ..] = bytes;
    let (kind, short) = ([a, b, c, d], [e, f, g, h]);
    (u32::from_ne_bytes(kind), u32::from_ne_bytes(short), u64::from_ne_bytes(long))
}

/// An exit status as `wait(2)` gives it, and back: 32 bits, of which the sign is none of our concern.
fn raw(status: ExitStatus) -> u64 {
    u64::from(u32::from_ne_bytes(status.into_raw().to_ne_bytes()))
}

fn status(raw: u64) -> Option<ExitStatus> {
    let bits = u32::try_from(raw).ok()?;
    Some(ExitStatus::from_raw(i32::from_ne_bytes(bits.to_ne_bytes())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::{Reply, Request, death, read_death};

    #[test]
    fn what_is_said_is_understood() {
        let signal = Request::Signal { serial: 8, number: 15 };
        for request in [Request::Fork, Request::Status(u64::MAX), Request::Forget(7), signal] {
            assert_eq!(Request::from_bytes(request.to_bytes()), Some(request));
        }
        let ended = ExitStatus::from_raw(0x8b);
        let forked = Reply::Forked { serial: 9, pid: 4_000_000 };
        let short = [Reply::Runs, Reply::Unknown, Reply::Signalled];
        for reply in [forked, Reply::Failed(11), Reply::Ended(ended)].into_iter().chain(short) {
            assert_eq!(Reply::from_bytes(reply.to_bytes()), Some(reply));
        }
        assert_eq!(read_death(death(5, Some(ended))), Some((5, Some(ended))));
        assert_eq!(read_death(death(5, None)), Some((5, None)));
    }

    #[test]
    fn anything_else_is_not() {
        for bytes in [[0; 16], [0xff; 16]] {
            assert_eq!(Request::from_bytes(bytes), None);
            assert_eq!(Reply::from_bytes(bytes), None);
            assert_eq!(read_death(bytes), None);
        }
    }
}
