use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use streampipe_sys::open::numbers;

use super::StopSchedule;

/// How long a process that was killed is waited for: only one that is stuck in the kernel takes longer.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// What can be stopped: a child, or a worker of a zygote.
pub(crate) trait Stops {
    fn end_our_direction(&mut self);
    fn signal(&self, number: i32) -> io::Result<()>;
    fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>>;
}

impl StopSchedule {
    /// Goes on step by step until the process has ended.
    pub(crate) fn carry_out(self, process: &mut impl Stops) -> io::Result<ExitStatus> {
        process.end_our_direction();
        let steps: [(&[i32], Duration); 3] = [
            (&[], self.after_close),
            // One that was stopped takes the signal only when it goes on.
            (&[numbers::SIGTERM, numbers::SIGCONT], self.after_term),
            (&[numbers::SIGKILL], AFTER_KILL),
        ];
        for (signals, patience) in steps {
            for &signal in signals {
                match process.signal(signal) {
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(numbers::ESRCH) => {}
                    sent => sent?,
                }
            }
            if let Some(status) = process.wait_timeout(patience)? {
                return Ok(status);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}
