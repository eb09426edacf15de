use std::sync::{Mutex, PoisonError};

use streampipe_sys::inherited::{Mismatch, has_more_rights_than_its_caller, take};

use super::NotInherited;
use super::variable::{VARIABLE, parse};
use crate::ring::Unusable;
use crate::{Engine, Stream};

/// Whether the end has been adopted.
static TAKEN: Mutex<bool> = Mutex::new(false);

/// How much of a malformed value an error shows, in bytes.
const SHOWN: usize = 64;

/// Adopts the end that the parent prepared for this process ([`Command`](crate::Command)).
///
/// Once: the end belongs to the caller, and closes when it is dropped. It is close-on-exec from then
/// on. Only the very socket that was prepared is adopted: the variable `STREAMPIPE_END` says
/// `version:number:type:cookie` (`1:3:stream:4711`), and the kernel is asked whether the descriptor of
/// that number is a socket of that type with that cookie, which is never used twice. Where sockets have no cookie
/// (gVisor), the variable says `inode=` and the socket's inode instead, which no two open sockets share. Other
/// descriptors, and the environment, are left alone.
///
/// A program that does not use this library takes the descriptor by its number.
///
/// # Errors
///
/// A [`NotInherited`], a different one for each cause. Nothing has changed then, unless the end is one of a ring and was
/// found: if it cannot be used ([`BadMemory`](NotInherited::BadMemory), [`System`](NotInherited::System)), it is closed, for
/// its memory comes once, and later calls say [`Taken`](NotInherited::Taken).
///
/// # Examples
///
/// ```no_run
/// // Not run: the test that would run it was not started by `Command`.
/// use std::io::{BufRead, BufReader, Write};
///
/// let mut parent = streampipe::inherited()?;
/// let mut job = String::new();
/// BufReader::new(&parent).read_line(&mut job)?;
/// parent.write_all(b"done\n")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn inherited() -> Result<Stream, NotInherited> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if *taken {
        return Err(NotInherited::Taken);
    }
    let value = std::env::var_os(VARIABLE).ok_or(NotInherited::NoVariable)?;
    if has_more_rights_than_its_caller() {
        return Err(NotInherited::Secure);
    }
    let parsed = value.to_str().and_then(parse);
    let Some((number, engine, expected)) = parsed else {
        let shown = String::from_utf8_lossy(&value.as_encoded_bytes()[..value.len().min(SHOWN)]);
        return Err(NotInherited::Malformed { value: shown.into_owned() });
    };
    let fd = match take(number, expected) {
        Ok(Ok(fd)) => fd,
        Ok(Err(Mismatch::NotOpen)) => return Err(NotInherited::NotOpen { number }),
        Ok(Err(Mismatch::Another)) => return Err(NotInherited::AnotherFile { number }),
        Err(error) => {
            return Err(NotInherited::System { errno: error.raw_os_error().unwrap_or_default() });
        }
    };
    // Whatever becomes of it: the descriptor is this process's now, and what came over it is received once.
    *taken = true;
    let stream = Stream::try_from(fd).map_err(|_| NotInherited::AnotherFile { number })?;
    if engine == Engine::Socket {
        return Ok(stream);
    }
    stream.into_ring().map_err(|unusable| match unusable {
        Unusable::System(error) if error.raw_os_error().is_some() => {
            NotInherited::System { errno: error.raw_os_error().unwrap_or_default() }
        }
        unusable => NotInherited::BadMemory { reason: unusable.to_string() },
    })
}
