//! Which descriptors belong to the bytes that are read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use streampipe_ring::Mark;
use streampipe_sys::cmsg::MAX_FDS;
use streampipe_sys::{queue, table};
use streampipe_wire::NOTE_LEN;

use super::notes::{Batch, Heard, Lifeline, Trouble};
use crate::FdError;
use crate::end::ROOM;
use crate::ring::Poisoned;
use crate::ring::reading::Taking;
use crate::ring::ring::{Line, Reader, Ring};
use crate::ring::waiting::MOST_NOTES;

/// Descriptors that come with the bytes that are read now.
#[derive(Default)]
pub(in crate::ring) struct Came {
    pub(in crate::ring) fds: Vec<OwnedFd>,
    pub(in crate::ring) lost: bool,
}

/// Looking for the note of a batch that was announced.
#[derive(Debug, Default)]
pub(in crate::ring) struct Search {
    /// How many notes may still be taken: no more than waited when it began, or than an honest peer sends. The one is among
    /// them, and a peer that goes on sending others keeps nobody here.
    notes: Option<u64>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    TheNote,
    /// Others, which were set aside: as many as may be open at once.
    Orphans,
    /// Nothing: another process that has a copy of this end took it.
    Missing,
}

impl Ring {
    /// Descriptors are on their way: those for the next byte, and how many bytes come before the next ones. `None` if the
    /// caller is to close first what was set aside, and to call again.
    ///
    /// What nobody gets is for the caller to close when nothing is locked any more: that can take seconds.
    #[cold]
    pub(in crate::ring) fn meet_batch(
        &self,
        reader: &mut Reader,
        line: &Line<'_>,
        taking: Taking,
        available: u64,
        search: &mut Search,
        unwanted: &mut Vec<OwnedFd>,
    ) -> io::Result<Option<(Came, u64)>> {
        let Some(mark) = self.next_mark(reader, line)? else {
            return Ok(Some((Came::default(), available)));
        };
        match mark.beyond(reader.consumer.head()) {
            0 => {}
            before => return Ok(Some((Came::default(), before.min(available)))),
        }
        let mut lifeline = self.lifeline();
        let found = if reader.consumer.is_next_lost() {
            Ok(Found::Missing)
        } else {
            self.find_batch(&mut lifeline, reader, mark, line, taking, search)
        };
        unwanted.extend(lifeline.take_aside().into_iter().flat_map(|batch| batch.fds));
        let found = found?;
        self.note_orphans(&lifeline);
        self.tell_of_orphans_in(&mut lifeline, taking)?;
        let came = match found {
            Found::Orphans => return Ok(None),
            Found::TheNote => {
                self.take_found(reader, &mut lifeline, line, taking, available, unwanted)?
            }
            Found::Missing => {
                reader.consumer.note_taken(&self.view());
                Came { fds: Vec::new(), lost: true }
            }
        };
        drop(lifeline);
        if came.lost && !matches!(taking, Taking::Due(_)) {
            return Err(FdError::Lost { arrived: 0, bytes: available as usize }.into());
        }
        let most = self.bytes_before_batch(reader, line, available)?;
        if most == 0 {
            // Two batches for one byte.
            let head = reader.consumer.head();
            return Err(self.poison(line, Poisoned::FdsMisplaced { at: head, head }));
        }
        Ok(Some((came, most)))
    }

    /// Takes the batch that was found, for a call that can hand it over.
    fn take_found(
        &self,
        reader: &mut Reader,
        lifeline: &mut Lifeline,
        line: &Line<'_>,
        taking: Taking,
        available: u64,
        unwanted: &mut Vec<OwnedFd>,
    ) -> io::Result<Came> {
        let (head, bytes) = (reader.consumer.head(), available as usize);
        let Some(next) = lifeline.next_batch() else { return Ok(Came::default()) };
        if next.at != head {
            let at = next.at;
            return Err(self.poison(line, Poisoned::FdsMisplaced { at, head }));
        }
        let (arrived, is_due) = (next.fds.len(), matches!(taking, Taking::Due(_)));
        let is_closed = !is_due && (line.refuses_fds || next.lost);
        if taking == Taking::Bytes && !is_closed {
            // How many bytes came with them, only the next ones would tell; those that are there may be fewer.
            return Err(FdError::Waiting { count: arrived, bytes }.into());
        }
        let Some(Batch { mut fds, mut lost, .. }) = lifeline.take_batch() else {
            return Ok(Came::default());
        };
        if is_closed {
            reader.consumer.note_taken(&self.view());
            unwanted.append(&mut fds);
            return Err(if line.refuses_fds {
                FdError::Refused { arrived, bytes }.into()
            } else {
                FdError::Lost { arrived, bytes }.into()
            });
        }
        reader.consumer.note_handed(&self.view());
        if let Taking::Due(due) = taking {
            lost |= arrived > due;
            unwanted.extend(fds.drain(due.min(arrived)..));
        }
        Ok(Came { fds, lost })
    }

    /// Where the next descriptors belong, if there are any.
    fn next_mark(&self, reader: &Reader, line: &Line<'_>) -> io::Result<Option<Mark>> {
        let mark = reader.consumer.next_mark(&self.view());
        let mark = mark.map_err(|corrupt| self.poison(line, corrupt.into()))?;
        let head = reader.consumer.head();
        match mark {
            Some(mark) if mark.beyond(head) > self.capacity() as u64 => {
                let at = head.wrapping_add(mark.beyond(head));
                Err(self.poison(line, Poisoned::FdsMisplaced { at, head }))
            }
            mark => Ok(mark),
        }
    }

    /// How many of the bytes that are there come before the next descriptors.
    fn bytes_before_batch(
        &self,
        reader: &Reader,
        line: &Line<'_>,
        available: u64,
    ) -> io::Result<u64> {
        let head = reader.consumer.head();
        let before = self.next_mark(reader, line)?.map(|mark| mark.beyond(head));
        Ok(before.map_or(available, |before| before.min(available)))
    }

    /// Sees to it that the batch is here that a mark names: it was announced, so it has come.
    ///
    /// Those in front of it were sent by somebody who was killed before they had announced them.
    fn find_batch(
        &self,
        lifeline: &mut Lifeline,
        reader: &Reader,
        mark: Mark,
        line: &Line<'_>,
        taking: Taking,
        search: &mut Search,
    ) -> io::Result<Found> {
        if let Some(found) = self.find_held(lifeline, reader, mark, line)? {
            return Ok(found);
        }
        let mut listen = |fds| self.listen_for_batch(lifeline, reader, mark, line, fds, search);
        match taking {
            Taking::Due(due @ 1..) => {
                // Other receives of this library do not take the room between the two steps.
                let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
                table::look_for_room(due, line.fd)?;
                listen(due)
            }
            Taking::Due(_) => listen(0),
            Taking::Bytes | Taking::Fds => listen(MAX_FDS),
        }
    }

    /// What a mark names, among what is held.
    fn find_held(
        &self,
        lifeline: &mut Lifeline,
        reader: &Reader,
        mark: Mark,
        line: &Line<'_>,
    ) -> io::Result<Option<Found>> {
        lifeline.orphan_before(mark.number);
        match lifeline.next_batch().map(|next| next.number) {
            Some(number) if number == mark.number => Ok(Some(Found::TheNote)),
            // Notes come in the order of their numbers.
            Some(_) => self.missing(lifeline, reader, line).map(Some),
            None if lifeline.has_room() => Ok(None),
            None => Ok(Some(Found::Orphans)),
        }
    }

    /// What was announced has not come. The peer has broken the rules, unless another process may have taken it.
    fn missing(&self, lifeline: &Lifeline, reader: &Reader, line: &Line<'_>) -> io::Result<Found> {
        if lifeline.others_listened {
            return Ok(Found::Missing);
        }
        let batches = reader.consumer.batches_left();
        Err(self.poison(line, Poisoned::FdsMissing { batches }))
    }

    /// Listens until the batch has come, or others that are to be closed first.
    fn listen_for_batch(
        &self,
        lifeline: &mut Lifeline,
        reader: &Reader,
        mark: Mark,
        line: &Line<'_>,
        fds: usize,
        search: &mut Search,
    ) -> io::Result<Found> {
        // At least one: what is no whole note must be looked at, too, and so must the end.
        let notes = match &mut search.notes {
            Some(notes) => notes,
            none => {
                let queued = queue::bytes_queued(line.fd).unwrap_or(u64::MAX);
                none.insert((queued / NOTE_LEN as u64).clamp(1, MOST_NOTES))
            }
        };
        while *notes > 0 {
            *notes -= 1;
            self.note_listener(lifeline);
            match lifeline.listen(line.fd, fds) {
                Ok(Heard::Note) => self.note_heard(),
                Ok(Heard::Nothing | Heard::TheEnd) => break,
                Err(Trouble::Poisoned(poisoned)) => return Err(self.poison(line, poisoned)),
                Err(Trouble::System(error)) => return Err(error),
            }
            if let Some(found) = self.find_held(lifeline, reader, mark, line)? {
                return Ok(found);
            }
        }
        self.missing(lifeline, reader, line)
    }

    /// Closes what waits, for an end that refuses descriptors from now on; the bytes go on waiting.
    pub(crate) fn close_held_fds(&self, line: &Line<'_>) -> io::Result<()> {
        let mut reader = self.reader(line)?;
        let mark = self.next_mark(&reader, line)?;
        let mark = mark.filter(|mark| mark.beyond(reader.consumer.head()) == 0);
        let mut lifeline = self.lifeline();
        if lifeline.next_batch().is_some_and(|next| mark.is_some_and(|it| it.number == next.number))
        {
            let batch = lifeline.take_batch();
            reader.consumer.note_taken(&self.view());
            drop((lifeline, reader));
            drop(batch);
        }
        Ok(())
    }

    /// Says once that descriptors came that belong to no bytes, to a call for bytes or descriptors. (A message is as it was
    /// sent without them.)
    #[inline]
    pub(in crate::ring) fn tell_of_orphans(&self, taking: Taking) -> io::Result<()> {
        if self.has_orphans() {
            self.tell_of_orphans_in(&mut self.lifeline(), taking)
        } else {
            Ok(())
        }
    }

    fn tell_of_orphans_in(&self, lifeline: &mut Lifeline, taking: Taking) -> io::Result<()> {
        if matches!(taking, Taking::Due(_)) {
            return Ok(());
        }
        let count = lifeline.take_orphans();
        self.note_orphans(lifeline);
        if count > 0 { Err(FdError::Orphaned { count }.into()) } else { Ok(()) }
    }
}
