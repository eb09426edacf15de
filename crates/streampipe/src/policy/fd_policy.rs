use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{FdKind, FdRule, RefusedFd, WrongFd};

/// Which descriptors may come from a peer, and which may go to it.
///
/// A new one lets everything through, and asks the kernel nothing.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use streampipe::{FdPolicy, FdRule, Type};
///
/// let policy = FdPolicy::new()
///     .accept(FdRule::pipe())
///     .accept(FdRule::socket(Type::STREAM))
///     .untrusted_peer();
///
/// let null = std::fs::File::open("/dev/null")?;
/// let refused = policy.check_outgoing(&[null.as_fd()]).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "descriptor 0 is a character device, and may not go to an untrusted peer"
/// );
///
/// // A peer that sends what it should not:
/// let (ours, theirs) = streampipe::pair()?;
/// theirs.send_fds(b"x", &[null.as_fd()])?;
/// let (_, mut fds) = ours.recv_fds(&mut [0; 1])?;
/// let wrong = policy.check_incoming(&mut fds).unwrap_err();
/// assert_eq!(
///     wrong.to_string(),
///     "descriptor 0: expected a pipe or a SOCK_STREAM socket, found a character device"
/// );
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FdPolicy {
    /// `None` if everything may come.
    accepted: Option<FdRule>,
    is_untrusted: bool,
    allows_directories: bool,
    allows_devices: bool,
    allows_paths: bool,
}

impl FdPolicy {
    /// Lets every descriptor come and go.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only such descriptors come; said again, such descriptors, too.
    #[must_use]
    pub fn accept(mut self, rule: FdRule) -> Self {
        self.accepted = Some(match self.accepted.take() {
            Some(accepted) => accepted.or(rule),
            None => rule,
        });
        self
    }

    /// Lets no directory, no device and no `O_PATH` descriptor go, unless a word below allows it.
    ///
    /// A peer that is confined gets out by a directory, even with `O_PATH`: `openat(fd, "../..")` knows
    /// no `chroot`. A device is as powerful as its driver.
    ///
    /// It does not look at what a file contains, or for what it was opened: a file that is sent can
    /// be opened again through `/proc`, as its permissions allow.
    #[must_use]
    pub fn untrusted_peer(mut self) -> Self {
        self.is_untrusted = true;
        self
    }

    /// Lets directories go to an untrusted peer: what they lead to is meant for it.
    #[must_use]
    pub fn allow_directories(mut self) -> Self {
        self.allows_directories = true;
        self
    }

    /// Lets character and block devices go to an untrusted peer: terminals, `/dev/null`, disks.
    #[must_use]
    pub fn allow_devices(mut self) -> Self {
        self.allows_devices = true;
        self
    }

    /// Lets `O_PATH` descriptors go to an untrusted peer, those of directories and devices, too.
    #[must_use]
    pub fn allow_paths(mut self) -> Self {
        self.allows_paths = true;
        self
    }

    /// Checks descriptors that are to be sent, in their order.
    ///
    /// # Errors
    ///
    /// [`RefusedFd`] for the first that may not go, or that the kernel does not describe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use streampipe::FdPolicy;
    ///
    /// let directory = std::fs::File::open("/")?;
    /// let policy = FdPolicy::new().untrusted_peer();
    /// assert!(policy.check_outgoing(&[directory.as_fd()]).is_err());
    /// assert!(policy.allow_directories().check_outgoing(&[directory.as_fd()]).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check_outgoing(&self, fds: &[BorrowedFd<'_>]) -> Result<(), RefusedFd> {
        if self.sends_everything() {
            return Ok(());
        }
        for (index, fd) in fds.iter().enumerate() {
            self.may_go(*fd).map_err(|kind| RefusedFd::new(index, kind))?;
        }
        Ok(())
    }

    /// Checks descriptors that came together, in their order.
    ///
    /// # Errors
    ///
    /// [`WrongFd`] for the first that may not come, taken out of `fds`; the others stay there.
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::{FdPolicy, FdRule};
    ///
    /// let policy = FdPolicy::new().accept(FdRule::file()).accept(FdRule::pidfd());
    /// let file = std::fs::File::open("/etc/passwd")?;
    /// let directory = std::fs::File::open("/")?;
    ///
    /// let mut fds = vec![file.into(), directory.into()];
    /// let wrong = policy.check_incoming(&mut fds).unwrap_err();
    /// assert_eq!(
    ///     wrong.to_string(),
    ///     "descriptor 1: expected a regular file or a pidfd, found a directory"
    /// );
    /// assert_eq!(fds.len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check_incoming(&self, fds: &mut Vec<OwnedFd>) -> Result<(), WrongFd> {
        let Some(rule) = self.accepted.as_ref().filter(|rule| !rule.accepts_everything()) else {
            return Ok(());
        };
        for index in 0..fds.len() {
            if let Err(found) = rule.judge(fds[index].as_fd()) {
                return Err(WrongFd::new(fds.remove(index), rule.clone(), found).at(index));
            }
        }
        Ok(())
    }

    /// Whether nothing that is sent could be refused.
    fn sends_everything(&self) -> bool {
        !self.is_untrusted || self.allows_directories && self.allows_devices && self.allows_paths
    }

    /// What it is if it may not go.
    fn may_go(&self, fd: BorrowedFd<'_>) -> Result<(), io::Result<FdKind>> {
        let Some(kind) = FdKind::of_perilous(fd).map_err(Err)? else {
            return Ok(());
        };
        let is_allowed = match kind {
            FdKind::Directory => self.allows_directories,
            FdKind::CharDevice | FdKind::BlockDevice => self.allows_devices,
            FdKind::Path => self.allows_paths,
            _ => true,
        };
        if is_allowed { Ok(()) } else { Err(Ok(kind)) }
    }
}
