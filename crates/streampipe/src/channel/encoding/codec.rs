use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bounds::{BoundedDe, BoundedSer, Tally};
use super::passing::{
    PassedFd, Received, Sent, take_complaint, take_out, while_receiving, while_sending,
};
use super::undecodable::Undecodable;
use crate::Bytes;
use crate::message::{Arrived, FdSource, WORTH_SHARING};

/// A value as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    payloads: Vec<(usize, Bytes)>,
    fds: Vec<PassedFd>,
}

impl Encoded {
    /// Calls with the payload, in parts, and without allocating if they are few.
    pub(in crate::channel) fn with_parts<T>(&self, call: impl FnOnce(&[&[u8]]) -> T) -> T {
        match &self.payloads[..] {
            [] => call(&[&self.bytes]),
            [(at, payload)] => {
                let (before, after) = self.bytes.split_at(*at);
                call(&[before, payload.as_slice(), after])
            }
            _ => call(&self.parts()),
        }
    }

    /// The payload, in parts.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let (mut parts, mut from) = (Vec::with_capacity(2 * self.payloads.len() + 1), 0);
        for (at, payload) in &self.payloads {
            parts.push(&self.bytes[from..*at]);
            parts.push(payload.as_slice());
            from = *at;
        }
        parts.push(&self.bytes[from..]);
        parts
    }

    /// The descriptors.
    pub(crate) fn fds(&self) -> &dyn FdSource {
        &self.fds
    }

    /// The buffer, to be used again.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// Encodes a value into an empty buffer.
pub(in crate::channel) fn encode<T: Serialize>(
    value: &T,
    buffer: Vec<u8>,
) -> Result<Encoded, Undecodable> {
    let tally = Tally::default();
    let mut serializer = postcard::Serializer { output: Output { bytes: buffer } };
    let (done, sent) = while_sending(|| value.serialize(BoundedSer::new(&mut serializer, &tally)));
    let Sent { fds, payloads, .. } = sent;
    done.map_err(told)?;
    let bytes = serializer.output.bytes;
    let beside: u64 = payloads.iter().map(|(_, payload)| payload.len() as u64).sum();
    let len = bytes.len() as u64 + beside;
    if tally.is_beyond(len) {
        return Err(Undecodable::new("more parts without bytes than a value may have".to_owned()));
    }
    Ok(Encoded { bytes, payloads, fds })
}

/// Decodes a value that uses up all that has come.
pub(in crate::channel) fn decode<T: DeserializeOwned>(arrived: Arrived) -> Result<T, Undecodable> {
    let tally = Tally::default();
    let bytes =
        if arrived.bytes.len() < WORTH_SHARING { arrived.bytes } else { arrived.bytes.share() };
    let fds = arrived.fds.into_iter().map(Some).collect();
    let whole = if bytes.is_shared() { bytes.clone() } else { Bytes::default() };
    let (done, left) = while_receiving(Received { fds, whole }, || {
        let mut deserializer = postcard::Deserializer::from_bytes(&bytes);
        let bounded = BoundedDe::new::<T>(&mut deserializer, &tally, bytes.len());
        let value = T::deserialize(bounded);
        let value = value.map_err(told)?;
        match deserializer.finalize().map_err(told)? {
            [] => Ok(value),
            rest => Err(Undecodable::new(format!("{} bytes too many", rest.len()))),
        }
    });
    let value = done?;
    let unclaimed = left.fds.iter().flatten().count();
    if unclaimed > 0 {
        return Err(Undecodable::new(format!(
            "{unclaimed} descriptors that the value does not name"
        )));
    }
    Ok(value)
}

/// What our own part of the work had to say, or else what postcard has.
fn told(error: postcard::Error) -> Undecodable {
    Undecodable::new(take_complaint().unwrap_or_else(|| error.to_string()))
}

/// Where an encoding is written.
struct Output {
    bytes: Vec<u8>,
}

impl Flavor for Output {
    type Output = Vec<u8>;

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if data.len() < WORTH_SHARING || !take_out(self.bytes.len(), data) {
            self.bytes.extend_from_slice(data);
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.bytes.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.bytes)
    }
}
