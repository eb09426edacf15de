//! Whether the kernel can compare processes: for tests of other crates, too, which have no `unsafe`.

/// Whether `kcmp(2)` is there and allowed: it is configured away in some kernels.
///
/// Without it, a process stays undumpable after a start with another user.
pub(crate) fn is_there() -> bool {
    /// `KCMP_VM` (`include/uapi/linux/kcmp.h`).
    const MEMORY: libc::c_int = 1;
    let own = std::process::id();
    // SAFETY: the call takes numbers and touches no memory.
    (unsafe { libc::syscall(libc::SYS_kcmp, own, own, MEMORY, 0, 0) }) == 0
}
