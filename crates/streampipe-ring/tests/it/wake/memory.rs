use std::cell::Cell;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

use loom::sync::atomic::{AtomicU64, fence};
use streampipe_ring::Word;

use crate::memory::Control;

/// Which word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Tail,
    Batches,
    Notes,
    Head,
    Taken,
    Handed,
    Ended,
    Closings,
    DataArm,
    SpaceArm,
    Processor,
    Mark,
}

/// Whose fence it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// Of `Producer::publish`.
    Publish,
    /// Of `Consumer::release`.
    Release,
    /// Of `Consumer::arm`.
    ArmForData,
    /// Of `Producer::arm`.
    ArmForSpace,
    /// Of `end`.
    End,
    /// Of `note_closing`.
    Closing,
    /// Of `resume`, of either side.
    Resume,
}

impl Fence {
    /// The one behind this access, which tells them apart.
    fn behind(last: Access) -> Self {
        match last {
            Access::Store(Role::Tail) => Self::Publish,
            Access::Store(Role::Head) | Access::Load(Role::SpaceArm) => Self::Release,
            Access::Store(Role::DataArm) => Self::ArmForData,
            Access::Store(Role::SpaceArm) => Self::ArmForSpace,
            Access::Store(Role::Ended) => Self::End,
            Access::Store(Role::Closings) => Self::Closing,
            Access::Load(Role::Taken | Role::Handed | Role::Mark)
            | Access::Store(Role::Batches) => Self::Resume,
            other => panic!("a fence behind {other:?}, which no model knows"),
        }
    }
}

/// What the memory lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Nothing,
    /// These fences.
    Fences(&'static [Fence]),
    /// The `Release` of stores to this word.
    Release(Role),
    /// The `Acquire` of loads of this word.
    Acquire(Role),
}

impl Lack {
    pub(super) const ALL_FENCES: Self = Self::Fences(&[
        Fence::Publish,
        Fence::Release,
        Fence::ArmForData,
        Fence::ArmForSpace,
        Fence::End,
        Fence::Closing,
        Fence::Resume,
    ]);
}

#[derive(Clone, Copy, Debug)]
enum Access {
    Load(Role),
    Store(Role),
}

// A model runs on one thread of the system, whatever it plays.
thread_local! {
    static LACK: Cell<Lack> = const { Cell::new(Lack::Nothing) };
    /// Nobody else runs between an access and the fence behind it.
    static LAST: Cell<Access> = const { Cell::new(Access::Load(Role::Processor)) };
}

/// From here on, this thread's models lack this.
pub(super) fn lack(lack: Lack) {
    LACK.set(lack);
}

/// A word in loom's memory.
#[derive(Debug)]
pub(super) struct Modelled {
    role: Role,
    word: AtomicU64,
}

impl Modelled {
    fn new(role: Role) -> Self {
        Self { role, word: AtomicU64::new(0) }
    }

    fn loading(&self, ordering: Ordering) -> Ordering {
        let lacks = ordering == Acquire && LACK.get() == Lack::Acquire(self.role);
        if lacks { Relaxed } else { ordering }
    }

    fn storing(&self, ordering: Ordering) -> Ordering {
        let lacks = ordering == Release && LACK.get() == Lack::Release(self.role);
        if lacks { Relaxed } else { ordering }
    }
}

impl Word for Modelled {
    fn load(&self, ordering: Ordering) -> u64 {
        let value = self.word.load(self.loading(ordering));
        LAST.set(Access::Load(self.role));
        value
    }

    fn store(&self, value: u64, ordering: Ordering) {
        self.word.store(value, self.storing(ordering));
        LAST.set(Access::Store(self.role));
    }

    fn set_bits(&self, bits: u64, ordering: Ordering) {
        self.word.fetch_or(bits, self.storing(ordering));
        LAST.set(Access::Store(self.role));
    }

    fn add(&self, more: u64, ordering: Ordering) {
        self.word.fetch_add(more, self.storing(ordering));
        LAST.set(Access::Store(self.role));
    }

    fn fence() {
        match LACK.get() {
            Lack::Fences(lacking) if lacking.contains(&Fence::behind(LAST.get())) => {}
            _ => fence(Ordering::SeqCst),
        }
    }
}

/// The words of one end.
pub(super) fn control() -> Control<Modelled> {
    Control {
        tail: Modelled::new(Role::Tail),
        batches: Modelled::new(Role::Batches),
        notes: Modelled::new(Role::Notes),
        head: Modelled::new(Role::Head),
        taken: Modelled::new(Role::Taken),
        handed: Modelled::new(Role::Handed),
        ended: Modelled::new(Role::Ended),
        closings: Modelled::new(Role::Closings),
        data_arm: Modelled::new(Role::DataArm),
        space_arm: Modelled::new(Role::SpaceArm),
        processor: Modelled::new(Role::Processor),
        marks: [Modelled::new(Role::Mark), Modelled::new(Role::Mark)],
    }
}
