//! The clock that both processes share, and waiting for a time of it.

use std::mem::MaybeUninit;

/// Nanoseconds of `CLOCK_MONOTONIC`, which is one for all processes.
#[inline]
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of any clock.
pub fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to room for the answer, and the clocks used here are always there.
    let time = unsafe {
        libc::clock_gettime(clock, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps until that time, as exactly as the kernel's timers are; see [`exact_timers`].
pub fn sleep_until(time: u64) {
    let until = libc::timespec {
        tv_sec: (time / 1_000_000_000) as libc::time_t,
        tv_nsec: (time % 1_000_000_000) as libc::c_long,
    };
    let flags = libc::TIMER_ABSTIME;
    let remaining = std::ptr::null_mut();
    // SAFETY: the pointer is to a time; what remains is not asked for.
    while unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, flags, &until, remaining) }
        == libc::EINTR
    {}
}

/// Spins until that time.
pub fn spin_until(time: u64) {
    while now() < time {
        std::hint::spin_loop();
    }
}

/// Forbids the kernel to delay this thread's timers so that it can serve several at once.
pub fn exact_timers() {
    // SAFETY: a number.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}
