use std::time::Duration;

/// How patient [`Child::stop_with`](crate::Child::stop_with) is before each escalation.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use streampipe::StopSchedule;
///
/// let hasty = StopSchedule { after_close: Duration::ZERO, ..StopSchedule::default() };
/// assert_eq!(hasty.after_term, Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSchedule {
    /// From the end of our direction to `SIGTERM`; 1 second by default.
    pub after_close: Duration,
    /// From `SIGTERM` to `SIGKILL`; 2 seconds by default.
    pub after_term: Duration,
}

impl Default for StopSchedule {
    fn default() -> Self {
        Self { after_close: Duration::from_secs(1), after_term: Duration::from_secs(2) }
    }
}
