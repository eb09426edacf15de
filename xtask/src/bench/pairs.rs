use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::Done;
use super::measure::compare;

pub(super) fn run() -> Done {
    compare(
        "make a stream pair and close it",
        || {
            let (unix, stream) = (AddressFamily::UNIX, SocketType::STREAM);
            drop(socketpair(unix, stream, SocketFlags::CLOEXEC, None)?);
            Ok(())
        },
        || {
            drop(streampipe::pair()?);
            Ok(())
        },
    )?;
    Ok(())
}
