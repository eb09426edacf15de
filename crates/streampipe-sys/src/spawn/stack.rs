use std::io;
use std::ptr;

use libc::c_void;

/// The child's stack: 64 KiB above a page that faults.
#[derive(Debug)]
pub(super) struct Stack {
    base: *mut c_void,
}

impl Stack {
    const GUARD: usize = 64 << 10;
    const SIZE: usize = Self::GUARD + (64 << 10);

    pub(super) fn new() -> io::Result<Self> {
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

    /// One past the highest byte, aligned as every ABI wants it: a multiple of the page.
    pub(super) fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child has left it by `exec` or `_exit`.
        unsafe { libc::munmap(self.base, Self::SIZE) };
    }
}
