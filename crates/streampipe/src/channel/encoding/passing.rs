//! How what lies inside a value gets beside it: descriptors, and payloads that are not copied.
//!
//! A `Serialize` sees only a serializer, whose type it does not know. So what is being sent or received by this thread
//! at the moment is kept here, from when an encoding begins until it ends; encodings inside of each other have
//! their own.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::LocalKey;

use crate::channel::fd::SharedFd;
use crate::end::End;
use crate::message::FdSource;
use crate::{Bytes, FdError};

thread_local! {
    static SENDING: RefCell<Option<Sent>> = const { RefCell::new(None) };
    /// Why the encoding or decoding failed; postcard does not keep texts.
    static COMPLAINT: RefCell<Option<String>> = const { RefCell::new(None) };
    static RECEIVING: RefCell<Option<Received>> = const { RefCell::new(None) };
}

/// A descriptor on its way out: kept open until the kernel has its own copy.
#[derive(Debug)]
pub(crate) enum PassedFd {
    /// A descriptor of the value, which may be taken out of it meanwhile.
    Fd(Arc<SharedFd>),
    Copy(OwnedFd),
    /// An end, which is known to be one: it is not sent over itself.
    End(End),
}

impl FdSource for Vec<PassedFd> {
    fn count(&self) -> usize {
        self.len()
    }

    fn borrow(
        &self,
        range: Range<usize>,
        call: &mut dyn FnMut(&[BorrowedFd<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let fds = &self[range.clone()];
        // Nothing is locked during the call.
        let shared: Vec<_> = fds
            .iter()
            .zip(range)
            .map(|(fd, index)| match fd {
                PassedFd::Fd(shared) => match shared.get() {
                    Some(fd) => Ok(Some(fd)),
                    None => Err(FdError::TakenOut { index }),
                },
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let borrowed: Vec<_> = fds
            .iter()
            .zip(&shared)
            .filter_map(|(fd, shared)| match fd {
                PassedFd::Fd(_) => shared.as_ref().map(|fd| fd.as_fd()),
                PassedFd::Copy(fd) => Some(fd.as_fd()),
                PassedFd::End(end) => Some(end.as_fd()),
            })
            .collect();
        call(&borrowed)
    }
}

/// What goes beside an encoding.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) fds: Vec<PassedFd>,
    /// A payload that is about to be written, and need not be copied.
    next: Option<Bytes>,
    /// Payloads that were not, and where they belong.
    pub(super) payloads: Vec<(usize, Bytes)>,
}

/// What came beside an encoding.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) fds: Vec<Option<OwnedFd>>,
    /// All that is decoded.
    pub(super) whole: Bytes,
}

/// Runs an encoding.
pub(super) fn while_sending<T>(encode: impl FnOnce() -> T) -> (T, Sent) {
    COMPLAINT.take();
    let restore = Restore { place: &SENDING, outer: SENDING.replace(Some(Sent::default())) };
    let done = encode();
    (done, restore.now().unwrap_or_default())
}

/// Runs a decoding.
pub(super) fn while_receiving<T>(received: Received, decode: impl FnOnce() -> T) -> (T, Received) {
    COMPLAINT.take();
    let restore = Restore { place: &RECEIVING, outer: RECEIVING.replace(Some(received)) };
    let done = decode();
    (done, restore.now().unwrap_or_default())
}

/// Puts back what was there before, also if an encoding panics.
struct Restore<T: 'static> {
    place: &'static LocalKey<RefCell<Option<T>>>,
    outer: Option<T>,
}

impl<T> Restore<T> {
    /// Puts it back; returns what was there meanwhile.
    fn now(mut self) -> Option<T> {
        let inner = self.place.replace(self.outer.take());
        // Its drop would put nothing in the place of what is back.
        std::mem::forget(self);
        inner
    }
}

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        drop(self.place.replace(self.outer.take()));
    }
}

/// Puts a descriptor beside the value that is being sent; returns its place, `None` if none is.
pub(super) fn pass(fd: PassedFd) -> Option<u32> {
    SENDING.with_borrow_mut(|sent| {
        let fds = &mut sent.as_mut()?.fds;
        let place = u32::try_from(fds.len()).ok()?;
        fds.push(fd);
        Some(place)
    })
}

/// Says that these bytes will be written next.
pub(super) fn announce(bytes: &Bytes) {
    SENDING.with_borrow_mut(|sent| {
        if let Some(sent) = sent {
            sent.next = Some(bytes.clone());
        }
    });
}

/// Takes bytes that are written at this place out of the encoding, if they were announced.
pub(super) fn take_out(at: usize, bytes: &[u8]) -> bool {
    SENDING.with_borrow_mut(|sent| {
        let Some(sent) = sent else { return false };
        let Some(next) = sent.next.take() else { return false };
        let is_it = std::ptr::eq(next.as_slice(), bytes);
        if is_it {
            sent.payloads.push((at, next));
        }
        is_it
    })
}

/// Why a descriptor is not to be had.
pub(super) enum NoFd {
    /// Nothing is being received by this thread.
    Outside,
    /// The value names one that did not come, or twice.
    Missing,
}

/// Takes the descriptor of this place.
pub(super) fn claim(place: u32) -> Result<OwnedFd, NoFd> {
    RECEIVING.with_borrow_mut(|received| {
        let received = received.as_mut().ok_or(NoFd::Outside)?;
        let slot = received.fds.get_mut(place as usize).ok_or(NoFd::Missing)?;
        slot.take().ok_or(NoFd::Missing)
    })
}

/// The part of what is being received that this slice is, to be kept without copying it.
pub(super) fn part(slice: &[u8]) -> Option<Bytes> {
    RECEIVING.with_borrow(|received| received.as_ref()?.whole.part(slice))
}

/// Notes why an encoding or decoding fails, and returns it.
pub(super) fn complain(why: impl ToString) -> String {
    let why = why.to_string();
    COMPLAINT.replace(Some(why.clone()));
    why
}

/// Takes what was noted.
pub(super) fn take_complaint() -> Option<String> {
    COMPLAINT.take()
}
