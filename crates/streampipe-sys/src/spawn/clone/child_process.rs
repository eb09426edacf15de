//! The clone itself: a child on borrowed memory, with its pidfd.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use rustix::io::Errno;
use rustix::thread::futex;

use super::program::{Orders, child};
use super::stack::Stack;
use crate::wait::timespec_until;

const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_PIDFD;

/// A child that has executed its program, or has ended.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// Whether it took longer than it may, and was killed.
    pub(super) was_late: bool,
}

/// Makes the child, which follows the orders; returns when it has called `exec` or `_exit`.
///
/// Without a bound, the kernel holds this thread for so long (`CLONE_VFORK`), and whoever may send the
/// child `SIGSTOP` holds it for ever. With one, this thread waits for the word that the kernel clears
/// when the child leaves the memory (`CLONE_CHILD_CLEARTID`), and kills a child that is late.
pub(super) fn clone_child(
    stack: &Stack,
    orders: &mut Orders<'_>,
    patience: Option<Duration>,
) -> io::Result<Cloned> {
    let on_our_memory = AtomicU32::new(1);
    let mut pidfd: c_int = -1;
    let mut terms = Terms {
        flags: if patience.is_some() { libc::CLONE_CHILD_CLEARTID } else { libc::CLONE_VFORK },
        pidfd: &raw mut pidfd,
        on_our_memory: on_our_memory.as_ptr(),
    };
    let pid = match newer::clone_with_clear_handlers(stack, orders, &mut terms) {
        Some(pid) => pid,
        None => clone_with_handlers(stack, orders, &mut terms),
    }?;
    // SAFETY: the clone succeeded with `CLONE_PIDFD`, so `pidfd` is open and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let mut was_late = false;
    if let Some(patience) = patience {
        was_late = !leaves_within(&on_our_memory, Some(patience));
        if was_late {
            let _ = crate::process::signal(pidfd.as_fd(), libc::SIGKILL);
            // It reads what this function's caller owns: nothing may be given back before it is gone.
            leaves_within(&on_our_memory, None);
        }
    }
    Ok(Cloned { pid, pidfd, was_late })
}

/// What else the clone is told.
struct Terms {
    flags: c_int,
    pidfd: *mut c_int,
    on_our_memory: *mut u32,
}

/// Waits until the kernel has cleared the word; says whether it has.
///
/// By bare system calls: until then the child has this thread's `errno`.
fn leaves_within(word: &AtomicU32, patience: Option<Duration>) -> bool {
    let deadline = patience.map(|patience| Instant::now() + patience);
    // Pairs with the kernel's own clearing, which the wake-up follows.
    while word.load(Ordering::Acquire) != 0 {
        let left = deadline.map(timespec_until);
        let expected = word.load(Ordering::Acquire);
        if expected == 0 {
            break;
        }
        match futex::wait(word, futex::Flags::empty(), expected, left.as_ref()) {
            Err(Errno::TIMEDOUT) if deadline.is_some_and(|at| Instant::now() >= at) => {
                return false;
            }
            // Woken, interrupted, or cleared just before.
            _ => {}
        }
    }
    true
}

/// Everywhere: the child has the parent's signal handlers, and resets them one by one.
fn clone_with_handlers(
    stack: &Stack,
    orders: &mut Orders<'_>,
    terms: &mut Terms,
) -> io::Result<i32> {
    let flags = FLAGS | terms.flags | libc::SIGCHLD;
    let data = (&raw mut *orders).cast::<c_void>();
    let no_tls = ptr::null_mut::<c_void>();
    // SAFETY: `child` runs on `stack`, which is its own, and reads `orders`; both outlive it, for
    // `clone_child` returns when the child has called `exec` or `_exit`. The kernel writes the pidfd
    // through the pointer given as the parent's thread id, and clears the word of the last one.
    let pid = unsafe {
        libc::clone(child, stack.top(), flags, data, terms.pidfd, no_tls, terms.on_our_memory)
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// Linux 5.5: one flag resets the handlers, where 64 calls would take a tenth of the whole start.
#[cfg(target_arch = "x86_64")]
mod newer {
    use std::arch::asm;
    use std::io;

    use libc::{c_int, c_long, c_void};

    use super::{FLAGS, Orders, Stack, Terms, child};

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
        terms: &mut Terms,
    ) -> Option<io::Result<i32>> {
        let (base, size) = stack.usable();
        let args = CloneArgs {
            flags: u64::from((FLAGS | terms.flags).unsigned_abs()) | CLEAR_HANDLERS,
            pidfd: terms.pidfd.addr() as u64,
            child_tid: terms.on_our_memory.addr() as u64,
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
        // from it. In this thread the kernel keeps all registers, those named below excepted.
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

    use super::{Orders, Stack, Terms};

    pub(super) fn clone_with_clear_handlers(
        _stack: &Stack,
        _orders: &mut Orders<'_>,
        _terms: &mut Terms,
    ) -> Option<io::Result<i32>> {
        None
    }
}
