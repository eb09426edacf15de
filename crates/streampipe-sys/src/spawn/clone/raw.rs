//! Clones that the C library does not offer, by bare system calls.

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{clone_with_clear_handlers, clone_with_cleared_word};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use elsewhere::{clone_with_clear_handlers, clone_with_cleared_word};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;
    use std::io;

    use libc::c_long;

    use crate::spawn::clone::request::CloneRequest;

    /// `CLONE_CLEAR_SIGHAND` (`include/uapi/linux/sched.h`), which `clone(2)` has no room for.
    const CLEAR_HANDLERS: u64 = 0x1_0000_0000;

    /// `struct clone_args` in its first version, of 64 bytes.
    #[repr(C, align(8))]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }

    /// Linux 5.5: one flag resets the handlers, where 64 calls would take a tenth of the whole start.
    ///
    /// `None` where the kernel, or a filter, does not know the call.
    pub(in super::super) fn clone_with_clear_handlers(
        request: &CloneRequest<'_>,
    ) -> Option<io::Result<i32>> {
        let (base, size) = request.stack.usable();
        let args = CloneArgs {
            flags: u64::from(request.flags.unsigned_abs()) | CLEAR_HANDLERS,
            pidfd: request.pidfd.addr() as u64,
            child_tid: request.on_our_memory.addr() as u64,
            parent_tid: 0,
            exit_signal: u64::from(request.exit_signal.unsigned_abs()),
            stack: base.addr() as u64,
            stack_size: size as u64,
            tls: 0,
        };
        let registers = [(&raw const args).addr(), size_of::<CloneArgs>(), 0, 0, 0];
        match call(libc::SYS_clone3, registers, request) {
            // Old kernels; filters that refuse what they cannot look into.
            Err(error) if is_refused(&error) => None,
            result => Some(result),
        }
    }

    fn is_refused(error: &io::Error) -> bool {
        let refused = [libc::ENOSYS, libc::EINVAL, libc::EPERM];
        error.raw_os_error().is_some_and(|errno| refused.contains(&errno))
    }

    /// `clone(2)` with `CLONE_CHILD_CLEARTID`, which musl's function refuses.
    pub(in super::super) fn clone_with_cleared_word(
        request: &CloneRequest<'_>,
    ) -> Option<io::Result<i32>> {
        let flags = (request.flags | request.exit_signal).unsigned_abs() as usize;
        let (pidfd, word) = (request.pidfd.addr(), request.on_our_memory.addr());
        let registers = [flags, request.stack.top().addr(), pidfd, word, 0];
        Some(call(libc::SYS_clone, registers, request))
    }

    fn call(number: c_long, registers: [usize; 5], request: &CloneRequest<'_>) -> io::Result<i32> {
        let result: c_long;
        // SAFETY: the registers are the arguments of `clone` or `clone3`, whose pointers outlive the call. The
        // child starts behind the call on a stack of its own, aligned to a page, calls the function with its
        // data, and never comes back from it. In this thread the kernel keeps all registers, those named below
        // excepted.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, r12",
                "call r13",
                "ud2",
                "2:",
                inlateout("rax") number => result,
                in("rdi") registers[0],
                in("rsi") registers[1],
                in("rdx") registers[2],
                in("r10") registers[3],
                in("r8") registers[4],
                in("r12") request.data,
                in("r13") request.function,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        let result = i32::try_from(result).unwrap_or(-libc::EINVAL);
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
    }
}

/// Elsewhere nobody has tried them.
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use std::io;

    use crate::spawn::clone::request::CloneRequest;

    pub(in super::super) fn clone_with_clear_handlers(
        _request: &CloneRequest<'_>,
    ) -> Option<io::Result<i32>> {
        None
    }

    pub(in super::super) fn clone_with_cleared_word(
        _request: &CloneRequest<'_>,
    ) -> Option<io::Result<i32>> {
        None
    }
}
