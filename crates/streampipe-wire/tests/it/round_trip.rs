use streampipe_wire::{Decoder, Event, Frames, Kind, MAX_FDS, MAX_PAYLOAD, Place, Totals};

/// A message as bytes, with each frame's descriptors in order beside them.
fn encode(payload: &[u8], fds: u32) -> (Vec<u8>, Vec<usize>) {
    let totals = Totals { bytes: payload.len() as u64, fds };
    let (mut wire, mut passed) = (Vec::new(), Vec::new());
    for frame in Frames::new(Kind::Message, 9, totals) {
        wire.extend(frame.header.to_bytes());
        wire.extend(&payload[frame.bytes]);
        passed.extend(frame.fds);
    }
    (wire, passed)
}

#[test]
fn a_message_of_any_size_comes_back_wherever_its_bytes_are_cut() {
    let most = MAX_PAYLOAD as usize;
    for len in [0, 1, 31, 64, most - 1, most, most + 1, 3 * most, 3 * most + 7] {
        for fds in [0, 1, 253, 254, 1000] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let (wire, passed) = encode(&payload, fds);
            assert_eq!(passed, (0..fds as usize).collect::<Vec<_>>());
            for piece in [1, 7, 32, 33, 4096, wire.len()] {
                let (mut decoder, mut heard, mut came) = (Decoder::new(), Vec::<u8>::new(), 0);
                let mut headers = 0;
                for mut input in wire.chunks(piece) {
                    loop {
                        let due = decoder.fds_due();
                        match decoder.next(&mut input).expect("what was encoded") {
                            None => break,
                            Some(Event::Payload(bytes)) => heard.extend(bytes),
                            Some(Event::Header(header, place)) => {
                                assert_eq!(header.fds, due);
                                assert_eq!(place == Place::First, headers == 0);
                                headers += 1;
                                came += u32::from(header.fds);
                            }
                        }
                    }
                }
                assert!(decoder.finish().is_ok());
                assert_eq!((heard == payload, came), (true, fds), "{len} bytes in {piece}s");
            }
        }
    }
}

#[test]
fn descriptors_come_in_full_frames() {
    let frames: Vec<_> = Frames::new(Kind::Message, 0, Totals { bytes: 5, fds: 600 })
        .map(|it| it.header.fds)
        .collect();
    assert_eq!(frames, [0, MAX_FDS, MAX_FDS, 94]);
}
