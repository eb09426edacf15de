//! Values over a channel's core: encoded, sent, received, decoded.

use std::os::fd::AsFd;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streampipe_wire::Kind;

use super::encoding::{decode, encode};
use super::{CallError, Request, Responder};
use crate::end::Waiting;
use crate::message::{Arrived, Core, Outbound, Want};
use crate::{RecvError, SendReason};

pub(super) fn send<T: Serialize>(
    core: &Core,
    kind: Kind,
    id: u64,
    value: &T,
    waiting: Waiting,
) -> Result<(), SendReason> {
    let encoded = encode(value, core.take_buffer()).map_err(SendReason::Unencodable)?;
    let fds: Vec<_> = encoded.fds.iter().map(AsFd::as_fd).collect();
    let sent =
        encoded.with_parts(|parts| core.send(&Outbound { kind, id, parts, fds: &fds }, waiting));
    core.give_buffer(encoded.into_buffer());
    sent
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

pub(super) fn read<T: DeserializeOwned>(arrived: Arrived) -> Result<T, RecvError> {
    decode(arrived).map_err(RecvError::Undecodable)
}

/// Reads a request. Of one that is none, the caller is told that there is no answer.
pub(super) fn request<A: Serialize, B: DeserializeOwned>(
    core: &Arc<Core>,
    arrived: Arrived,
) -> Result<Request<A, B>, RecvError> {
    let responder = Responder::new(core, arrived.id);
    read(arrived).map(|value| Request::new(value, responder))
}

pub(super) fn answer<T, B: DeserializeOwned>(arrived: Arrived) -> Result<B, CallError<T>> {
    match arrived.kind {
        Kind::NoAnswer => Err(CallError::NoAnswer),
        _ => read(arrived).map_err(CallError::NotReceived),
    }
}
