//! What waits in a socket: bytes, and descriptors in flight.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How many bytes are queued for reading (`FIONREAD`); control data is not counted.
///
/// # Errors
///
/// Those of `ioctl(2)`.
pub fn bytes_queued(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// How many descriptors are queued at this socket, received by nobody yet.
///
/// They are invisible in `/proc/self/fd`; the kernel reports them as `scm_fds` in
/// `/proc/self/fdinfo` (Linux 5.10). `None` where `/proc` does not tell.
#[must_use]
pub fn fds_queued(fd: impl AsFd) -> Option<usize> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("scm_fds:"))?.trim().parse().ok()
}
