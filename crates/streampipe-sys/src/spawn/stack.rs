use std::io;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use libc::c_void;

/// One stack that is not in use: mapping one, and touching its pages for the first time, is a tenth
/// of what a start costs.
static SPARE: Mutex<Option<Stack>> = Mutex::new(None);

/// The child's stack: 64 KiB above as many that fault.
#[derive(Debug)]
pub(super) struct Stack {
    base: *mut c_void,
}

// SAFETY: the mapping belongs to the process, not to a thread, and whoever has the `Stack` has it alone.
unsafe impl Send for Stack {}

impl Stack {
    const GUARD: usize = 64 << 10;
    const SIZE: usize = Self::GUARD + (64 << 10);

    /// Takes the spare one, or maps one.
    pub(super) fn take() -> io::Result<Self> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.map_or_else(Self::new, Ok)
    }

    /// Keeps it as the spare one; the child has left it by `exec` or `_exit`.
    pub(super) fn put_back(self) {
        let other = SPARE.lock().unwrap_or_else(PoisonError::into_inner).replace(self);
        drop(other);
    }

    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let usable = stack.base.wrapping_byte_add(Self::GUARD);
        // SAFETY: the range lies inside the mapping just made, which nobody uses yet.
        if unsafe { libc::mprotect(usable, Self::SIZE - Self::GUARD, writable) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Where the part that does not fault starts, and its size in bytes.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn usable(&self) -> (*mut c_void, usize) {
        (self.base.wrapping_byte_add(Self::GUARD), Self::SIZE - Self::GUARD)
    }

    /// One past the highest byte, aligned as every ABI wants it: a multiple of the page.
    pub(super) fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no child runs on it: those have left by `exec` or `_exit`.
        unsafe { libc::munmap(self.base, Self::SIZE) };
    }
}
