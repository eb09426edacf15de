//! The examples of `doc/PROTOCOL.md` are true.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use streampipe::{RawChannel, RecvError};
use streampipe_wire::{Decoder, Event, Frames, Header, Kind, Place, Totals};

use super::{borrowed, files, number_in};
use crate::engines::{pair, tests_of_engines};

/// The bytes of each block of the document that is marked as frames.
fn examples() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../doc/PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let blocks = text.split("\n```frames\n").skip(1);
    blocks
        .map(|block| {
            let (lines, _) = block.split_once("\n```\n").expect("a block has an end");
            let codes = lines.lines().filter_map(|line| line.split(';').next());
            let bytes = codes.flat_map(str::split_whitespace);
            bytes.map(|it| u8::from_str_radix(it, 16).expect("two digits")).collect()
        })
        .collect()
}

/// What the encoder makes of a message.
fn encoded(kind: Kind, id: u64, payload: &[u8], fds: u32) -> Vec<u8> {
    let totals = Totals { bytes: payload.len() as u64, fds };
    let frames = Frames::new(kind, id, totals);
    frames.flat_map(|it| [&it.header.to_bytes()[..], &payload[it.bytes]].concat()).collect()
}

/// The headers and the payload that the decoder finds.
fn decoded(mut bytes: &[u8]) -> (Vec<(Header, Place)>, Vec<u8>) {
    let (mut decoder, mut headers, mut payload) = (Decoder::new(), Vec::new(), Vec::new());
    while let Some(event) = decoder.next(&mut bytes).expect("frames in order") {
        match event {
            Event::Header(header, place) => headers.push((header, place)),
            Event::Payload(part) => payload.extend(part),
        }
    }
    decoder.finish().expect("whole messages");
    (headers, payload)
}

#[test]
fn the_examples_of_the_document_are_what_is_sent() {
    let examples = examples();
    assert_eq!(examples.len(), 4);
    assert_eq!(examples[0], encoded(Kind::Message, 0, b"hi", 0));
    assert_eq!(examples[1], encoded(Kind::Request, 1, b"open", 2));

    let (headers, payload) = decoded(&examples[2]);
    assert_eq!(payload, b"opened");
    assert!(headers.iter().all(|(header, _)| (header.kind, header.id) == (Kind::Answer, 1)));
    assert_eq!(headers.iter().map(|it| it.1).collect::<Vec<_>>(), [Place::First, Place::Next]);

    let (headers, payload) = decoded(&examples[3]);
    assert_eq!(payload, b"nev");
    assert_eq!((headers[0].0.rest, headers[0].0.rest_fds), (4, 1));
    assert_eq!(headers[1], (Header::new(Kind::Withdrawal, 0), Place::Withdrawn));
}

tests_of_engines! {
    fn what_the_document_shows_is_received_and_sent() {
        let examples = examples();
        let (mut bytes, theirs) = pair().expect("a pair");
        let channel = RawChannel::from(theirs);
        for at in [3, 0] {
            bytes.write_all(&examples[at]).expect("room for it");
        }
        assert_eq!(channel.recv().expect("a message").bytes, b"hi");
        assert!(matches!(channel.try_recv(), Err(RecvError::Empty)));

        channel.send(b"hi", &[]).expect("room for it");
        let mut sent = vec![0; examples[0].len()];
        bytes.read_exact(&mut sent).expect("what was sent");
        assert_eq!(sent, examples[0]);
    }

    fn descriptors_come_with_the_first_byte_of_their_frame() {
        // The request of the document as a message that is not one, with descriptors where it says.
        let mut example = examples().swap_remove(1);
        let frames = example.split_off(36);
        let as_message = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[3] = 1;
            bytes
        };
        let (bytes, theirs) = pair().expect("a pair");
        let channel = RawChannel::from(theirs);
        let fds = files(2, 0);
        bytes.send_fds(&as_message(&example), &[]).expect("room for it");
        bytes.send_fds(&as_message(&frames), &borrowed(&fds)).expect("room for it");
        let message = channel.recv().expect("a message");
        assert_eq!(message.bytes, b"open");
        assert_eq!(message.fds.into_iter().map(number_in).collect::<Vec<_>>(), [0, 1]);

        channel.send(b"open", &[fds[0].as_fd(), fds[1].as_fd()]).expect("room for it");
        let mut sent = [0; 68];
        let (len, came) = bytes.recv_fds(&mut sent[..36]).expect("the first frame");
        assert_eq!((len, came.len()), (36, 0));
        let (len, came) = bytes.recv_fds(&mut sent[36..]).expect("the second frame");
        assert_eq!((len, came.len()), (32, 2));
        assert_eq!((&sent[..3], &sent[36..39]), (&example[..3], &frames[..3]));
        assert_eq!((&sent[4..24], &sent[40..60]), (&example[4..24], &frames[4..24]));
    }
}
