use std::io;
use std::time::{Duration, Instant};

use streampipe_sys::wait::{Interest, Ready, wait_any};

use super::CopyError;
use super::flow::{Advanced, Flow, Wants};
use crate::Stream;

/// Copies both ways between two stream pipes until both directions have ended.
///
/// What comes from `left` goes to `right` and the other way round, at the same time, in one thread:
/// a side that writes without reading never keeps the other direction waiting, so no pattern of
/// reads and writes can deadlock it. It holds at most 64 KiB for each direction, and the
/// descriptors that came with them (at most 253). These are passed on with the bytes they were
/// received with, perhaps in front of bytes that were sent before theirs, never behind their own.
///
/// When one side ends its direction, that end is passed on by a
/// [`shutdown`](Stream::shutdown) and the other direction goes on. Returns the numbers of bytes
/// copied from left to right and from right to left. The ends stay open, with both directions of
/// each shut down; they are not closed, and their settings, timeouts among them, are neither used nor
/// changed: [`copy_both_timeout`] is the bounded form.
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
    copy_until(left, right, None)
}

/// Copies both ways as [`copy_both`], for at most so long.
///
/// # Errors
///
/// As [`copy_both`]; when the time is up, a [`CopyError`] whose cause is `TimedOut`: both directions
/// were ended then, and what had been sent and not delivered is counted as dropped.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
///
/// let (_silent, left) = streampipe::pair()?;
/// let (right, _silent_too) = streampipe::pair()?;
/// let error = streampipe::copy_both_timeout(&left, &right, Duration::from_millis(10)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn copy_both_timeout(
    left: &Stream,
    right: &Stream,
    timeout: Duration,
) -> io::Result<(u64, u64)> {
    copy_until(left, right, Instant::now().checked_add(timeout))
}

fn copy_until(left: &Stream, right: &Stream, deadline: Option<Instant>) -> io::Result<(u64, u64)> {
    let mut onward = Flow::new(&left.end, &right.end);
    let mut back = Flow::new(&right.end, &left.end);
    loop {
        let turns = [onward.advance(), back.advance()];
        if onward.wants == Wants::Nothing && back.wants == Wants::Nothing {
            break;
        }
        let late = deadline.is_some_and(|at| Instant::now() >= at);
        let waited = if late {
            Ok(Ready::TimedOut)
        } else if turns.contains(&Advanced::ForOneTurn) {
            Ok(Ready::Yes)
        } else {
            wait_for(left, right, &onward, &back, deadline)
        };
        match waited {
            Ok(Ready::Yes) => {}
            Ok(Ready::TimedOut) => {
                end_both(&mut onward, &mut back, || io::ErrorKind::TimedOut.into())
            }
            Err(error) => {
                let kind = error.kind();
                onward.give_up(error);
                end_both(&mut onward, &mut back, || kind.into());
            }
        }
    }
    result_of(onward, back)
}

/// Sleeps until one of the directions can go on.
fn wait_for(
    left: &Stream,
    right: &Stream,
    onward: &Flow<'_>,
    back: &Flow<'_>,
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    left.end.with_interests(&interests(onward, back), |of_left, left_again| {
        right.end.with_interests(&interests(back, onward), |of_right, right_again| {
            let again = left_again.into_iter().chain(right_again).min();
            let first = again.into_iter().chain(deadline).min();
            let waited = wait_any(&[of_left, of_right].concat(), first)?;
            let is_late = deadline.is_some_and(|at| Instant::now() >= at);
            Ok(if is_late { waited } else { Ready::Yes })
        })
    })
}

/// What an end is waited for: one that is waited for nothing is left out, so that a hang-up there
/// cannot wake the caller for ever.
fn interests(reads: &Flow<'_>, writes: &Flow<'_>) -> Vec<Interest> {
    let readable = (reads.wants == Wants::ToRead).then_some(Interest::Readable);
    let writable = (writes.wants == Wants::ToWrite).then_some(Interest::Writable);
    readable.into_iter().chain(writable).collect()
}

fn end_both<'ends>(
    onward: &mut Flow<'ends>,
    back: &mut Flow<'ends>,
    error: impl Fn() -> io::Error,
) {
    for flow in [onward, back] {
        if flow.wants != Wants::Nothing {
            flow.give_up(error());
        }
    }
}

fn result_of(onward: Flow<'_>, back: Flow<'_>) -> io::Result<(u64, u64)> {
    let copied = (onward.delivered, back.delivered);
    match onward.trouble.or(back.trouble) {
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
