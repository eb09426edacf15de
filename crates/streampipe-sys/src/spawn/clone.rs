//! The clone itself: a child on borrowed memory, with its pidfd.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::{c_int, c_void};

use super::program::{Orders, child};
use super::stack::Stack;

const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// Makes the child, which follows the orders; returns when it has called `exec` or `_exit`.
pub(super) fn clone_child(stack: &Stack, orders: &mut Orders<'_>) -> io::Result<(i32, OwnedFd)> {
    let mut pidfd: c_int = -1;
    let pid = match newer::clone_with_clear_handlers(stack, orders, &mut pidfd) {
        Some(pid) => pid,
        None => clone_with_handlers(stack, orders, &mut pidfd),
    }?;
    // SAFETY: the clone succeeded with `CLONE_PIDFD`, so `pidfd` is open and nobody else owns it.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Everywhere: the child has the parent's signal handlers, and resets them one by one.
fn clone_with_handlers(
    stack: &Stack,
    orders: &mut Orders<'_>,
    pidfd: &mut c_int,
) -> io::Result<i32> {
    let flags = FLAGS | libc::SIGCHLD;
    let data = (&raw mut *orders).cast::<c_void>();
    // SAFETY: `child` runs on `stack`, which is its own, and reads `orders`; both outlive it, for
    // with `CLONE_VFORK` this thread stands still until the child has called `exec` or `_exit`.
    // The kernel writes the pidfd through the pointer given as the parent's thread id.
    let pid = unsafe { libc::clone(child, stack.top(), flags, data, &raw mut *pidfd) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// Linux 5.5: one flag resets the handlers, where 64 calls would take a tenth of the whole start.
#[cfg(target_arch = "x86_64")]
mod newer {
    use std::arch::asm;
    use std::io;

    use libc::{c_int, c_long, c_void};

    use super::{FLAGS, Orders, Stack, child};

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

    /// `None` where the kernel, or a filter, does not know the call.
    pub(super) fn clone_with_clear_handlers(
        stack: &Stack,
        orders: &mut Orders<'_>,
        pidfd: &mut c_int,
    ) -> Option<io::Result<i32>> {
        let (base, size) = stack.usable();
        let args = CloneArgs {
            flags: u64::from(FLAGS.unsigned_abs()) | CLEAR_HANDLERS,
            pidfd: (&raw mut *pidfd).addr() as u64,
            child_tid: 0,
            parent_tid: 0,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            stack: base.addr() as u64,
            stack_size: size as u64,
            tls: 0,
        };
        orders.handlers_are_clear = true;
        let result = call(&args, (&raw mut *orders).cast::<c_void>());
        match i32::try_from(result) {
            Ok(pid @ 1..) => return Some(Ok(pid)),
            // Old kernels; filters that refuse what they cannot look into.
            Ok(error) if [libc::ENOSYS, libc::EINVAL, libc::EPERM].contains(&-error) => {}
            Ok(error) => return Some(Err(io::Error::from_raw_os_error(-error))),
            Err(_) => {}
        }
        orders.handlers_are_clear = false;
        None
    }

    fn call(args: &CloneArgs, orders: *mut c_void) -> c_long {
        let result: c_long;
        // SAFETY: `args` is a `clone_args` of the size said. The child starts behind the call on a
        // stack of its own, aligned to a page, calls `child` with its orders, and never comes back
        // from it. This thread stands still meanwhile (`CLONE_VFORK`), and the kernel keeps its
        // registers, those named below excepted.
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
                inlateout("rax") libc::SYS_clone3 => result,
                in("rdi") &raw const *args,
                in("rsi") size_of::<CloneArgs>(),
                in("r12") orders,
                in("r13") child as extern "C" fn(*mut c_void) -> c_int,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        result
    }
}

/// Elsewhere nobody has tried it.
#[cfg(not(target_arch = "x86_64"))]
mod newer {
    use std::io;

    use libc::c_int;

    use super::{Orders, Stack};

    pub(super) fn clone_with_clear_handlers(
        _stack: &Stack,
        _orders: &mut Orders<'_>,
        _pidfd: &mut c_int,
    ) -> Option<io::Result<i32>> {
        None
    }
}
