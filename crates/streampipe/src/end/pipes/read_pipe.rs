use std::io::{self, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use streampipe_sys::bell::Bell;
use streampipe_sys::process::own_id;
use streampipe_sys::{pipe, queue};

/// The reading direction of an end that is two pipes; shared by all its handles.
///
/// Each handle has a descriptor of the pipe. When the direction is ended, all of them are replaced, so that the pipe closes
/// and the peer's writes fail. A thread that waits for the pipe keeps it open, and `poll` does not tell it of the
/// replacement: so it waits for a bell as well.
#[derive(Debug, Default)]
pub(in crate::end) struct ReadPipe {
    /// Held for each read, so that none takes bytes behind those that are kept when the direction is ended.
    is_ended: Mutex<bool>,
    /// Made by the first read that waits; `None` if that failed. Rings from the end of the direction on.
    bell: OnceLock<Option<OwnBell>>,
}

impl ReadPipe {
    /// Reads what there is; 0 is the end.
    pub(in crate::end) fn read(
        &self,
        pipe: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let is_ended = self.lock();
        if *is_ended { Ok(0) } else { pipe::read(pipe, buffers) }
    }

    /// Ends the direction, after `keep` has been given what is queued, which can still be read.
    pub(in crate::end) fn end(&self, pipe: BorrowedFd<'_>, keep: impl FnOnce(Vec<u8>)) {
        let mut is_ended = self.lock();
        if !*is_ended {
            keep(take_queued(pipe));
            *is_ended = true;
        }
    }

    pub(in crate::end) fn is_ended(&self) -> bool {
        *self.lock()
    }

    /// Wakes who waits.
    pub(in crate::end) fn wake(&self) {
        if let Some(bell) = self.bell.get().and_then(|bell| bell.as_ref()?.get()) {
            bell.ring();
        }
    }

    /// What to wait for beside the pipe. To be asked for before a last look whether the direction was ended.
    ///
    /// `None` if no bell can be made: then a wait is made of slices.
    pub(in crate::end) fn bell(&self) -> Option<&Bell> {
        self.bell.get_or_init(OwnBell::new).as_ref()?.get()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bell, and the process that made it. A fork has the same one: it must neither ring nor hear its parent's.
#[derive(Debug)]
struct OwnBell {
    bell: Bell,
    owner: u32,
}

impl OwnBell {
    fn new() -> Option<Self> {
        Some(Self { bell: Bell::new().ok()?, owner: own_id() })
    }

    /// The bell, in the process that made it.
    fn get(&self) -> Option<&Bell> {
        (own_id() == self.owner).then_some(&self.bell)
    }
}

/// What a pipe holds, unless somebody has changed it.
const USUAL_ROOM: u64 = 64 << 10;

/// Reads as many bytes as are queued now, and no more: a peer that goes on writing does not keep this call.
fn take_queued(pipe: BorrowedFd<'_>) -> Vec<u8> {
    let queued = queue::bytes_queued(pipe).unwrap_or(USUAL_ROOM);
    let mut bytes = vec![0; usize::try_from(queued).unwrap_or(0)];
    let mut taken = 0;
    while taken < bytes.len() {
        match pipe::read(pipe, &mut [IoSliceMut::new(&mut bytes[taken..])]) {
            Ok(count @ 1..) => taken += count,
            Ok(_) | Err(_) => break,
        }
    }
    bytes.truncate(taken);
    bytes
}
