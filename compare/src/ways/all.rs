//! All ways there are.

use super::{
    Way, ipc_channel, packets, python, seqpacket, std_stream, streampipe, tokio_stream,
    tokio_unix_ipc,
};

/// All ways, in the order of the tables.
pub const ALL: &[&dyn Way] = &[
    &std_stream::POSTCARD,
    &std_stream::RAW,
    &packets::Packets,
    &streampipe::TYPED,
    &streampipe::TYPED_STREAM,
    &streampipe::TYPED_BUSY,
    &streampipe::RAW,
    &streampipe::RAW_STREAM,
    &ipc_channel::TYPED,
    &ipc_channel::SERDE_BYTES,
    &ipc_channel::IpcBytes,
    &seqpacket::SeqPacketJson,
    &tokio_stream::TokioStream,
    &streampipe::TokioTyped,
    &streampipe::TokioRaw,
    &tokio_unix_ipc::TokioUnixIpc,
    &python::OBJECTS,
    &python::BYTES,
];

/// What the ratios of all are to: a stream, a length, postcard, by hand.
pub const BASE: &str = "std-postcard";

/// The way of this name.
pub fn named(name: &str) -> Option<&'static dyn Way> {
    ALL.iter().copied().find(|way| way.name() == name)
}
