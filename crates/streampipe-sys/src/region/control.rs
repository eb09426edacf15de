use std::sync::atomic::AtomicU64;

/// The words that one end writes, in lines of their own: 128 bytes, because processors fetch pairs of 64.
///
/// What changes together and is read together shares a line: a tail and how many descriptors belong to it; a head and how
/// many of them were taken. The arms change only when somebody sleeps, so that a look at them costs nothing in between.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Control {
    /// What this is, and for whom; written when it is made.
    pub superblock: Superblock,
    /// What has been written.
    pub written: Written,
    /// What has been read.
    pub read: Read,
    /// What is over.
    pub over: Over,
    /// What the sleeping reader waits for.
    pub data_arm: Line,
    /// What the sleeping writer waits for.
    pub space_arm: Line,
    /// On which processor the end was when it last waited, plus 1; 0 if it never did. A hint.
    pub processor: Line,
    /// Where the batches of descriptors belong.
    pub marks: Marks,
}

/// How many batches of descriptors may be on their way at once: more than a socket of the usual size takes notes.
const MARKS: usize = 384;

/// Positions of the batches that are on their way, with the numbers of their notes.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Marks(pub [AtomicU64; MARKS]);

const _: () = assert!(size_of::<Control>() == 4096, "the control words are one page");

/// One word in a line of its own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line(pub AtomicU64);

/// What the region is.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Superblock {
    /// `SPring` and the version.
    pub magic: AtomicU64,
    /// The capacity of each ring in bytes.
    pub capacity: AtomicU64,
}

/// What this end has written.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Written {
    /// How many bytes.
    pub tail: AtomicU64,
    /// How many batches of descriptors beside them.
    pub batches: AtomicU64,
    /// How many notes with descriptors were begun.
    pub notes: AtomicU64,
}

/// What this end has read.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Read {
    /// How many bytes.
    pub head: AtomicU64,
    /// How many batches of descriptors.
    pub taken: AtomicU64,
    /// How many there were with the last one that goes with bytes.
    pub handed: AtomicU64,
    /// Which process took notes from the lifeline last.
    pub listener: AtomicU64,
}

/// What this end has ended.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Over {
    /// Which halves.
    pub ended: AtomicU64,
    /// How often a handle was closed.
    pub closings: AtomicU64,
}
