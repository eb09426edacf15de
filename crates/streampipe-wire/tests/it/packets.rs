//! A packet is one frame, and nothing before or behind it.

use streampipe_wire::{HEADER_LEN, Header, Malformed, parse_packet};

use crate::samples;

#[test]
fn a_packet_is_exactly_as_long_as_its_header_says() {
    for sample in samples::all() {
        for frame in &sample.frames {
            let packet = &sample.wire[frame.clone()];
            let (header, payload) = parse_packet(packet).expect("a whole frame");
            assert_eq!(header.to_bytes(), packet[..HEADER_LEN]);
            assert_eq!(payload, &packet[HEADER_LEN..]);

            let claimed = packet.len() as u64;
            let short = Malformed::Length { claimed, packet: claimed - 1 };
            assert_eq!(parse_packet(&packet[..packet.len() - 1]), Err(short), "{}", sample.name);
            let long = Malformed::Length { claimed, packet: claimed + 1 };
            assert_eq!(parse_packet(&[packet, &[0]].concat()), Err(long), "{}", sample.name);
        }
    }
}

#[test]
fn a_packet_shorter_than_a_header_is_malformed() {
    for len in 0..HEADER_LEN {
        let short = Malformed::Length { claimed: HEADER_LEN as u64, packet: len as u64 };
        assert_eq!(parse_packet(&[0; HEADER_LEN][..len]), Err(short));
    }
}

#[test]
fn a_packet_whose_header_is_wrong_is_malformed_as_the_header_is() {
    for sample in samples::all() {
        let mut packet = sample.wire[sample.frames[0].clone()].to_vec();
        for at in 0..HEADER_LEN {
            let byte = packet[at];
            packet[at] = 0xff;
            let bytes = *packet.first_chunk().expect("a header");
            match (parse_packet(&packet), Header::parse(bytes)) {
                (Ok((header, _)), Ok(same)) => assert_eq!(header, same),
                (Err(Malformed::Length { claimed, packet: len }), Ok(header)) => {
                    assert_eq!((claimed, len), (header.frame_len(), packet.len() as u64));
                    assert_ne!(claimed, len);
                }
                (packet, header) => assert_eq!(packet.err(), header.err(), "{}", sample.name),
            }
            packet[at] = byte;
        }
    }
}
