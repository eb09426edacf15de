use std::io::{self, IoSlice, Write};
use std::marker::PhantomData;

use streampipe_ring::Half;

use super::lending::give_back;
use crate::end::Waiting;
use crate::ring::ring::{Line, Ring, Writer};
use crate::ring::waiting::Direction;
use crate::ring::writing::broken_pipe;

/// Room in a ring to write to, from [`Stream::reserve`](crate::Stream::reserve): what is put there the peer sees all at
/// once, when it is committed.
///
/// Bytes go in, and do not come out again: the peer can read and change them, so no reference to them exists. Dropped
/// without [`commit`](Self::commit), nothing was written.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use streampipe::{Builder, Engine};
///
/// let (mut ours, mut theirs) = Builder::new().engine(Engine::Ring).pair()?;
/// let mut room = ours.reserve(64)?;
/// room.write_at(4, b"body");
/// room.write_at(0, &4_u32.to_le_bytes());
/// room.commit(8)?;
///
/// let mut heard = [0; 8];
/// theirs.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"\x04\0\0\0body");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing is written until it is committed"]
pub struct Reserved<'end> {
    ring: &'end Ring,
    line: Line<'end>,
    /// Where it begins.
    position: u64,
    len: usize,
    /// Where `write` goes on.
    filled: usize,
    /// It is lent to this thread, which others must not give back.
    _here: PhantomData<*const ()>,
}

impl Ring {
    /// Waits for so much room.
    pub(crate) fn reserve<'end>(
        &'end self,
        line: Line<'end>,
        len: usize,
        waiting: Waiting,
    ) -> io::Result<Reserved<'end>> {
        if len > self.capacity() {
            let text = format!("{len} bytes, and the ring holds {}", self.capacity());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let wanted = len as u64;
        let position = self.patiently(&line, Direction::Writing { wanted }, waiting, || {
            let Some(mut writer) = self.open_writer(&line)? else { return Ok(None) };
            if self.space(&mut writer, &line, wanted)? < wanted {
                return Ok(None);
            }
            self.note_lending();
            writer.lending.lend();
            Ok(Some(writer.producer.tail()))
        })?;
        Ok(Reserved { ring: self, line, position, len, filled: 0, _here: PhantomData })
    }
}

impl Reserved<'_> {
    /// How much room there is: what was asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts bytes at this place, counted from the start of the room.
    ///
    /// # Panics
    ///
    /// If they do not fit, as with slices.
    #[inline]
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) {
        let fits = at.checked_add(bytes.len()).is_some_and(|end| end <= self.len);
        assert!(fits, "{} bytes at {at} do not fit into {}", bytes.len(), self.len);
        let position = self.position.wrapping_add(at as u64);
        self.ring.region.write(self.ring.owner, position, bytes);
    }

    /// Publishes the first so many bytes: the peer can read them now. The rest is given back.
    ///
    /// Of what was not written to since it was reserved, the peer reads what was there before: bytes that it has read
    /// already, or zeros.
    ///
    /// # Errors
    ///
    /// As `write`: `BrokenPipe` if the peer reads no more or is gone, as far as is known, or if writing was ended meanwhile;
    /// `Other` if another process wrote meanwhile through a copy of this end. Nothing was published then. Of a peer that goes
    /// now, the next call tells.
    ///
    /// # Panics
    ///
    /// If it is more than was reserved.
    pub fn commit(self, len: usize) -> io::Result<()> {
        assert!(len <= self.len, "{len} bytes of {}", self.len);
        let mut writer = self.ring.writer(&self.line)?;
        let published = self.publish(&mut writer, len as u64);
        // In one go with the publication, instead of a drop of its own.
        give_back(writer, &self.ring.writer_back);
        std::mem::forget(self);
        published
    }

    fn publish(&self, writer: &mut Writer, bytes: u64) -> io::Result<()> {
        let view = self.ring.view();
        let nobody_reads = Half::Reading.is_ended(&view.peer) || self.ring.is_gone();
        if nobody_reads || Half::Writing.is_ended(&view.own) {
            return Err(broken_pipe());
        }
        if writer.producer.is_left_behind(&view) {
            return Err(io::Error::other("another process wrote through a copy of this end"));
        }
        if bytes == 0 {
            return Ok(());
        }
        self.ring.publish(writer, bytes, &self.line)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        give_back(self.ring.lock_writer(), &self.ring.writer_back);
    }
}

/// Puts bytes behind those that were put here by `write` before; what does not fit is not taken.
impl Write for Reserved<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.len - self.filled);
        self.write_at(self.filled, &bytes[..len]);
        self.filled += len;
        Ok(len)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.filled;
        for part in parts {
            self.write(part)?;
        }
        Ok(self.filled - before)
    }

    /// Nothing is published before [`commit`](Self::commit).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Reserved<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserved").field("len", &self.len).field("filled", &self.filled).finish()
    }
}
