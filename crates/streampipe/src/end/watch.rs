use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use streampipe_sys::wait::has_ended;

use super::PeerGone;

/// How long the end of a process that is gone may take to close, before it counts as held: a sibling
/// that is just being started has a copy of everything until it executes its program.
const LAST_COPY: Duration = Duration::from_millis(20);

/// The process at the other end, by its pidfd; shared by all handles of the end.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pidfd: Arc<OwnedFd>,
    id: u32,
    /// When it was first seen to have ended.
    gone_since: Arc<OnceLock<Instant>>,
}

/// What is known of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Lives,
    /// It has ended, and its end may still be closing, until then.
    Closing(Instant),
    Gone,
}

impl Watch {
    pub(crate) fn new(pidfd: Arc<OwnedFd>, id: u32) -> Self {
        Self { pidfd, id, gone_since: Arc::default() }
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn gone(&self) -> PeerGone {
        PeerGone { id: self.id }
    }

    /// Looks at the process, and notes when it was first seen to have ended.
    pub(crate) fn life(&self) -> io::Result<Life> {
        if self.gone_since.get().is_none() && has_ended(self.pidfd())? {
            self.gone_since.get_or_init(Instant::now);
        }
        Ok(self.known_life())
    }

    /// What was seen before.
    pub(super) fn known_life(&self) -> Life {
        let Some(gone_since) = self.gone_since.get() else { return Life::Lives };
        let closed_by = *gone_since + LAST_COPY;
        if Instant::now() < closed_by { Life::Closing(closed_by) } else { Life::Gone }
    }
}
