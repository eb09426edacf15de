use std::time::Duration;

/// How patient [`Child::stop_with`](crate::Child::stop_with) is before each escalation.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use streampipe::StopSchedule;
///
/// let hasty = StopSchedule::new().after_close(Duration::ZERO);
/// assert_ne!(hasty, StopSchedule::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSchedule {
    pub(super) after_close: Duration,
    pub(super) after_term: Duration,
}

impl StopSchedule {
    /// 1 second, then 2 seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self { after_close: Duration::from_secs(1), after_term: Duration::from_secs(2) }
    }

    /// Sets the time from the end of our direction to `SIGTERM`; 1 second by default.
    #[must_use]
    pub const fn after_close(mut self, patience: Duration) -> Self {
        self.after_close = patience;
        self
    }

    /// Sets the time from `SIGTERM` to `SIGKILL`; 2 seconds by default.
    #[must_use]
    pub const fn after_term(mut self, patience: Duration) -> Self {
        self.after_term = patience;
        self
    }
}

impl Default for StopSchedule {
    fn default() -> Self {
        Self::new()
    }
}
