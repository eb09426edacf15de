//! For `#[serde(with = "streampipe::passed")]`: any type that has a descriptor inside, as a field of a value.
//!
//! For types of others, which cannot implement `Serialize` for themselves. To be sent they are borrowed as a descriptor,
//! of which a copy is made; received ones are made from one.
//!
//! # Examples
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use std::fs::File;
//! use std::net::TcpListener;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Start {
//!     #[serde(with = "streampipe::passed")]
//!     log: File,
//!     #[serde(with = "streampipe::passed")]
//!     listener: TcpListener,
//! }
//!
//! let (ours, theirs) = streampipe::channel::<Start, ()>()?;
//! let log = File::open("/dev/null")?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! ours.send(Start { log, listener })?;
//! assert_eq!(theirs.recv()?.listener.local_addr()?, address);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, Serializer};

use super::passing::{PassedFd, complain};
use super::travellers::{deserialize_fd, serialize_fd};

/// Serializes it as a descriptor.
///
/// # Errors
///
/// `EMFILE` if there is no free descriptor for the copy; outside of a channel.
pub fn serialize<T: AsFd, S: Serializer>(it: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let copy =
        it.as_fd().try_clone_to_owned().map_err(|error| S::Error::custom(complain(error)))?;
    serialize_fd(PassedFd::Copy(copy), serializer)
}

/// Makes it from the descriptor that came.
///
/// # Errors
///
/// If none came, or the type does not take this one.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<OwnedFd>,
    T::Error: Display,
    D: Deserializer<'de>,
{
    let fd = deserialize_fd(deserializer)?;
    T::try_from(fd).map_err(|error| D::Error::custom(complain(error)))
}
