//! What an end of a ring writes at once.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::MutexGuard;
use std::time::Duration;

use streampipe_ring::{Half, Sleep, Waitpoint, closings};
use streampipe_sys::open::numbers;
use streampipe_sys::wait::{Interest, pause, wait};
use streampipe_wire::Note;

use super::lifeline::send_note;
use super::ring::{Line, Ring, Writer};
use super::waiting::{Direction, SLICE};
use crate::end::{Life, Waiting};

/// How much is copied before it is published: the peer copies it out while the next piece comes in.
const PIECE: usize = 32 << 10;

/// From so many bytes on a call is long enough for the processor to fetch lines by itself; the fence behind a shorter one
/// waits until its line has come from the peer's cache, unless it was asked for so far ahead.
const SMALL: usize = 256;
const AHEAD: u64 = 512;

/// How often it is looked whether there is room for more descriptors.
const MARKED: Duration = Duration::from_millis(1);

/// After how many writes that the peer has not read it is looked whether it still lives.
const UNREAD: u32 = 1024;

/// Whether bytes may be taken in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Anywhere,
    /// Few bytes are taken whole or not at all, as a socket does: a frame that was begun must be completed.
    NotIfFew,
}

/// So many bytes are few: less than the smallest ring has, and more than the frame of which that is expected.
const FEW: usize = 2048;

impl Cut {
    /// How many of so many bytes must be taken at least.
    fn least(self, total: usize) -> usize {
        if self == Self::NotIfFew && total <= FEW { total } else { 1 }
    }
}

impl Ring {
    /// Writes bytes from several places; all of them, unless it may not wait that long.
    #[inline]
    pub(crate) fn write(
        &self,
        line: &Line<'_>,
        parts: &[IoSlice<'_>],
        cut: Cut,
        waiting: Waiting,
    ) -> io::Result<usize> {
        let total = total_len(parts);
        let wanted = cut.least(total) as u64;
        let mut written = 0;
        loop {
            let end = self.end_of_step(written, total);
            let step = self.patiently(line, Direction::Writing { wanted }, waiting, || {
                self.try_write(line, parts, written..end, wanted)
            });
            match step {
                Ok(more) => written += more,
                // What went wrong, the next call meets again.
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
            // A peer that makes room all the time does not keep it going beyond its deadline.
            if written == total || waiting == Waiting::Never || waiting.is_over() {
                return Ok(written);
            }
        }
    }

    /// How far one step goes: a peer that makes room all the time keeps it going for no more than the ring holds.
    fn end_of_step(&self, start: usize, total: usize) -> usize {
        total.min(start.saturating_add(self.capacity()))
    }

    /// Writes at least one byte of this range of all bytes, or so many as are wanted to begin with; `None` if there is no
    /// room for that.
    #[inline]
    fn try_write(
        &self,
        line: &Line<'_>,
        parts: &[IoSlice<'_>],
        written: Range<usize>,
        wanted: u64,
    ) -> io::Result<Option<usize>> {
        let Some(mut writer) = self.open_writer(line)? else { return Ok(None) };
        if written.is_empty() {
            return Ok(Some(0));
        }
        if wanted > 1 && written.start == 0 && self.space(&mut writer, line, wanted)? < wanted {
            return Ok(None);
        }
        let more = self.copy_in(&mut writer, line, parts, written)?;
        Ok((more > 0).then_some(more))
    }

    /// The writer, if there is anybody to write to. `None` if somebody writes in place.
    #[inline]
    pub(super) fn open_writer(
        &self,
        line: &Line<'_>,
    ) -> io::Result<Option<MutexGuard<'_, Writer>>> {
        let mut writer = self.writer(line)?;
        let view = self.view();
        if Half::Writing.is_ended(&view.own) || Half::Reading.is_ended(&view.peer) {
            self.tell_ends(line.fd);
            return Err(broken_pipe());
        }
        if writer.lending.is_lent() {
            return Ok(None);
        }
        let closings = closings(&view);
        writer.unread += 1;
        if closings != writer.closings || writer.unread > UNREAD || self.is_gone() {
            writer.closings = closings;
            self.look_whether_anybody_reads(&mut writer, line)?;
        }
        Ok(Some(writer))
    }

    /// A system call, but where the peer goes on reading.
    #[cold]
    fn look_whether_anybody_reads(&self, writer: &mut Writer, line: &Line<'_>) -> io::Result<()> {
        let has_read = writer.producer.look(&self.view());
        let has_read = has_read.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        if (!has_read || writer.unread <= UNREAD) && self.look_whether_gone(line)? {
            return Err(broken_pipe());
        }
        writer.unread = 0;
        Ok(())
    }

    /// Copies and publishes as much of this range of all bytes as there is room for. An error says that nothing was published:
    /// once something is, what goes wrong is for the next call to tell.
    #[inline]
    fn copy_in(
        &self,
        writer: &mut Writer,
        line: &Line<'_>,
        parts: &[IoSlice<'_>],
        mut range: Range<usize>,
    ) -> io::Result<usize> {
        let start = range.start;
        while !range.is_empty() {
            let wanted = range.len().min(PIECE);
            let space = match self.space(writer, line, wanted as u64) {
                Err(_) if range.start > start => break,
                space => space?,
            };
            let len = wanted.min(space as usize);
            if len == 0 {
                break;
            }
            self.gather(writer.producer.tail(), parts, range.start..range.start + len);
            if len <= SMALL && writer.producer.free() >= AHEAD + SMALL as u64 {
                self.region.fetch_to_write(self.owner, writer.producer.tail().wrapping_add(AHEAD));
            }
            match self.publish(writer, len as u64, line) {
                Err(_) if range.start > start => break,
                published => published?,
            }
            range.start += len;
            if !range.is_empty() && self.has_nobody_to_read() {
                break;
            }
        }
        Ok(range.start - start)
    }

    #[inline]
    pub(super) fn space(
        &self,
        writer: &mut Writer,
        line: &Line<'_>,
        wanted: u64,
    ) -> io::Result<u64> {
        let space = writer.producer.space(wanted, &self.view());
        space.map_err(|corrupt| self.poison(line, corrupt.into()))
    }

    /// Copies a range of all bytes to a position.
    #[inline]
    fn gather(&self, mut position: u64, parts: &[IoSlice<'_>], mut range: Range<usize>) {
        if let [one] = parts {
            return self.region.write(self.owner, position, &one[range]);
        }
        for part in parts {
            let piece = &part[range.start.min(part.len())..range.end.min(part.len())];
            self.region.write(self.owner, position, piece);
            position = position.wrapping_add(piece.len() as u64);
            range.start -= range.start.min(part.len());
            range.end -= range.end.min(part.len());
        }
    }

    /// Publishes what was copied. An error says that nothing was.
    ///
    /// Behind the publication the bytes are the peer's, which may read them and close before the doorbell rings: what is
    /// found out from here on is no answer to this call, but to the next one.
    #[inline]
    pub(super) fn publish(
        &self,
        writer: &mut Writer,
        bytes: u64,
        line: &Line<'_>,
    ) -> io::Result<()> {
        let view = self.view();
        let woken = writer.producer.publish(bytes, &view);
        let woken = woken.map_err(|overrun| self.poison(line, overrun.into()))?;
        if Half::Reading.is_ended(&view.peer) {
            self.note_late(writer.producer.tail().wrapping_sub(bytes));
        }
        self.note_doorbell(self.wake_reader(woken, line.fd), line);
        Ok(())
    }

    /// Notes from where on the peer need not have read anything: it ended its reading when that was on the way, and takes what
    /// it finds then. That it leaves these bytes is no reset, as it is none of a socket, which refuses them.
    #[cold]
    fn note_late(&self, position: u64) {
        let _ = self.late.set(position);
    }

    /// Whether the next write would be refused, as far as is known.
    fn has_nobody_to_read(&self) -> bool {
        Half::Reading.is_ended(&self.view().peer) || self.is_gone()
    }

    /// Sends descriptors with the first of the bytes; returns how many of these were taken, at least one.
    pub(crate) fn send_fds(
        &self,
        line: &Line<'_>,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        cut: Cut,
        waiting: Waiting,
    ) -> io::Result<usize> {
        let wanted = cut.least(total_len(parts)) as u64;
        loop {
            let sent = self.patiently(line, Direction::Writing { wanted }, waiting, || {
                self.try_send_fds(line, parts, fds, wanted)
            })?;
            match (sent, waiting) {
                (Some(sent), _) => return Ok(sent),
                (None, Waiting::Never) => {
                    self.check_life(line)?;
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // There is room in the ring, and none in the socket, or all marks are in use, which nobody tells of.
                (None, _) => {
                    let slice = line.watch.map_or(SLICE, |watch| watch.until_next_look(SLICE));
                    let slice = std::time::Instant::now() + slice;
                    let until = waiting.deadline().map_or(slice, |at| at.min(slice));
                    wait(line.fd, Interest::Writable, Some(until))?;
                    pause(MARKED, waiting.deadline())?;
                    if waiting.is_over() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    self.check_life(line)?;
                }
            }
        }
    }

    /// Fails if nobody will make room any more: all copies of the other end are closed, or the process that is watched is
    /// gone, whoever else has a copy.
    #[cold]
    pub(super) fn check_life(&self, line: &Line<'_>) -> io::Result<()> {
        if self.look_whether_gone(line)? {
            return Err(broken_pipe());
        }
        match line.watch {
            Some(watch) if watch.life()? == Life::Gone => Err(watch.gone().into()),
            _ => Ok(()),
        }
    }

    /// `None` if there is no room in the ring, `Some(None)` if there is none in the socket.
    fn try_send_fds(
        &self,
        line: &Line<'_>,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        wanted: u64,
    ) -> io::Result<Option<Option<usize>>> {
        let Some(mut writer) = self.open_writer(line)? else { return Ok(None) };
        if self.space(&mut writer, line, wanted)? < wanted {
            return Ok(None);
        }
        if !writer.producer.has_room_for_batch(&self.view()) {
            return Ok(Some(None));
        }
        // Before the bytes: whoever sees these finds the descriptors.
        let count = u8::try_from(fds.len()).unwrap_or(u8::MAX);
        let note = Note::Fds { count, at: writer.producer.tail() };
        let number = writer.producer.begin_note(&self.view());
        if let Err(error) = send_note(line.fd, note.numbered(number), fds) {
            writer.producer.cancel_note(&self.view());
            let is_full = error.kind() == io::ErrorKind::WouldBlock;
            return if is_full { Ok(Some(None)) } else { Err(error) };
        }
        writer.producer.note_batch(&self.view());
        let end = self.end_of_step(0, total_len(parts));
        Ok(Some(Some(self.copy_in(&mut writer, line, parts, 0..end)?)))
    }

    /// Whether a write would not have to wait. If it would, the lifeline tells when there is room.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_room(&self, line: &Line<'_>) -> bool {
        let direction = Direction::Writing { wanted: 1 };
        let looked = self.patiently(line, direction, Waiting::Never, || self.look_for_room(line));
        !looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, and nobody is told later.
    pub(crate) fn is_writable(&self, line: &Line<'_>) -> bool {
        self.look_for_room(line).map_or(true, |room| room.is_some())
    }

    fn look_for_room(&self, line: &Line<'_>) -> io::Result<Option<()>> {
        let Some(mut writer) = self.open_writer(line)? else { return Ok(None) };
        Ok((self.space(&mut writer, line, 1)? > 0).then_some(()))
    }

    /// Says where this end is about to sleep until there is room, and until when that is.
    pub(super) fn arm_writer(
        &self,
        wanted: u64,
        sleep: Sleep,
        line: &Line<'_>,
    ) -> io::Result<Waitpoint> {
        let writer = self.writer(line)?;
        writer.producer.arm(wanted, sleep, &self.view());
        Ok(writer.producer.waitpoint(wanted))
    }
}

/// How many bytes there are in all. As many as can be counted, of slices that say the same bytes so often that they cannot:
/// a write takes a part.
#[inline]
fn total_len(parts: &[IoSlice<'_>]) -> usize {
    parts.iter().fold(0, |total, part| total.saturating_add(part.len()))
}

pub(super) fn broken_pipe() -> io::Error {
    io::Error::from_raw_os_error(numbers::EPIPE)
}
