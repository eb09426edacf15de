use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::PeerGone;

/// The process at the other end, by its pidfd.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pidfd: Arc<OwnedFd>,
    id: u32,
}

impl Watch {
    pub(crate) fn new(pidfd: Arc<OwnedFd>, id: u32) -> Self {
        Self { pidfd, id }
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn gone(&self) -> PeerGone {
        PeerGone { id: self.id }
    }
}
