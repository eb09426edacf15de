//! What an end of a ring reads at once.

use std::io::{self, IoSliceMut};
use std::sync::MutexGuard;

use streampipe_ring::{Half, Sleep, Waitpoint};
use streampipe_sys::message::Received;

use super::lifeline::{Came, Search};
use super::ring::{Line, Reader, Ring};
use super::waiting::Direction;
use crate::end::Waiting;

/// How much is copied before it is given back: the peer fills it again while the next piece is copied.
const PIECE: u64 = 32 << 10;

/// What a call does with descriptors that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taking {
    /// It cannot take any, and says so.
    Bytes,
    /// All that were sent together.
    Fds,
    /// No more than these; the others are closed.
    Due(usize),
}

/// What there is for a reader.
enum There {
    Bytes(u64),
    /// Nothing, for good.
    TheEnd,
    Nothing,
}

impl Ring {
    /// Reads bytes, and what came with the first of them. 0 bytes are the end.
    #[inline]
    pub(crate) fn read(
        &self,
        line: &Line<'_>,
        buffers: &mut [IoSliceMut<'_>],
        taking: Taking,
        waiting: Waiting,
    ) -> io::Result<Received> {
        let due = if let Taking::Due(due) = taking { due } else { 0 };
        let direction = Direction::Reading { due };
        self.patiently(line, direction, waiting, || self.try_read(line, buffers, taking))
    }

    #[inline]
    fn try_read(
        &self,
        line: &Line<'_>,
        buffers: &mut [IoSliceMut<'_>],
        taking: Taking,
    ) -> io::Result<Option<Received>> {
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let Some((mut reader, available)) = self.open_reader(wanted as u64, line)? else {
            self.tell_of_orphans(taking)?;
            return Ok(None);
        };
        if available > 0 && reader.consumer.batches_left() > 0 {
            drop(reader);
            return self.try_read_with_batch(line, buffers, taking, wanted as u64);
        }
        if available == 0 {
            // Nothing comes behind the end that could be told of.
            self.tell_of_orphans(taking)?;
        }
        let len = self.copy_out(&mut reader, line, buffers, available)?;
        Ok(Some(Received { len, full_len: len, ..Received::nothing() }))
    }

    /// The same where descriptors are on their way.
    #[cold]
    fn try_read_with_batch(
        &self,
        line: &Line<'_>,
        buffers: &mut [IoSliceMut<'_>],
        taking: Taking,
        wanted: u64,
    ) -> io::Result<Option<Received>> {
        let mut search = Search::default();
        loop {
            // Closed when nothing is locked any more.
            let mut unwanted = Vec::new();
            let Some((mut reader, available)) = self.open_reader(wanted, line)? else {
                return Ok(None);
            };
            let met =
                self.meet_batch(&mut reader, line, taking, available, &mut search, &mut unwanted)?;
            let Some((Came { fds, lost }, most)) = met else { continue };
            let len = self.copy_out(&mut reader, line, buffers, most)?;
            return Ok(Some(Received { len, full_len: len, fds, fds_lost: lost, sender: None }));
        }
    }

    /// The reader, and how much there is, which is nothing at the end, and all there is if that is less than wanted. `None`
    /// if there may be more later, or somebody reads in place.
    #[inline]
    pub(super) fn open_reader(
        &self,
        wanted: u64,
        line: &Line<'_>,
    ) -> io::Result<Option<(MutexGuard<'_, Reader>, u64)>> {
        let mut reader = self.reader(line)?;
        if reader.lending.is_lent() {
            return Ok(None);
        }
        let available = reader.consumer.available(wanted, &self.view());
        let available = available.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        if available > 0 {
            return Ok(Some((reader, available)));
        }
        match self.look_for_the_end(&mut reader, line)? {
            There::Bytes(available) => Ok(Some((reader, available))),
            There::TheEnd => Ok(Some((reader, 0))),
            There::Nothing => Ok(None),
        }
    }

    /// What is there where nothing was: the end, or what was written before it.
    fn look_for_the_end(&self, reader: &mut Reader, line: &Line<'_>) -> io::Result<There> {
        let view = self.view();
        let reads_no_more = Half::Reading.is_ended(&view.own);
        if !reads_no_more && !self.is_gone() && !Half::Writing.is_ended(&view.peer) {
            return Ok(There::Nothing);
        }
        // What it wrote last is there now, if it was not before.
        let available = reader.consumer.available(1, &view);
        let available = available.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        if available > 0 {
            return Ok(There::Bytes(available));
        }
        if reads_no_more {
            self.tell_ends(line.fd);
            return Ok(There::TheEnd);
        }
        if !reader.told_of_reset && self.look_whether_gone(line)? {
            // It closed before it had read all that we wrote: said once, behind its data, as of a socket.
            reader.told_of_reset = true;
            if !view.is_all_read(self.late.get().copied()) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(There::TheEnd)
    }

    #[inline]
    fn copy_out(
        &self,
        reader: &mut Reader,
        line: &Line<'_>,
        buffers: &mut [IoSliceMut<'_>],
        mut most: u64,
    ) -> io::Result<usize> {
        let mut copied = 0;
        for buffer in buffers {
            let mut rest = &mut buffer[..];
            while !rest.is_empty() && most > 0 {
                let len = rest.len().min(most.min(PIECE) as usize);
                let (piece, behind) = rest.split_at_mut(len);
                self.region.read(self.owner.other(), reader.consumer.head(), piece);
                if let Err(error) = self.release(reader, len as u64, line) {
                    return if copied > 0 { Ok(copied) } else { Err(error) };
                }
                rest = behind;
                copied += len;
                most -= len as u64;
            }
        }
        Ok(copied)
    }

    #[inline]
    pub(super) fn release(
        &self,
        reader: &mut Reader,
        bytes: u64,
        line: &Line<'_>,
    ) -> io::Result<()> {
        let woken = reader.consumer.release(bytes, &self.view());
        let woken = woken.map_err(|overrun| self.poison(line, overrun.into()))?;
        self.wake_writer(woken, line.fd);
        Ok(())
    }

    // --- questions ---

    /// How many bytes there are to read.
    pub(crate) fn bytes_queued(&self, line: &Line<'_>) -> io::Result<u64> {
        let mut reader = self.reader(line)?;
        let available = reader.consumer.available(u64::MAX, &self.view());
        available.map_err(|corrupt| self.poison(line, corrupt.into()))
    }

    /// Whether a read would not wait.
    pub(crate) fn is_readable(&self, line: &Line<'_>) -> bool {
        self.open_reader(1, line).map_or(true, |there| there.is_some())
    }

    /// Waits until a read would not wait.
    pub(crate) fn wait_readable(&self, line: &Line<'_>, waiting: Waiting) -> io::Result<()> {
        self.patiently(line, Direction::Reading { due: 0 }, waiting, || {
            Ok(self.is_readable(line).then_some(()))
        })
    }

    /// Says where this end is about to sleep until there is something to read, and until when that is.
    pub(super) fn arm_reader(&self, sleep: Sleep, line: &Line<'_>) -> io::Result<Waitpoint> {
        let reader = self.reader(line)?;
        reader.consumer.arm(sleep, &self.view());
        Ok(reader.consumer.waitpoint())
    }
}
