use std::io::{self, Read};
use std::marker::PhantomData;

use super::lending::give_back;
use crate::Trusted;
use crate::end::Waiting;
use crate::ring::lifeline::Search;
use crate::ring::reading::Taking;
use crate::ring::ring::{Line, Ring};
use crate::ring::waiting::Direction;

/// What there is in a ring to read, from [`Stream::readable`](crate::Stream::readable).
///
/// Each byte is copied out once, in order, and cannot be looked at again: the peer may change it between two looks, and who
/// checks one and uses the other is lost. So there are no slices, but for a peer that is [`Trusted`](crate::Trusted), for which there is an `unsafe` word. Dropped or
/// [`release`](Self::release)d, what was read or skipped is given back, at once.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use streampipe::{Builder, Engine};
///
/// let (mut ours, mut theirs) = Builder::new().engine(Engine::Ring).pair()?;
/// ours.write_all(b"\x04\0\0\0body")?;
///
/// let mut there = theirs.readable()?;
/// let len = there.read_u32_le()? as usize;
/// assert_eq!((len, there.len()), (4, 4));
/// let mut body = [0; 4];
/// there.read_exact(&mut body)?;
/// there.release();
/// assert_eq!(&body, b"body");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Readable<'end> {
    ring: &'end Ring,
    line: Line<'end>,
    /// Where it begins.
    position: u64,
    /// How much there is in all.
    len: usize,
    /// How much of it was read or skipped.
    read: usize,
    /// It is lent to this thread, which others must not give back.
    _here: PhantomData<*const ()>,
}

impl Ring {
    /// Waits for something to read, or the end.
    pub(crate) fn readable<'end>(
        &'end self,
        line: Line<'end>,
        waiting: Waiting,
    ) -> io::Result<Readable<'end>> {
        let (position, len) =
            self.patiently(&line, Direction::Reading { due: 0 }, waiting, || {
                let all = self.capacity() as u64;
                let (taking, mut unwanted) = (Taking::Bytes, Vec::new());
                let Some((mut reader, mut len)) = self.open_reader(all, &line)? else {
                    self.tell_of_orphans(taking)?;
                    return Ok(None);
                };
                if len > 0 && reader.consumer.batches_left() > 0 {
                    let (search, reader) = (&mut Search::default(), &mut reader);
                    let met = self.meet_batch(reader, &line, taking, len, search, &mut unwanted)?;
                    // Of orphans, a call for bytes was told.
                    len = met.map_or(0, |(_, len)| len);
                }
                self.note_lending();
                reader.lending.lend();
                Ok(Some((reader.consumer.head(), len)))
            })?;
        Ok(Readable { ring: self, line, position, len: len as usize, read: 0, _here: PhantomData })
    }
}

impl Readable<'_> {
    /// How many bytes are left. If there were none to begin with, this is the end.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len - self.read
    }

    /// Whether none are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes over bytes without reading them.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn skip(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "{bytes} bytes of {}", self.len());
        self.read += bytes;
    }

    /// Reads a number of four bytes, the lowest first.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if there are fewer, which are consumed then.
    pub fn read_u32_le(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a number of eight bytes, the lowest first.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if there are fewer, which are consumed then.
    pub fn read_u64_le(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Borrows what is left, in two pieces if it goes around the end of the ring, of a peer that is trusted not to touch
    /// it meanwhile. It is not read by that: [`skip`](Self::skip) it.
    #[must_use]
    pub fn as_slices(&self, trusted: Trusted) -> [&[u8]; 2] {
        let position = self.position.wrapping_add(self.read as u64);
        self.ring.region.slices(self.ring.owner.other(), position, self.len(), trusted)
    }

    /// Gives back what was read or skipped, as a drop does; the rest is there for the next call.
    pub fn release(self) {}
}

/// Copies bytes out, each once.
impl Read for Readable<'_> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.len());
        let position = self.position.wrapping_add(self.read as u64);
        self.ring.region.read(self.ring.owner.other(), position, &mut buffer[..len]);
        self.read += len;
        Ok(len)
    }
}

impl Drop for Readable<'_> {
    fn drop(&mut self) {
        let mut reader = self.ring.lock_reader();
        // If another process has read through a copy of this end, it gave this back, too.
        let is_elsewhere = reader.consumer.head() != self.position
            || reader.consumer.is_left_behind(&self.ring.view());
        if self.read > 0 && !is_elsewhere {
            // What is wrong with that poisons the ring: the next call is told.
            let _ = self.ring.release(&mut reader, self.read as u64, &self.line);
        }
        give_back(reader, &self.ring.reader_back);
    }
}

impl std::fmt::Debug for Readable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readable").field("len", &self.len()).finish()
    }
}
