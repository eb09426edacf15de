//! Memory that is mapped and cannot be had: a page of a file that ends before it. For tests of other crates, too, which have no
//! `unsafe`.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

const LEN: usize = 4096;

/// Whoever touches it is sent `SIGBUS`; a system call that does is `EFAULT`.
pub(crate) struct Unbacked {
    base: NonNull<c_void>,
}

impl Unbacked {
    /// The first page of an empty file.
    pub(crate) fn of(empty: &File) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping where the kernel likes.
        let base = unsafe { libc::mmap(anywhere, LEN, protection, flags, empty.as_raw_fd(), 0) };
        assert!(base != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Self { base: NonNull::new(base).expect("the kernel maps nothing at 0") }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.base.cast::<u8>().as_ptr();
        // SAFETY: a mapping of this length that lives as long as `self`, of bytes that nobody writes: a load of one does
        // not return.
        unsafe { std::slice::from_raw_parts(start, LEN) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.base.cast::<u8>().as_ptr();
        // SAFETY: as above, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(start, LEN) }
    }
}

impl Drop for Unbacked {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and all that was borrowed from it was borrowed from `self`.
        unsafe { libc::munmap(self.base.as_ptr(), LEN) };
    }
}
