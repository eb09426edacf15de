//! Copies to and from memory that somebody else may be writing.
//!
//! In Rust's memory model a plain copy that races is undefined, whoever races. These are machine instructions: to the
//! compiler an operation that reads and writes memory, and nothing is concluded from what was read before or after. On
//! other processors than x86-64, and in Miri, bytes are copied one by one, and those that are shared are relaxed atomics.

/// Copies `len` bytes to where somebody else may be writing or reading.
///
/// # Safety
///
/// `from` is readable, and nobody's but the caller's; `shared` is writable; both for `len` bytes, and they do not overlap.
#[inline]
pub(super) unsafe fn copy_in(shared: *mut u8, from: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller answers for both ranges, as this function asks.
    unsafe {
        x86::copy(shared, from, len);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: the caller answers for both ranges, as this function asks.
    unsafe {
        portable::copy_in(shared, from, len);
    }
}

/// Copies `len` bytes from where somebody else may be writing.
///
/// # Safety
///
/// `to` is writable, and nobody's but the caller's; `shared` is in memory that is readable and writable; both for `len`
/// bytes, and they do not overlap.
#[inline]
pub(super) unsafe fn copy_out(to: *mut u8, shared: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller answers for both ranges, as this function asks.
    unsafe {
        x86::copy(to, shared, len);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: the caller answers for both ranges, as this function asks.
    unsafe {
        portable::copy_out(to, shared, len);
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use std::arch::asm;

    /// From here on, `rep movsb` is as fast as anything; below, it is slower, by 3 % for pieces of 32 KiB from another
    /// processor's cache, by more for less (measured: 6.18, Sapphire Rapids).
    const STRING: usize = 64 << 10;

    #[inline]
    pub(super) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
        match len {
            0 => {}
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            1..=3 => unsafe { few(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            4..=7 => unsafe { words_4(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            8..=15 => unsafe { words_8(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            16..=32 => unsafe { words_16(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            33..=64 => unsafe { words_32(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            65..STRING => unsafe { blocks(to, from, len) },
            // SAFETY: each touches `len` bytes of both ranges, for which the caller answers.
            _ => unsafe { string(to, from, len) },
        }
    }

    /// 1 to 3 bytes.
    #[inline]
    unsafe fn few(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the first byte, the middle one and the last one, which are all there are.
        unsafe {
            asm!(
                "movzx {a:e}, byte ptr [{from}]",
                "movzx {b:e}, byte ptr [{from} + {half}]",
                "movzx {c:e}, byte ptr [{from} + {last}]",
                "mov byte ptr [{to}], {a:l}",
                "mov byte ptr [{to} + {half}], {b:l}",
                "mov byte ptr [{to} + {last}], {c:l}",
                a = out(reg) _,
                b = out(reg) _,
                c = out(reg) _,
                from = in(reg) from,
                to = in(reg) to,
                half = in(reg) len / 2,
                last = in(reg) len - 1,
                options(nostack, preserves_flags),
            );
        }
    }

    /// 4 to 8 bytes, as two words that overlap.
    #[inline]
    unsafe fn words_4(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the first four and the last four bytes, all there are.
        unsafe {
            asm!(
                "mov {a:e}, dword ptr [{from}]",
                "mov {b:e}, dword ptr [{from} + {len} - 4]",
                "mov dword ptr [{to}], {a:e}",
                "mov dword ptr [{to} + {len} - 4], {b:e}",
                a = out(reg) _,
                b = out(reg) _,
                from = in(reg) from,
                to = in(reg) to,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
        }
    }

    /// 8 to 16 bytes, as two words that overlap.
    #[inline]
    unsafe fn words_8(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the first eight and the last eight bytes, all there are.
        unsafe {
            asm!(
                "mov {a}, qword ptr [{from}]",
                "mov {b}, qword ptr [{from} + {len} - 8]",
                "mov qword ptr [{to}], {a}",
                "mov qword ptr [{to} + {len} - 8], {b}",
                a = out(reg) _,
                b = out(reg) _,
                from = in(reg) from,
                to = in(reg) to,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
        }
    }

    /// 16 to 32 bytes, as two words that overlap.
    #[inline]
    unsafe fn words_16(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the first sixteen and the last sixteen bytes, all there are.
        unsafe {
            asm!(
                "movups {a}, xmmword ptr [{from}]",
                "movups {b}, xmmword ptr [{from} + {len} - 16]",
                "movups xmmword ptr [{to}], {a}",
                "movups xmmword ptr [{to} + {len} - 16], {b}",
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                from = in(reg) from,
                to = in(reg) to,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
        }
    }

    /// 32 to 64 bytes, as four words, of which the first two and the last two overlap.
    #[inline]
    unsafe fn words_32(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the first 32 and the last 32 bytes, all there are.
        unsafe {
            asm!(
                "movups {a}, xmmword ptr [{from}]",
                "movups {b}, xmmword ptr [{from} + 16]",
                "movups {c}, xmmword ptr [{from} + {len} - 32]",
                "movups {d}, xmmword ptr [{from} + {len} - 16]",
                "movups xmmword ptr [{to}], {a}",
                "movups xmmword ptr [{to} + 16], {b}",
                "movups xmmword ptr [{to} + {len} - 32], {c}",
                "movups xmmword ptr [{to} + {len} - 16], {d}",
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                from = in(reg) from,
                to = in(reg) to,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
        }
    }

    /// More than 64 bytes: blocks of 64, then the last 64, of which some were copied before.
    #[inline]
    unsafe fn blocks(to: *mut u8, from: *const u8, len: usize) {
        let last = len - 64;
        // SAFETY: blocks that start before `last`, which lies 64 before the end, and the one at `last`.
        unsafe {
            asm!(
                "2:",
                "movups {a}, xmmword ptr [{from} + {at}]",
                "movups {b}, xmmword ptr [{from} + {at} + 16]",
                "movups {c}, xmmword ptr [{from} + {at} + 32]",
                "movups {d}, xmmword ptr [{from} + {at} + 48]",
                "movups xmmword ptr [{to} + {at}], {a}",
                "movups xmmword ptr [{to} + {at} + 16], {b}",
                "movups xmmword ptr [{to} + {at} + 32], {c}",
                "movups xmmword ptr [{to} + {at} + 48], {d}",
                "add {at}, 64",
                "cmp {at}, {last}",
                "jb 2b",
                "movups {a}, xmmword ptr [{from} + {last}]",
                "movups {b}, xmmword ptr [{from} + {last} + 16]",
                "movups {c}, xmmword ptr [{from} + {last} + 32]",
                "movups {d}, xmmword ptr [{from} + {last} + 48]",
                "movups xmmword ptr [{to} + {last}], {a}",
                "movups xmmword ptr [{to} + {last} + 16], {b}",
                "movups xmmword ptr [{to} + {last} + 32], {c}",
                "movups xmmword ptr [{to} + {last} + 48], {d}",
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                at = inout(reg) 0_usize => _,
                from = in(reg) from,
                to = in(reg) to,
                last = in(reg) last,
                options(nostack),
            );
        }
    }

    /// Any number of bytes, by the processor's own means.
    #[inline]
    unsafe fn string(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the direction flag is clear, as the calling convention says.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(miri)))))]
mod portable {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    #[allow(dead_code, reason = "on x86-64, only tests use it")]
    pub(super) unsafe fn copy_in(shared: *mut u8, from: *const u8, len: usize) {
        for at in 0..len {
            // SAFETY: readable, as the caller says, and inside of `len`. Not an atomic: it may be borrowed to be read only.
            let byte = unsafe { from.wrapping_add(at).read() };
            // SAFETY: writable, as the caller says, and inside of `len`.
            let shared = unsafe { AtomicU8::from_ptr(shared.wrapping_add(at)) };
            shared.store(byte, Relaxed);
        }
    }

    #[allow(dead_code, reason = "on x86-64, only tests use it")]
    pub(super) unsafe fn copy_out(to: *mut u8, shared: *mut u8, len: usize) {
        for at in 0..len {
            // SAFETY: readable and writable, as the caller says, and inside of `len`.
            let shared = unsafe { AtomicU8::from_ptr(shared.wrapping_add(at)) };
            let byte = shared.load(Relaxed);
            // SAFETY: writable, as the caller says, and inside of `len`.
            unsafe { to.wrapping_add(at).write(byte) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{copy_in, copy_out, portable};

    /// To a place that is shared, or from one, by the processor's means or by any's.
    type Way = fn(&mut [u8], &mut [u8]);

    const WAYS: [Way; 4] = [
        |to, from| {
            let from: &[u8] = from;
            // SAFETY: two slices of one length.
            unsafe { copy_in(to.as_mut_ptr(), from.as_ptr(), from.len()) };
        },
        |to, from| {
            // SAFETY: two slices of one length.
            unsafe { copy_out(to.as_mut_ptr(), from.as_mut_ptr(), from.len()) };
        },
        |to, from| {
            let from: &[u8] = from;
            // SAFETY: two slices of one length.
            unsafe { portable::copy_in(to.as_mut_ptr(), from.as_ptr(), from.len()) };
        },
        |to, from| {
            // SAFETY: two slices of one length.
            unsafe { portable::copy_out(to.as_mut_ptr(), from.as_mut_ptr(), from.len()) };
        },
    ];

    /// Every length around each change of method, at every alignment of both sides, with the neighbours untouched.
    #[test]
    fn every_length_at_every_alignment() {
        // Miri has one method for all lengths, and takes a thousand times as long.
        let (step, most) = if cfg!(miri) { (9, 255) } else { (1, 65_537) };
        let more = [255, 256, 1000, 4096, 65_535, 65_536, 65_537];
        let more = more.into_iter().filter(|&len| len <= most);
        let mut from: Vec<u8> = (0..most + 16).map(|at| (at * 7 + at / 251) as u8).collect();
        for len in (0..=200).step_by(step).chain(more) {
            let some = if len <= 200 && step == 1 { 16 } else { 3 };
            for (start, end) in (0..some).flat_map(|one| (0..some).map(move |two| (one, two))) {
                for copy in WAYS {
                    let mut to = vec![0xAA; end + len + 16];
                    let source = &mut from[start..start + len];
                    copy(&mut to[end..end + len], source);
                    assert_eq!(to[end..end + len], *source, "{len} {start} {end}");
                    assert!(to[..end].iter().all(|&byte| byte == 0xAA), "{len} before");
                    assert!(to[end + len..].iter().all(|&byte| byte == 0xAA), "{len} behind");
                }
            }
        }
    }
}
