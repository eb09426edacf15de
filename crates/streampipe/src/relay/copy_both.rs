use std::io;

use streampipe_sys::wait::{Watch, wait_any};

use super::CopyError;
use super::flow::{Flow, Wants};
use crate::Stream;

/// Copies both ways between two ends until both directions have ended.
///
/// What comes from `left` goes to `right` and the other way round, at the same time, in one thread:
/// a side that writes without reading never keeps the other direction waiting, so no pattern of
/// reads and writes can deadlock it. It holds at most 64 KiB for each direction, and the
/// descriptors that came with them (at most 253), which are passed on with their bytes.
///
/// When one side ends its direction, that end is passed on by a
/// [`shutdown`](Stream::shutdown) and the other direction goes on. Returns the numbers of bytes
/// copied from left to right and from right to left. The ends stay open, with both directions of
/// each shut down; they are not closed, and their settings are neither used nor changed.
///
/// # Errors
///
/// A [`CopyError`] inside, once both directions have ended, if something could not be delivered:
/// a side hung up before it had read everything, or descriptors were lost.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
///
/// let (mut client, left) = streampipe::pair()?;
/// let (right, mut server) = streampipe::pair()?;
/// let relay = std::thread::spawn(move || streampipe::copy_both(&left, &right));
///
/// client.write_all(b"question")?;
/// client.shutdown(Shutdown::Write)?;
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// server.write_all(b"answer")?;
/// drop(server);
/// client.read_to_string(&mut text)?;
/// assert_eq!(text, "questionanswer");
/// assert_eq!(relay.join().unwrap()?, (8, 6));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_both(left: &Stream, right: &Stream) -> io::Result<(u64, u64)> {
    let mut onward = Flow::new(&left.end, &right.end);
    let mut back = Flow::new(&right.end, &left.end);
    let mut trouble = None;
    loop {
        onward.advance();
        back.advance();
        if onward.wants == Wants::Nothing && back.wants == Wants::Nothing {
            break;
        }
        let mut watches = [
            Watch {
                fd: left.end.as_fd(),
                readable: onward.wants == Wants::ToRead,
                writable: back.wants == Wants::ToWrite,
            },
            Watch {
                fd: right.end.as_fd(),
                readable: back.wants == Wants::ToRead,
                writable: onward.wants == Wants::ToWrite,
            },
        ];
        if let Err(error) = wait_any(&mut watches) {
            trouble = Some(error);
            break;
        }
    }
    let copied = (onward.delivered, back.delivered);
    match trouble.or(onward.trouble).or(back.trouble) {
        None => Ok(copied),
        Some(cause) => Err(CopyError {
            left_to_right: copied.0,
            right_to_left: copied.1,
            dropped: onward.dropped + back.dropped,
            fds_dropped: onward.fds_dropped + back.fds_dropped,
            cause,
        }
        .into()),
    }
}
