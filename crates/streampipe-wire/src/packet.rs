use crate::{HEADER_LEN, Header, Malformed};

/// Reads a packet, which is exactly one frame; returns its header and its payload.
///
/// # Errors
///
/// [`Malformed`] for anything else.
///
/// # Examples
///
/// ```
/// use streampipe_wire::{Header, Kind, parse_packet};
///
/// let header = Header { length: 2, ..Header::new(Kind::Message, 0) };
/// let packet = [&header.to_bytes()[..], b"hi"].concat();
/// assert_eq!(parse_packet(&packet), Ok((header, &b"hi"[..])));
/// assert!(parse_packet(&packet[..33]).is_err());
/// ```
pub fn parse_packet(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let len = packet.len() as u64;
    let Some((header, payload)) = packet.split_first_chunk::<HEADER_LEN>() else {
        return Err(Malformed::Length { claimed: HEADER_LEN as u64, packet: len });
    };
    let header = Header::parse(*header)?;
    if header.frame_len() != len {
        return Err(Malformed::Length { claimed: header.frame_len(), packet: len });
    }
    Ok((header, payload))
}
