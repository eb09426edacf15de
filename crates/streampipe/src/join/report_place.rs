use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use streampipe_sys::wait::{Interest, Ready, wait};
use streampipe_sys::{fd, job, open};

/// Takes a descriptor that this process was started with, for a report that the programs cannot write to.
///
/// Returns a duplicate, close-on-exec. The descriptor itself is close-on-exec from now on, unless it is a
/// standard one.
///
/// # Errors
///
/// `EBADF` if it is not open, or not open for writing.
pub fn report_fd(number: i32) -> io::Result<File> {
    fd::take_for_writing(number).map(File::from)
}

/// Creates or empties a file for a report. Never waits for a reader of a named pipe.
///
/// # Errors
///
/// Those of `open(2)`; `ENXIO` for a named pipe that nobody reads.
pub fn report_file(path: &Path) -> io::Result<File> {
    open::for_report(path).map(File::from)
}

/// Makes a report beyond the limit on file sizes (`RLIMIT_FSIZE`) an error, where it would end this process.
///
/// For the whole process, and to be called when the programs have ended: they would inherit it.
pub fn survive_file_limit() {
    job::survive_file_limit();
}

/// Waits until there is room for a short report, or the deadline has passed.
///
/// # Errors
///
/// Those of `ppoll(2)`.
pub fn can_be_written(place: impl AsFd, deadline: Option<Instant>) -> io::Result<bool> {
    Ok(wait(place.as_fd(), Interest::Writable, deadline)? == Ready::Yes)
}
