//! Values over a channel's core: encoded, sent, received, decoded.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe_wire::Kind;

use super::encoding::{Encoded, decode, encode};
use super::{Request, Responder};
use crate::end::Waiting;
use crate::message::{Arrived, Core, Outbound, Want};
use crate::{CallError, RecvError, SendReason};

pub(super) fn send<T: Serialize>(
    core: &Core,
    kind: Kind,
    id: u64,
    value: &T,
    waiting: Waiting,
) -> Result<(), SendReason> {
    let encoded = pack(core, value)?;
    let fds = encoded.fds();
    let sent = encoded.with_parts(|parts| {
        let message = Outbound { kind, id, parts, fds };
        match kind {
            Kind::Request => core.send_request(&message, waiting),
            _ => core.send(&message, waiting),
        }
    });
    core.give_buffer(encoded.into_buffer());
    sent
}

/// Encodes a value into a buffer of the channel's.
pub(crate) fn pack<T: Serialize>(core: &Core, value: &T) -> Result<Encoded, SendReason> {
    encode(value, core.take_buffer()).map_err(SendReason::Unencodable)
}

pub(super) fn receive<T: DeserializeOwned>(
    core: &Core,
    want: Want,
    waiting: Waiting,
) -> Result<(u64, T), RecvError> {
    let arrived = core.receive(want, waiting)?;
    let id = arrived.id;
    read(arrived).map(|value| (id, value))
}

pub(crate) fn read<T: DeserializeOwned>(arrived: Arrived) -> Result<T, RecvError> {
    decode(arrived).map_err(RecvError::Undecodable)
}

/// Reads a request. Of one that is none, the caller is told that there is no answer.
pub(crate) fn request<A: Serialize, B: DeserializeOwned>(
    core: &Arc<Core>,
    arrived: Arrived,
) -> Result<Request<A, B>, RecvError> {
    let responder = Responder::new(core, arrived.id);
    read(arrived).map(|value| Request::new(value, responder))
}

pub(crate) fn answer<T, B: DeserializeOwned>(arrived: Arrived) -> Result<B, CallError<T>> {
    match arrived.kind {
        Kind::NoAnswer => Err(CallError::NoAnswer),
        _ => read(arrived).map_err(CallError::NotReceived),
    }
}
