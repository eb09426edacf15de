use core::{error, fmt};

/// How long a note is.
pub const NOTE_LEN: usize = 16;

/// `R`, and version 1.
const MARK: [u8; 2] = *b"R\x01";

/// What goes over the lifeline of a ring.
///
/// Sixteen bytes: `R`, 1, the kind, a count, the number of the note in two bytes ([`NumberedNote`]), two zeros, and eight
/// bytes of contents. All numbers have their lowest byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Kind 0, a doorbell: something has changed.
    Bell,
    /// Kind 1: descriptors, which travel with this note.
    Fds {
        /// How many, 1 to 253.
        count: u8,
        /// The position of the first byte they were sent with.
        at: u64,
    },
    /// Kind 2: a hello, whose sender the kernel attests.
    Hello,
    /// Kind 3: the memory, a descriptor that travels with this note.
    Memory {
        /// The capacity of each of its rings, in bytes.
        capacity: u64,
    },
}

/// Bytes that are no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNote {
    /// The bytes.
    pub bytes: [u8; NOTE_LEN],
}

/// A note, and its number among all notes with descriptors that one end has sent.
///
/// The number tells the note that a message announces from one whose sender was killed before it had announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedNote {
    /// What it says.
    pub note: Note,
    /// 1 to 65,535, and from the start again. 0 is the number of every other kind of note, and fits no message.
    pub number: u16,
}

impl Note {
    /// The bytes of the note, with number 0.
    #[must_use]
    pub fn to_bytes(self) -> [u8; NOTE_LEN] {
        let (kind, count, number) = match self {
            Self::Bell => (0, 0, 0),
            Self::Fds { count, at } => (1, count, at),
            Self::Hello => (2, 0, 0),
            Self::Memory { capacity } => (3, 0, capacity),
        };
        let mut bytes = [0; NOTE_LEN];
        bytes[..2].copy_from_slice(&MARK);
        (bytes[2], bytes[3]) = (kind, count);
        bytes[8..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    /// The note with a number.
    #[must_use]
    pub fn numbered(self, number: u16) -> NumberedNote {
        NumberedNote { note: self, number }
    }

    /// Reads a note with number 0.
    ///
    /// # Errors
    ///
    /// [`BadNote`] for anything that [`to_bytes`](Self::to_bytes) does not write.
    pub fn from_bytes(bytes: [u8; NOTE_LEN]) -> Result<Self, BadNote> {
        let [_, _, kind, count, .., a, b, c, d, e, f, g, h] = bytes;
        let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let note = match kind {
            0 => Self::Bell,
            1 if count > 0 && u16::from(count) <= crate::MAX_FDS => Self::Fds { count, at: number },
            2 => Self::Hello,
            3 => Self::Memory { capacity: number },
            _ => return Err(BadNote { bytes }),
        };
        // What is left unsaid must be zero.
        if note.to_bytes() == bytes { Ok(note) } else { Err(BadNote { bytes }) }
    }
}

impl NumberedNote {
    /// Where the number stands.
    const PLACE: core::ops::Range<usize> = 4..6;

    /// The bytes of the note.
    #[must_use]
    pub fn to_bytes(self) -> [u8; NOTE_LEN] {
        let mut bytes = self.note.to_bytes();
        bytes[Self::PLACE].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// Reads a note.
    ///
    /// # Errors
    ///
    /// [`BadNote`] for anything that [`to_bytes`](Self::to_bytes) does not write, and for a number of a note without
    /// descriptors.
    pub fn from_bytes(bytes: [u8; NOTE_LEN]) -> Result<Self, BadNote> {
        let number = u16::from_le_bytes([bytes[4], bytes[5]]);
        let mut plain = bytes;
        plain[Self::PLACE].fill(0);
        match Note::from_bytes(plain) {
            Ok(note @ Note::Fds { .. }) => Ok(note.numbered(number)),
            Ok(note) if number == 0 => Ok(note.numbered(0)),
            _ => Err(BadNote { bytes }),
        }
    }
}

impl fmt::Display for BadNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what came over the lifeline is no note: {:02x?}", self.bytes)
    }
}

impl error::Error for BadNote {}
