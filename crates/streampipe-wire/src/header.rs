use crate::{Kind, MAX_FDS, MAX_PAYLOAD, Malformed};

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 32;

/// The first two bytes of each frame.
pub const MAGIC: [u8; 2] = *b"SP";

/// The version of the protocol: the third byte of each frame.
pub const VERSION: u8 = 1;

/// The fixed part of a frame.
///
/// All numbers are little-endian:
///
/// | bytes | what |
/// |---|---|
/// | 0, 1 | `SP` |
/// | 2 | version, 1 |
/// | 3 | kind |
/// | 4, 5 | flags: 0, none is defined |
/// | 6, 7 | how many descriptors come with this frame |
/// | 8 to 11 | how many payload bytes follow this header |
/// | 12 to 15 | how many descriptors of the message come with later frames |
/// | 16 to 23 | how many payload bytes of the message come with later frames |
/// | 24 to 31 | correlation id |
///
/// # Examples
///
/// ```
/// use streampipe_wire::{Header, Kind};
///
/// let header = Header { length: 5, ..Header::new(Kind::Request, 7) };
/// let bytes = header.to_bytes();
/// assert_eq!(bytes[..4], *b"SP\x01\x02");
/// assert_eq!(Header::parse(bytes), Ok(header));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// How many descriptors come with this frame, at most [`MAX_FDS`].
    pub fds: u16,
    /// How many payload bytes follow this header, at most [`MAX_PAYLOAD`].
    pub length: u32,
    /// How many descriptors of the message come with later frames.
    pub rest_fds: u32,
    /// How many payload bytes of the message are still to come.
    pub rest: u64,
    /// What ties an answer to its request; 0 for messages that expect none.
    pub id: u64,
}

impl Header {
    /// A header of an empty message.
    #[must_use]
    pub const fn new(kind: Kind, id: u64) -> Self {
        Self { kind, fds: 0, length: 0, rest_fds: 0, rest: 0, id }
    }

    /// Writes it as bytes.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.kind.to_byte();
        bytes[6..8].copy_from_slice(&self.fds.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.rest_fds.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.rest.to_le_bytes());
        bytes[24..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// What is wrong with a header in itself: all of [`Malformed`] but a wrong sequence or length.
    #[inline]
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, Malformed> {
        let [m0, m1, version, kind, f0, f1, n0, n1, l0, l1, l2, l3, d0, d1, d2, d3, rest @ ..] =
            bytes;
        if [m0, m1] != MAGIC || version != VERSION {
            return Err(Malformed::Magic { found: [m0, m1, version] });
        }
        let [r0, r1, r2, r3, r4, r5, r6, r7, id @ ..] = rest;
        let flags = u16::from_le_bytes([f0, f1]);
        let Some(known) = Kind::from_byte(kind).filter(|_| flags == 0) else {
            return Err(Malformed::Unknown { kind, flags });
        };
        let header = Self {
            kind: known,
            fds: u16::from_le_bytes([n0, n1]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            rest_fds: u32::from_le_bytes([d0, d1, d2, d3]),
            rest: u64::from_le_bytes([r0, r1, r2, r3, r4, r5, r6, r7]),
            id: u64::from_le_bytes(id),
        };
        if header.can_be() { Ok(header) } else { Err(header.counts()) }
    }

    /// Whether more frames of the same message must follow.
    #[must_use]
    #[inline]
    pub const fn has_more(&self) -> bool {
        self.rest > 0 || self.rest_fds > 0
    }

    /// The whole frame's length in bytes.
    #[must_use]
    #[inline]
    pub const fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + self.length as u64
    }

    #[inline]
    fn can_be(&self) -> bool {
        let in_bounds = self.length <= MAX_PAYLOAD && self.fds <= MAX_FDS;
        let adds_up = self.rest.checked_add(u64::from(self.length)).is_some()
            && self.rest_fds.checked_add(u32::from(self.fds)).is_some();
        let says_nothing = self.kind == Kind::Withdrawal;
        let is_silent = self.length == 0 && self.fds == 0 && self.rest == 0 && self.rest_fds == 0;
        in_bounds && adds_up && (is_silent || !says_nothing)
    }

    fn counts(&self) -> Malformed {
        let Self { length, fds, rest, rest_fds, .. } = *self;
        Malformed::Counts { length, fds, rest, rest_fds }
    }
}
