//! Control messages: arithmetic on byte slices, and nothing else.
//!
//! Rules of this file:
//!
//! 1. No system call, no `unsafe`, no descriptor is opened, closed or owned here: numbers only.
//! 2. Every length the kernel (or a hostile test) writes is clamped to the bytes that are there.
//!    macOS leaves `cmsg_len` untruncated; other kernels may, too.
//! 3. A message is reported as incomplete rather than guessed at, a negative number is no
//!    descriptor, and descriptors are counted from the bytes that arrived, never from what the
//!    caller hoped for (kernel traps A1, A2, A4).
//!
//! Layout (`cmsg(3)`): a header of a `size_t` length, an `int` level and an `int` type, then the
//! data; the length counts the header and the data; the next header starts at the next multiple
//! of `size_t`.

/// The most descriptors one message can carry (`SCM_MAX_FD`, Linux 2.6.38).
pub const MAX_FDS: usize = 253;

const WORD: usize = size_of::<usize>();
const INT: usize = size_of::<i32>();

/// The bytes of a header: a `size_t` and two `int`s.
pub const HEADER: usize = WORD + 2 * INT;

/// Rounds a length up to where the next header may start, if that can be represented.
#[must_use]
pub const fn align(len: usize) -> Option<usize> {
    match len.checked_add(WORD - 1) {
        Some(sum) => Some(sum & !(WORD - 1)),
        None => None,
    }
}

/// The bytes a control buffer needs for one message with `data` bytes (`CMSG_SPACE`).
#[must_use]
pub const fn space(data: usize) -> usize {
    (HEADER + data).next_multiple_of(WORD)
}

/// Writes one message with these data into an empty control buffer; returns the bytes used.
///
/// `None`, and nothing written, if it does not fit.
#[must_use]
pub fn write(buffer: &mut [u8], level: i32, kind: i32, data: &[i32]) -> Option<usize> {
    let len = data.len().checked_mul(INT)?.checked_add(HEADER)?;
    let used = align(len)?;
    let room = buffer.get_mut(..used)?;
    room[..WORD].copy_from_slice(&len.to_ne_bytes());
    room[WORD..WORD + INT].copy_from_slice(&level.to_ne_bytes());
    room[WORD + INT..HEADER].copy_from_slice(&kind.to_ne_bytes());
    for (slot, number) in room[HEADER..len].chunks_exact_mut(INT).zip(data) {
        slot.copy_from_slice(&number.to_ne_bytes());
    }
    room[len..].fill(0);
    Some(used)
}

/// How far the message at the start of some bytes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What its header claims.
    pub claimed: usize,
    /// How much of that is there.
    pub there: usize,
    /// Where the next header may start.
    pub next: usize,
}

/// Reads the length in the header at the start of these bytes, and clamps it to them.
///
/// `None` if there is no whole header, or one that claims less than a header.
#[must_use]
pub fn extent(bytes: &[u8]) -> Option<Extent> {
    let (header, _) = bytes.split_at_checked(HEADER)?;
    let claimed = usize::from_ne_bytes(header[..WORD].try_into().ok()?);
    if claimed < HEADER {
        return None;
    }
    let there = claimed.min(bytes.len());
    let next = align(there).unwrap_or(usize::MAX).min(bytes.len());
    Some(Extent { claimed, there, next })
}

/// One control message, as found in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMessage<'buffer> {
    /// For example `SOL_SOCKET`.
    pub level: i32,
    /// For example `SCM_RIGHTS`.
    pub kind: i32,
    /// The data that are really there.
    pub data: &'buffer [u8],
    /// Whether the header claimed no more than was there.
    pub complete: bool,
}

impl<'buffer> ControlMessage<'buffer> {
    /// Reads the data as descriptor numbers.
    ///
    /// Half a number at the end, and a negative number, are left out.
    pub fn numbers(&self) -> impl Iterator<Item = i32> + use<'buffer> {
        self.data
            .chunks_exact(INT)
            .filter_map(|four| four.try_into().ok().map(i32::from_ne_bytes))
            .filter(|&number| number >= 0)
    }
}

/// Walks the control messages in a buffer.
///
/// Stops at the first header that is cut off or that claims less than a header. Never reads
/// outside of the buffer, never loops on a length of zero.
#[derive(Clone, Debug)]
pub struct ControlMessages<'buffer> {
    rest: &'buffer [u8],
}

impl<'buffer> ControlMessages<'buffer> {
    /// Walks these bytes: exactly those that the kernel said it wrote.
    #[must_use]
    pub fn new(control: &'buffer [u8]) -> Self {
        Self { rest: control }
    }
}

impl<'buffer> Iterator for ControlMessages<'buffer> {
    type Item = ControlMessage<'buffer>;

    fn next(&mut self) -> Option<ControlMessage<'buffer>> {
        let bytes = self.rest;
        let Some(Extent { claimed, there, next }) = extent(bytes) else {
            self.rest = &[];
            return None;
        };
        let level = i32::from_ne_bytes(bytes[WORD..WORD + INT].try_into().ok()?);
        let kind = i32::from_ne_bytes(bytes[WORD + INT..HEADER].try_into().ok()?);
        let data = &bytes[HEADER..there];
        self.rest = &bytes[next..];
        Some(ControlMessage { level, kind, data, complete: there == claimed })
    }
}
