use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use streampipe_sys::message::Sender;
use streampipe_sys::process::same_process;

/// The process that said hello, as the kernel attests ([`Stream::recv_hello`](super::Stream::recv_hello)).
#[derive(Debug)]
pub struct Peer {
    pid: Option<u32>,
    uid: u32,
    gid: u32,
    pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Gives the sender back if the kernel noted nobody: process 0, and no pidfd (kernel trap B2).
    pub(super) fn attested(sender: Sender) -> Result<Self, Sender> {
        let Some(credentials) = sender.credentials else { return Err(sender) };
        let pid = u32::try_from(credentials.pid).ok().filter(|&pid| pid != 0);
        if pid.is_none() && sender.pidfd.is_none() {
            return Err(sender);
        }
        Ok(Self { pid, uid: credentials.uid, gid: credentials.gid, pidfd: sender.pidfd })
    }

    /// The process id it had when it sent; `None` if it is outside of this process's pid namespace.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Its **real** user when it sent; a process may also name its effective or saved one.
    ///
    /// Not what it may do: a process that has given up rights by its effective user alone still has its
    /// real one.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its **real** group when it sent, as [`uid`](Self::uid).
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether it is this child itself, rather than a process that the child has started.
    ///
    /// The pidfds of both decide, where the kernel gives them an identity (Linux 6.9), and else the
    /// numbers: those are exact as long as the child was not reaped, by whomever.
    #[must_use]
    pub fn is(&self, child: &crate::Child) -> bool {
        let own = self.pidfd.as_ref().map(|pidfd| same_process(pidfd.as_fd(), child.pidfd()));
        self.pid == Some(child.id()) && own != Some(Some(false))
    }

    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}
