//! Sleeping on a word of shared memory, and waking who sleeps there (`futex(2)`).

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::thread::futex::{self, Flags};

/// The half of the word that a futex can be: its low 32 bits.
fn low_half(word: &AtomicU64) -> &std::sync::atomic::AtomicU32 {
    let at = if cfg!(target_endian = "little") { 0 } else { 4 };
    let half = std::ptr::from_ref(word).cast::<u8>().wrapping_add(at).cast_mut();
    // SAFETY: half of an atomic, aligned, alive as long as it; it is only compared, by the kernel.
    unsafe { std::sync::atomic::AtomicU32::from_ptr(half.cast()) }
}

/// Sleeps until somebody wakes who sleeps on this word, unless its low half is another one by now; for so long at most.
///
/// May return early for no reason, and late for none that the peer could not find: it can move who sleeps here to another
/// word. So the time must be short.
pub fn wait(word: &AtomicU64, low: u32, time: Duration) {
    let Ok(time) = futex::Timespec::try_from(time) else { return };
    // Woken, changed, interrupted or late: the caller looks in each case.
    let _ = futex::wait(low_half(word), Flags::empty(), low, Some(&time));
}

/// Wakes all who sleep on this word.
pub fn wake(word: &AtomicU64) {
    let _ = futex::wake(low_half(word), Flags::empty(), i32::MAX as u32);
}
