//! What may stand in a value: descriptors, ends, channels, payloads.

use std::fmt;
use std::os::fd::OwnedFd;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::passing::{self, NoFd, PassedFd, complain};
use crate::channel::{Channel, Fd};
use crate::end::End;
use crate::message::{Core, WORTH_SHARING};
use crate::{Bytes, ConvertError, Datagram, RawChannel, SeqPacket, Stream};

const OUTSIDE: &str = "a descriptor travels only inside of what a streampipe channel carries";

/// Puts a descriptor beside the value, and its place into it.
pub(super) fn serialize_fd<S: Serializer>(fd: PassedFd, serializer: S) -> Result<S::Ok, S::Error> {
    match passing::pass(fd) {
        Some(place) => serializer.serialize_u32(place),
        None => Err(S::Error::custom(complain(OUTSIDE))),
    }
}

/// Takes the descriptor of the place that the value says.
pub(super) fn deserialize_fd<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<OwnedFd, D::Error> {
    let place = u32::deserialize(deserializer)?;
    passing::claim(place).map_err(|error| match error {
        NoFd::Outside => D::Error::custom(complain(OUTSIDE)),
        NoFd::Missing => D::Error::custom(complain(format_args!(
            "descriptor {place} did not come, or is named twice"
        ))),
    })
}

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_fd(PassedFd::Fd(self.share()), serializer)
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_fd(deserializer).map(Self::from)
    }
}

/// Puts another handle of an end beside the value.
fn serialize_end<S: Serializer>(end: &End, serializer: S) -> Result<S::Ok, S::Error> {
    if end.is_ring() {
        return Err(S::Error::custom(complain(
            "an end of a ring, of which a descriptor is the smaller part",
        )));
    }
    if end.holds_something() {
        return Err(S::Error::custom(complain(
            "an end with something received that nobody has taken yet",
        )));
    }
    if end.is_two_pipes() {
        return Err(S::Error::custom(complain(
            "an end that is two pipes, where one descriptor is passed",
        )));
    }
    serialize_fd(
        PassedFd::End(end.try_clone().map_err(|error| S::Error::custom(complain(error)))?),
        serializer,
    )
}

macro_rules! ends {
    ($($name:ident)*) => {
        $(
            /// The receiver gets another handle of this end; ours closes when it is dropped. Settings of the handle
            /// stay here.
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serialize_end(self.as_end(), serializer)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let fd = deserialize_fd(deserializer)?;
                    let end = Self::try_from(fd)
                        .map_err(|error: ConvertError| D::Error::custom(complain(error)))?;
                    end.as_end().wait_from_now_on();
                    Ok(end)
                }
            }
        )*
    };
}

ends!(Stream SeqPacket Datagram);

/// The receiver gets another handle of this end; ours closes when it is dropped. Refused while something was received
/// that nobody has taken yet, a message has been begun, or a request has no answer yet.
impl Serialize for RawChannel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_core(self.core(), serializer)
    }
}

fn serialize_core<S: Serializer>(core: &Core, serializer: S) -> Result<S::Ok, S::Error> {
    if !core.is_untouched() {
        return Err(S::Error::custom(complain(
            "a channel in use: with a message begun, or received and not taken yet, or a request without an answer",
        )));
    }
    serialize_end(core.end(), serializer)
}

impl<'de> Deserialize<'de> for RawChannel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fd = deserialize_fd(deserializer)?;
        let channel = Self::try_from(fd).map_err(|error| D::Error::custom(complain(error)))?;
        channel.core().end().wait_from_now_on();
        Ok(channel)
    }
}

/// As [`RawChannel`]'s.
impl<A, B> Serialize for Channel<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_core(self.core(), serializer)
    }
}

impl<'de, A, B> Deserialize<'de> for Channel<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawChannel::deserialize(deserializer).map(Self::from)
    }
}

/// As bytes: length and contents, never one by one.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_shared() && self.len() >= WORTH_SHARING {
            passing::announce(self);
        }
        serializer.serialize_bytes(self)
    }
}

/// From 4 KiB on, what was received in a message is not copied: the bytes are a part of it, and keep it.
impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(ForBytes)
    }
}

struct ForBytes;

impl<'de> Visitor<'de> for ForBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
        let shared = if bytes.len() >= WORTH_SHARING { passing::part(bytes) } else { None };
        Ok(shared.unwrap_or_else(|| Bytes::from(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::from(bytes))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes::from(bytes))
    }

    /// Of formats that know no bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes::from(bytes))
    }
}
