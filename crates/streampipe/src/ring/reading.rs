//! What an end of a ring reads at once.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::{MutexGuard, PoisonError};

use streampipe_ring::{Half, Sleep, Waitpoint};
use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::message::Received;
use streampipe_sys::{queue, table};
use streampipe_wire::NOTE_LEN;

use super::Poisoned;
use super::lifeline::{Batch, Heard, Lifeline, Trouble};
use super::ring::{Line, Reader, Ring};
use super::waiting::{Direction, MOST_NOTES};
use crate::FdError;
use crate::end::{ROOM, Waiting};

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

/// Descriptors that come with the bytes that are read now.
#[derive(Default)]
pub(super) struct Came {
    fds: Vec<OwnedFd>,
    lost: bool,
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
        let mut unwanted = Vec::new();
        let Some((mut reader, available)) = self.open_reader(wanted as u64, line)? else {
            return Ok(None);
        };
        let mut most = available;
        let mut came = Came::default();
        if most > 0 && reader.consumer.batches_left() > 0 {
            (came, most) = self.meet_batch(&mut reader, line, taking, most, &mut unwanted)?;
        }
        let len = self.copy_out(&mut reader, line, buffers, most);
        Ok(Some(Received { len, full_len: len, fds: came.fds, fds_lost: came.lost, sender: None }))
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
            return Ok(There::TheEnd);
        }
        if !reader.told_of_reset && self.look_whether_gone(line)? {
            // It closed before it had read all that we wrote: said once, behind its data, as of a socket.
            reader.told_of_reset = true;
            if !view.is_all_read() {
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
    ) -> usize {
        let mut copied = 0;
        for buffer in buffers {
            let mut rest = &mut buffer[..];
            while !rest.is_empty() && most > 0 {
                let len = rest.len().min(most.min(PIECE) as usize);
                let (piece, behind) = rest.split_at_mut(len);
                self.region.read(self.owner.other(), reader.consumer.head(), piece);
                self.release(reader, len as u64, line);
                rest = behind;
                copied += len;
                most -= len as u64;
            }
        }
        copied
    }

    #[inline]
    pub(super) fn release(&self, reader: &mut Reader, bytes: u64, line: &Line<'_>) {
        let woken = reader.consumer.release(bytes, &self.view());
        self.wake_writer(woken, line.fd);
    }

    // --- descriptors ---

    /// Descriptors are on their way: those for the next byte, and how many bytes come before the next ones.
    ///
    /// What nobody gets is for the caller to close when nothing is locked any more: that can take seconds.
    #[cold]
    pub(super) fn meet_batch(
        &self,
        reader: &mut Reader,
        line: &Line<'_>,
        taking: Taking,
        available: u64,
        unwanted: &mut Vec<OwnedFd>,
    ) -> io::Result<(Came, u64)> {
        let head = reader.consumer.head();
        let before = self.bytes_before_batch(reader, line, available)?;
        if before > 0 {
            return Ok((Came::default(), before));
        }
        let mut lifeline = self.lifeline();
        unwanted.extend(lifeline.take_aside().into_iter().flat_map(|batch| batch.fds));
        self.find_batch(&mut lifeline, reader, line, taking)?;
        let Some(next) = lifeline.next_batch() else { return Ok((Came::default(), available)) };
        if next.at != head {
            let at = next.at;
            return Err(self.poison(line, Poisoned::FdsMisplaced { at, head }));
        }
        let count = next.fds.len();
        let batch = match taking {
            Taking::Bytes if !next.lost && !line.refuses_fds => {
                // How many bytes came with them, only the next ones would tell; those that are there may be fewer.
                return Err(FdError::Waiting { count, bytes: available as usize }.into());
            }
            _ => lifeline.take_batch(),
        };
        reader.consumer.note_taken(&self.view());
        let mut came = match batch {
            Some(Batch { fds, lost, .. }) => Came { fds, lost },
            None => Came::default(),
        };
        match taking {
            Taking::Due(due) => {
                came.lost |= came.fds.len() > due;
                unwanted.extend(came.fds.drain(due.min(count)..));
            }
            _ if line.refuses_fds => {
                unwanted.append(&mut came.fds);
                return Err(FdError::Refused { arrived: count, bytes: available as usize }.into());
            }
            _ if came.lost => {
                unwanted.append(&mut came.fds);
                return Err(FdError::Lost { arrived: count, bytes: available as usize }.into());
            }
            _ => {}
        }
        let most = self.bytes_before_batch(reader, line, available)?;
        if most == 0 {
            // Two batches for one byte.
            return Err(self.poison(line, Poisoned::FdsMisplaced { at: head, head }));
        }
        Ok((came, most))
    }

    /// How many of the bytes that are there come before the next descriptors.
    fn bytes_before_batch(
        &self,
        reader: &Reader,
        line: &Line<'_>,
        available: u64,
    ) -> io::Result<u64> {
        let head = reader.consumer.head();
        match reader.consumer.next_mark(&self.view()) {
            None => Ok(available),
            Some(at) if at.wrapping_sub(head) > self.capacity() as u64 => {
                Err(self.poison(line, Poisoned::FdsMisplaced { at, head }))
            }
            Some(at) => Ok(at.wrapping_sub(head).min(available)),
        }
    }

    /// Sees to it that the next batch is here, which was announced, so it has come.
    fn find_batch(
        &self,
        lifeline: &mut Lifeline,
        reader: &Reader,
        line: &Line<'_>,
        taking: Taking,
    ) -> io::Result<()> {
        if lifeline.next_batch().is_some() {
            return Ok(());
        }
        match taking {
            Taking::Due(due @ 1..) => {
                // Other receives of this library do not take the room between the two steps.
                let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
                table::look_for_room(due, line.fd)?;
                self.listen_for_batch(lifeline, reader, line, due)
            }
            Taking::Due(_) => self.listen_for_batch(lifeline, reader, line, 0),
            Taking::Bytes | Taking::Fds => self.listen_for_batch(lifeline, reader, line, MAX_FDS),
        }
    }

    /// Listens until the next batch has come, to no more notes than wait now, or than an honest peer sends: it is among
    /// them, and who goes on ringing keeps nobody here.
    fn listen_for_batch(
        &self,
        lifeline: &mut Lifeline,
        reader: &Reader,
        line: &Line<'_>,
        fds: usize,
    ) -> io::Result<()> {
        // At least one: what is no whole note must be looked at, too, and so must the end.
        let queued = queue::bytes_queued(line.fd).unwrap_or(u64::MAX);
        let notes = (queued / NOTE_LEN as u64).clamp(1, MOST_NOTES);
        for _ in 0..notes {
            match lifeline.listen(line.fd, fds) {
                Ok(Heard::Note) => self.note_heard(),
                Ok(Heard::Nothing | Heard::TheEnd) => break,
                Err(Trouble::Poisoned(poisoned)) => return Err(self.poison(line, poisoned)),
                Err(Trouble::System(error)) => return Err(error),
            }
            if lifeline.next_batch().is_some() {
                return Ok(());
            }
        }
        let batches = reader.consumer.batches_left();
        Err(self.poison(line, Poisoned::FdsMissing { batches }))
    }

    /// Closes what waits, for an end that refuses descriptors from now on; the bytes go on waiting.
    pub(crate) fn close_held_fds(&self, line: &Line<'_>) -> io::Result<()> {
        let mut reader = self.reader(line)?;
        let mut lifeline = self.lifeline();
        if lifeline.next_batch().is_some_and(|next| next.at == reader.consumer.head())
            && reader.consumer.batches_left() > 0
        {
            let batch = lifeline.take_batch();
            reader.consumer.note_taken(&self.view());
            drop((lifeline, reader));
            drop(batch);
        }
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

    /// Says where this end is about to sleep until there is something to read, and until when that is.
    pub(super) fn arm_reader(&self, sleep: Sleep, line: &Line<'_>) -> io::Result<Waitpoint> {
        let reader = self.reader(line)?;
        reader.consumer.arm(sleep, &self.view());
        Ok(reader.consumer.waitpoint())
    }
}
