use std::cell::Cell;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use streampipe_sys::open::numbers;
use streampipe_sys::process;
use streampipe_sys::wait::{Ready, pause};

use super::Child;
use super::child_handle::deadline_after;
use super::stops::Stops;

/// How often a group is looked at whose leader has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A child and its process group, while the group is stopped.
///
/// The child is reaped last. Until then its number, which is the group's, can mean nothing else.
pub(super) struct GroupStop<'child> {
    child: &'child mut Child,
    /// Whether every member was sent `SIGKILL`.
    is_killed: Cell<bool>,
}

impl<'child> GroupStop<'child> {
    pub(super) fn new(child: &'child mut Child) -> Self {
        Self { child, is_killed: Cell::new(false) }
    }

    /// Whether a member besides the child has not ended.
    fn has_others(&self) -> bool {
        // Where it cannot be told, everybody gets the whole time, up to `SIGKILL`.
        process::group_has_others(self.child.id()).unwrap_or(!self.is_killed.get())
    }
}

impl Stops for GroupStop<'_> {
    fn end_our_direction(&mut self) {
        self.child.end_our_direction();
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        self.child.signal_group(number)?;
        self.is_killed.set(self.is_killed.get() || number == numbers::SIGKILL);
        Ok(())
    }

    /// Waits until the child has ended and its group has no other member, then reaps it.
    fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = deadline_after(timeout);
        if self.child.handle().until_ended(deadline)? == Ready::TimedOut {
            return Ok(None);
        }
        if !process::is_unreaped_child(self.child.pidfd())? {
            // Somebody else has reaped it, so the group's number can be anybody's.
            return self.child.handle_mut().wait_deadline(deadline);
        }
        while self.has_others() {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            pause(LOOK_EVERY, Some(deadline))?;
        }
        // A member that was forked while the list was read may have been missed; this misses none.
        // It fails if the child, which has ended, is alone and had taken another identity.
        let _ = self.child.handle().signal_group(numbers::SIGKILL);
        self.child.handle_mut().wait_deadline(deadline.max(Instant::now() + LOOK_EVERY))
    }
}
