use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, Weak};

use super::pool::Pool;

/// From this size on, sharing costs less than a copy.
pub(crate) const WORTH_SHARING: usize = 4096;

/// A payload: bytes that are received, passed on and dropped without being copied.
///
/// It derefs to `[u8]`. The memory of a received payload goes back to its channel, which uses it again; so one
/// that is kept for long is better taken over with [`into_vec`](Self::into_vec), or without any copy with
/// [`into_memory`](Self::into_memory).
///
/// # Examples
///
/// ```
/// use streampipe::Bytes;
///
/// let bytes = Bytes::from(b"four".to_vec());
/// assert_eq!(bytes, b"four");
/// assert_eq!(&bytes[1..3], b"ou");
/// ```
pub struct Bytes {
    body: Body,
    range: Range<usize>,
}

enum Body {
    Own(Buffer),
    Shared(Arc<Buffer>),
}

/// Memory that was allocated, and where it goes afterwards.
struct Buffer {
    memory: Vec<u8>,
    pool: Weak<Pool>,
    /// How long the message was.
    len: usize,
}

impl Bytes {
    /// The first `len` bytes of a buffer that goes back into the pool.
    pub(in crate::message) fn pooled(memory: Vec<u8>, len: usize, pool: &Arc<Pool>) -> Self {
        let pool = Arc::downgrade(pool);
        Self { body: Body::Own(Buffer { memory, pool, len }), range: 0..len }
    }

    /// Takes the bytes out as a vector.
    ///
    /// What it costs:
    ///
    /// - Nothing for the payload of a raw message, and for what was made from a vector.
    /// - For bytes that were received in a value, a move to the front of their memory: behind the value's other parts, which
    ///   came in front of them. No memory is taken.
    /// - A copy into memory of their own, if another part of the message is still there or was cloned, or if they are less
    ///   than a quarter of their memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::Bytes;
    ///
    /// let vector = b"four".to_vec();
    /// let place = vector.as_ptr();
    /// assert_eq!(Bytes::from(vector).into_vec().as_ptr(), place);
    /// ```
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        let (mut memory, range) = self.into_memory();
        memory.truncate(range.end);
        memory.drain(..range.start);
        memory
    }

    /// Takes the memory out, and where in it the bytes lie: never moved, and copied only if others share the memory, or if
    /// they are less than a quarter of it.
    ///
    /// For a large payload of a value, beside which the memory has the value's other parts.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::Bytes;
    ///
    /// let (ours, theirs) = streampipe::channel::<(String, Bytes), ()>()?;
    /// ours.send(("image".to_owned(), Bytes::from(vec![7; 64 << 10])))?;
    /// let (_, pixels) = theirs.recv()?;
    /// let place = pixels.as_ptr();
    /// let (memory, range) = pixels.into_memory();
    /// assert_eq!(memory[range].as_ptr(), place);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn into_memory(mut self) -> (Vec<u8>, Range<usize>) {
        let range = self.range.clone();
        let buffer = match &mut self.body {
            Body::Own(buffer) => Some(buffer),
            Body::Shared(buffer) => Arc::get_mut(buffer),
        };
        match buffer {
            Some(buffer) if is_most(range.len(), buffer.memory.capacity()) => {
                (std::mem::take(&mut buffer.memory), range)
            }
            _ => (self.to_vec(), 0..self.len()),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let buffer = match &self.body {
            Body::Own(buffer) => buffer,
            Body::Shared(buffer) => buffer,
        };
        &buffer.memory[self.range.clone()]
    }

    /// Returns the bytes to be changed in place; they are copied before if somebody else shares them.
    ///
    /// What was received can be filled anew and sent without any memory being taken for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::Bytes;
    ///
    /// let mut bytes = Bytes::from(b"four".to_vec());
    /// bytes.make_mut()[0] = b'p';
    /// assert_eq!(bytes, b"pour");
    /// ```
    #[must_use]
    pub fn make_mut(&mut self) -> &mut [u8] {
        if let Body::Shared(buffer) = &mut self.body {
            if Arc::get_mut(buffer).is_none() {
                *self = Self::from(self.to_vec());
            }
        }
        let range = self.range.clone();
        match &mut self.body {
            Body::Own(buffer) => &mut buffer.memory[range],
            Body::Shared(buffer) => match Arc::get_mut(buffer) {
                Some(buffer) => &mut buffer.memory[range],
                // Nobody else has it, as was seen above, and nobody can get it while it is borrowed.
                None => &mut [],
            },
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.body, Body::Shared(_))
    }

    /// Makes the memory shared, so that parts of it can be handed out.
    pub(crate) fn share(self) -> Self {
        let body = match self.body {
            Body::Own(buffer) => Body::Shared(Arc::new(buffer)),
            shared @ Body::Shared(_) => shared,
        };
        Self { body, range: self.range }
    }

    /// The part of these bytes that this slice is, if it is a part of them, and they are shared.
    pub(crate) fn part(&self, slice: &[u8]) -> Option<Self> {
        let Body::Shared(buffer) = &self.body else { return None };
        let offset = (slice.as_ptr() as usize).checked_sub(buffer.memory.as_ptr() as usize)?;
        let range = offset..offset.checked_add(slice.len())?;
        (range.end <= self.range.end && range.start >= self.range.start)
            .then(|| Self { body: Body::Shared(Arc::clone(buffer)), range })
    }
}

/// Whether so many bytes are worth the memory they are in.
fn is_most(len: usize, capacity: usize) -> bool {
    capacity / 4 <= len || capacity < WORTH_SHARING
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.is_empty() {
            return;
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.give(std::mem::take(&mut self.memory), self.len);
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

/// Shares the memory where it is shared already, and copies it else.
impl Clone for Bytes {
    fn clone(&self) -> Self {
        match &self.body {
            Body::Own(_) => Self::from(self.to_vec()),
            Body::Shared(buffer) => {
                Self { body: Body::Shared(Arc::clone(buffer)), range: self.range.clone() }
            }
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(memory: Vec<u8>) -> Self {
        let len = memory.len();
        let buffer = Buffer { memory, pool: Weak::new(), len };
        let bytes = Self { body: Body::Own(buffer), range: 0..len };
        // What is large is shared from the start, so that it need not be copied to be sent.
        if bytes.len() < WORTH_SHARING { bytes } else { bytes.share() }
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.into_vec()
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Bytes {
    fn eq(&self, other: &T) -> bool {
        self.as_slice() == other.as_ref()
    }
}

impl Eq for Bytes {}

impl std::hash::Hash for Bytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More than this is cut off.
        const SHOWN: usize = 64;
        let shown = self.as_slice().get(..SHOWN).unwrap_or(self);
        write!(f, "Bytes({}: b\"{}\"", self.len(), shown.escape_ascii())?;
        f.write_str(if self.len() > SHOWN { "...)" } else { ")" })
    }
}
