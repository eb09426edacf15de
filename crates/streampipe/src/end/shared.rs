//! What all handles of one socket in this process must agree on.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::held::Held;
use crate::policy::FdPolicy;

/// The state of a pair made here, or of one adopted end (then the second side stays unused).
#[derive(Debug, Default)]
struct Pair {
    sides: [Side; 2],
    /// The descriptor numbers of all live handles of both sides: what `OverItself` looks for.
    /// A number is in the list exactly while a handle owns it.
    numbers: Mutex<Numbers>,
}

/// The numbers of the live handles of both sides. Of most sides there is one, and no allocation.
#[derive(Debug, Default)]
struct Numbers {
    one: [Option<RawFd>; 2],
    more: Vec<(usize, RawFd)>,
}

impl Numbers {
    fn add(&mut self, side: usize, number: RawFd) {
        match &mut self.one[side] {
            empty @ None => *empty = Some(number),
            Some(_) => self.more.push((side, number)),
        }
    }

    fn remove(&mut self, side: usize, number: RawFd) {
        if self.one[side] == Some(number) {
            self.one[side] = None;
        } else {
            self.more.retain(|&it| it != (side, number));
        }
    }

    fn contains(&self, number: RawFd) -> bool {
        self.one.contains(&Some(number)) || self.more.iter().any(|&(_, it)| it == number)
    }

    fn has(&self, side: usize) -> bool {
        self.of(side).next().is_some()
    }

    fn of(&self, side: usize) -> impl Iterator<Item = RawFd> {
        let more = self.more.iter().filter(move |it| it.0 == side).map(|it| it.1);
        self.one[side].into_iter().chain(more)
    }
}

/// The state of one socket.
///
/// The atomics are hints and flags of their own: none of them publishes other memory, so `Relaxed`
/// is enough. The held data are behind the lock.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Possibly something is held. Set and cleared under the lock of `held`.
    possibly_held: AtomicBool,
    /// In the order of arrival; for packets, one entry each.
    held: Mutex<VecDeque<Held>>,
    /// A reset came before the data it belongs behind (kernel trap C4).
    reset: AtomicBool,
    refusal: AtomicU8,
    /// Which descriptors are taken; all, if it is not set.
    accepted: OnceLock<FdPolicy>,
    allows_self: AtomicBool,
}

/// Whether, and how, an end keeps descriptors out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Refusal {
    /// It takes them.
    None = 0,
    /// It closes those that arrive: from before the refusal, or the kernel cannot refuse.
    OnReceipt = 1,
    /// The kernel refuses them at the sender, and none was queued before.
    ByKernel = 2,
}

impl Side {
    /// Locks what is held, if there really is anything.
    #[inline]
    pub(super) fn held(&self) -> Option<MutexGuard<'_, VecDeque<Held>>> {
        if !self.possibly_held.load(Relaxed) {
            return None;
        }
        Some(self.lock()).filter(|held| !held.is_empty())
    }

    /// Holds this for the next receive, behind what is held already.
    pub(super) fn hold(&self, new: Held) {
        if new.is_empty() {
            return;
        }
        let mut held = self.lock();
        held.push_back(new);
        self.possibly_held.store(true, Relaxed);
    }

    /// Holds this for the next receive, in front of what is held already.
    pub(super) fn hold_in_front(&self, new: Held) {
        if new.is_empty() {
            return;
        }
        let mut held = self.lock();
        held.push_front(new);
        self.possibly_held.store(true, Relaxed);
    }

    /// Drops the front entry if it has all been handed over.
    pub(super) fn settle(&self, held: &mut VecDeque<Held>) {
        if held.front().is_some_and(Held::is_empty) {
            held.pop_front();
        }
        self.possibly_held.store(!held.is_empty(), Relaxed);
    }

    /// Closes the descriptors that wait; their bytes go on waiting.
    pub(super) fn close_held_fds(&self) {
        let mut held = self.lock();
        let closed: Vec<_> = held.iter_mut().flat_map(|it| std::mem::take(&mut it.fds)).collect();
        held.retain(|it| !it.is_empty());
        self.possibly_held.store(!held.is_empty(), Relaxed);
        drop(held);
        drop(closed);
    }

    /// Closes and drops what nobody can receive any more.
    fn forget_held(&self) {
        if self.possibly_held.load(Relaxed) {
            let held = std::mem::take(&mut *self.lock());
            drop(held);
        }
    }

    pub(super) fn remember_reset(&self) {
        self.reset.store(true, Relaxed);
    }

    /// Whether there was a reset that nobody has been told of; they are now.
    pub(super) fn take_reset(&self) -> bool {
        self.reset.swap(false, Relaxed)
    }

    #[inline]
    pub(super) fn refusal(&self) -> Refusal {
        match self.refusal.load(Relaxed) {
            0 => Refusal::None,
            1 => Refusal::OnReceipt,
            _ => Refusal::ByKernel,
        }
    }

    pub(super) fn refuse(&self, how: Refusal) {
        self.refusal.store(how as u8, Relaxed);
    }

    /// Takes such descriptors alone. Said once, before anything is received.
    pub(super) fn accept(&self, policy: FdPolicy) {
        // A second one changes nothing.
        let _ = self.accepted.set(policy);
    }

    pub(super) fn accepted(&self) -> Option<&FdPolicy> {
        self.accepted.get()
    }

    pub(super) fn allow_self(&self) {
        self.allows_self.store(true, Relaxed);
    }

    pub(super) fn allows_self(&self) -> bool {
        self.allows_self.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle's place in the pair: which side, and under which number.
#[derive(Debug)]
pub(super) struct Link {
    pair: Arc<Pair>,
    side: usize,
    number: RawFd,
}

impl Link {
    /// Links for both ends of a new pair.
    pub(super) fn for_pair(first: RawFd, second: RawFd) -> (Self, Self) {
        let numbers = Numbers { one: [Some(first), Some(second)], more: Vec::new() };
        let pair = Arc::new(Pair { numbers: Mutex::new(numbers), ..Pair::default() });
        let other = Arc::clone(&pair);
        (Self { pair, side: 0, number: first }, Self { pair: other, side: 1, number: second })
    }

    /// A link for an end whose peer is not known here.
    pub(super) fn for_one(number: RawFd) -> Self {
        let numbers = Numbers { one: [Some(number), None], more: Vec::new() };
        let pair = Arc::new(Pair { numbers: Mutex::new(numbers), ..Pair::default() });
        Self { pair, side: 0, number }
    }

    /// A link for one more handle of the same socket.
    pub(super) fn for_clone(&self, number: RawFd) -> Self {
        self.numbers().add(self.side, number);
        Self { pair: Arc::clone(&self.pair), side: self.side, number }
    }

    pub(super) fn side(&self) -> &Side {
        &self.pair.sides[self.side]
    }

    /// The first of these numbers that is a handle of this pair.
    pub(super) fn find_own(&self, mut numbers: impl Iterator<Item = RawFd>) -> Option<usize> {
        let own = self.numbers();
        numbers.position(|number| own.contains(number))
    }

    /// Passes on the numbers of all live handles of this side. None of them closes meanwhile.
    pub(super) fn with_all<T>(
        &self,
        use_them: impl FnOnce(&mut dyn Iterator<Item = RawFd>) -> T,
    ) -> T {
        let numbers = self.numbers();
        use_them(&mut numbers.of(self.side))
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.pair.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut numbers = self.numbers();
        numbers.remove(self.side, self.number);
        let was_last = !numbers.has(self.side);
        drop(numbers);
        if was_last {
            // The other side may live on in this process, and the pair with it.
            self.side().forget_held();
        }
    }
}
