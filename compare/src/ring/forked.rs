//! The other process: a fork of this one, which ends with the value that stands for it.

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::os::fd::AsRawFd;

/// How long a child whose work is over may take to clean up.
const PATIENCE_MS: libc::c_int = 3000;

/// A forked process and the socket that orders it about.
pub struct Forked {
    pid: libc::pid_t,
    control: UnixStream,
}

impl Forked {
    /// Forks; the child does the work with its end of the control socket, and ends.
    ///
    /// It also ends when this process does. This process must have no other threads.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn start(work: impl FnOnce(UnixStream) -> io::Result<()>) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        // SAFETY: takes nothing.
        let parent = unsafe { libc::getpid() };
        // SAFETY: this process has one thread, so the child may do whatever this process may.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(control);
                end_with(parent);
                let done = catch_unwind(AssertUnwindSafe(|| work(theirs)));
                let failed = !matches!(done, Ok(Ok(())));
                // SAFETY: a number; nothing that the parent has too is flushed or dropped here.
                unsafe { libc::_exit(i32::from(failed)) }
            }
            pid => Ok(Self { pid, control }),
        }
    }

    /// Its number.
    pub fn id(&self) -> libc::pid_t {
        self.pid
    }

    /// Our end of the control socket.
    pub fn control(&mut self) -> &mut UnixStream {
        &mut self.control
    }
}

impl Drop for Forked {
    /// It is told to end, by the end of the control socket, and killed if it does not.
    fn drop(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        if !ends_soon(self.pid) {
            // SAFETY: our own child, which was not waited for.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
        }
        // SAFETY: as above; no status is asked for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// Waits for the end of a child, which is not reaped.
fn ends_soon(pid: libc::pid_t) -> bool {
    // SAFETY: numbers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(descriptor @ 0..) = i32::try_from(descriptor) else { return false };
    // SAFETY: the kernel has just given it to us and to nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut wanted = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one.
    unsafe { libc::poll(&mut wanted, 1, PATIENCE_MS) == 1 }
}

/// Has this process killed when that one, its parent, ends.
fn end_with(parent: libc::pid_t) {
    // SAFETY: numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } != parent {
        // SAFETY: a number.
        unsafe { libc::_exit(1) };
    }
}

/// Tells the other process that it may go on.
///
/// # Errors
///
/// It is gone.
pub fn tell(control: &mut UnixStream) -> io::Result<()> {
    control.write_all(b"!")
}

/// Waits until the other process says that we may go on.
///
/// # Errors
///
/// It is gone.
pub fn hear(control: &mut UnixStream) -> io::Result<()> {
    control.read_exact(&mut [0]).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the other process is gone"),
        _ => error,
    })
}
