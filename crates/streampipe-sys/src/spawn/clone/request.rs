use std::io;
use std::ptr;

use libc::{c_int, c_void};

use crate::spawn::stack::Stack;

/// A clone to be made: what the child runs, and what the kernel does for it.
#[derive(Debug)]
pub(super) struct CloneRequest<'stack> {
    pub(super) function: extern "C" fn(*mut c_void) -> c_int,
    /// Outlives the child's use of it.
    pub(super) data: *mut c_void,
    pub(super) stack: &'stack Stack,
    pub(super) flags: c_int,
    /// What the parent is sent when the child ends; 0 for nothing.
    pub(super) exit_signal: c_int,
    /// Where the kernel writes the pidfd, if `CLONE_PIDFD` is among the flags.
    pub(super) pidfd: *mut c_int,
    /// What the kernel clears when the child leaves the memory, if `CLONE_CHILD_CLEARTID` is among the flags.
    pub(super) on_our_memory: *mut u32,
}

impl CloneRequest<'_> {
    /// Makes it by the C library's `clone`, which every system and emulator knows.
    ///
    /// The child has the parent's signal handlers.
    pub(super) fn by_library(&self) -> io::Result<i32> {
        let flags = self.flags | self.exit_signal;
        let (stack, no_tls) = (self.stack.top(), ptr::null_mut::<c_void>());
        // SAFETY: `function` runs on `stack`, which is its own, with `data`, which outlives its use there. The
        // kernel writes the pidfd through the pointer given as the parent's thread id, and clears the word of the
        // last one, if the flags say so.
        let pid = unsafe {
            libc::clone(
                self.function,
                stack,
                flags,
                self.data,
                self.pidfd,
                no_tls,
                self.on_our_memory,
            )
        };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }
}
