use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::idle;

/// How many buffers are kept.
const BUFFERS: usize = 8;

/// A buffer of more bytes is large.
const LARGE: usize = 256 << 10;

/// How many bytes of buffers that are not large are kept.
const SMALL_BYTES: usize = 512 << 10;

/// So much memory, a page, is not worth saving.
const LITTLE: usize = 4096;

/// How many messages are remembered.
const RECENT: usize = 64;

/// Whether a buffer of this size may be kept for so many bytes: at most three quarters of it are idle.
pub(in crate::message) fn is_worth(buffer: usize, len: usize) -> bool {
    buffer <= LITTLE || buffer / 4 <= len
}

/// Buffers that were used and will be again, so that a channel in steady use allocates nothing.
///
/// All bytes of a buffer in here are initialized: its length is all that it can be used for.
///
/// What is kept:
///
/// 1. Buffers that are not large: at most eight, of 512 KiB in all. Those go first that have not been used for the longest
///    time.
/// 2. A large one only if at least two of the last 64 messages needed one like it, and as long as one of the last 64 did. So
///    a single large message leaves nothing behind.
/// 3. Of all channels of the process together 64 MiB of large ones: see [`idle`].
#[derive(Debug, Default)]
pub(in crate::message) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last that was given back is the last.
    buffers: Vec<Vec<u8>>,
    /// How long the last messages were, as the number of bits of their length; the next one is written to `next`.
    recent: [u8; RECENT],
    next: usize,
    last_len: usize,
}

impl Default for State {
    fn default() -> Self {
        Self { buffers: Vec::new(), recent: [0; RECENT], next: 0, last_len: 0 }
    }
}

impl Pool {
    /// Takes the smallest buffer that holds so many bytes and is worth it; or else the largest of those that do not, to
    /// be grown.
    ///
    /// Not a larger one: somebody may keep what is in it, and a peer that sends a long message before each short one
    /// would make them keep the memory of the long ones.
    pub(in crate::message) fn take(&self, len: usize) -> Vec<u8> {
        self.take_from(&mut self.lock(), len)
    }

    /// Takes a buffer for a message like the last one.
    pub(in crate::message) fn take_again(&self) -> Vec<u8> {
        let mut state = self.lock();
        let len = state.last_len;
        self.take_from(&mut state, len)
    }

    fn take_from(&self, state: &mut State, len: usize) -> Vec<u8> {
        let sizes = || state.buffers.iter().map(Vec::len).enumerate();
        let fits = sizes().filter(|it| it.1 >= len && is_worth(it.1, len)).min_by_key(|it| it.1);
        let best = fits.or_else(|| sizes().filter(|it| it.1 < len).max_by_key(|it| it.1));
        best.map_or_else(Vec::new, |(at, _)| self.take_out(state, at))
    }

    /// Gives back the buffer of a message that was so long. What it is not worth to keep is freed.
    pub(in crate::message) fn give(self: &Arc<Self>, buffer: Vec<u8>, len: usize) {
        let mut state = self.lock();
        state.remember(len);
        let bytes = buffer.capacity();
        let is_large = bytes > LARGE;
        let unwanted = if bytes == 0 || (is_large && state.how_many_need(bytes) < 2) {
            Some(buffer)
        } else {
            state.keep(buffer);
            if is_large {
                idle::add(self, bytes);
            }
            None
        };
        while let Some(at) = state.surplus() {
            let gone = self.take_out(&mut state, at);
            drop(state);
            drop(gone);
            state = self.lock();
        }
        drop(state);
        drop(unwanted);
        if is_large {
            idle::shrink();
        }
    }

    /// Frees an idle buffer of so many bytes, if it is there still.
    pub(super) fn evict(&self, bytes: usize) {
        let mut state = self.lock();
        let found = state.buffers.iter().position(|buffer| buffer.capacity() == bytes);
        let gone = found.map(|at| state.buffers.remove(at));
        drop(state);
        drop(gone);
    }

    fn take_out(&self, state: &mut State, at: usize) -> Vec<u8> {
        let buffer = state.buffers.remove(at);
        if buffer.capacity() > LARGE {
            idle::remove(self, buffer.capacity());
        }
        buffer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let buffers = std::mem::take(&mut self.lock().buffers);
        for buffer in buffers.iter().filter(|buffer| buffer.capacity() > LARGE) {
            idle::remove(self, buffer.capacity());
        }
    }
}

impl State {
    fn keep(&mut self, buffer: Vec<u8>) {
        if self.buffers.capacity() == 0 {
            self.buffers.reserve_exact(BUFFERS + 1);
        }
        self.buffers.push(buffer);
    }

    fn remember(&mut self, len: usize) {
        self.last_len = len;
        self.recent[self.next] = bits(len);
        self.next = (self.next + 1) % RECENT;
    }

    /// How many of the last messages were long enough to be worth a buffer of this size.
    fn how_many_need(&self, buffer: usize) -> usize {
        let enough = bits(buffer).saturating_sub(2);
        self.recent.iter().filter(|&&len| len >= enough).count()
    }

    /// Which buffer goes, if one has to.
    fn surplus(&self) -> Option<usize> {
        let sizes = || self.buffers.iter().map(Vec::capacity).enumerate();
        let forgotten = sizes().find(|&(_, bytes)| bytes > LARGE && self.how_many_need(bytes) == 0);
        if let Some((at, _)) = forgotten {
            return Some(at);
        }
        if self.buffers.len() > BUFFERS {
            return Some(0);
        }
        let small = || sizes().filter(|it| it.1 <= LARGE);
        let bytes: usize = small().map(|it| it.1).sum();
        if bytes > SMALL_BYTES { small().next().map(|it| it.0) } else { None }
    }
}

fn bits(len: usize) -> u8 {
    // At most 64.
    (usize::BITS - len.leading_zeros()) as u8
}
