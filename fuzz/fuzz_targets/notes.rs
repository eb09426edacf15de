//! Arbitrary bytes as notes: what is read is what is written, bit for bit, and nothing else is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streampipe_wire::{MAX_FDS, NOTE_LEN, Note};

fuzz_target!(|data: &[u8]| {
    for bytes in data.chunks_exact(NOTE_LEN) {
        let bytes: [u8; NOTE_LEN] = bytes.try_into().expect("a chunk of that length");
        match Note::from_bytes(bytes) {
            Ok(note) => {
                assert_eq!(note.to_bytes(), bytes, "{note:?}: there are two ways to write it");
                if let Note::Fds { count, .. } = note {
                    assert!((1..=MAX_FDS).contains(&count.into()), "{note:?}");
                }
            }
            Err(bad) => {
                assert_eq!(bad.bytes, bytes);
                assert!(!looks_right(bytes), "{bad} is a note");
            }
        }
    }
});

/// Whether it is a note, said in another way.
fn looks_right(bytes: [u8; NOTE_LEN]) -> bool {
    let number = bytes[8..].iter().any(|&byte| byte != 0);
    let is_right = match (bytes[2], bytes[3]) {
        (0 | 2, 0) => !number,
        (1, count) => (1..=253).contains(&count),
        (3, 0) => true,
        _ => false,
    };
    is_right && bytes[..2] == *b"R\x01" && bytes[4..8] == [0; 4]
}
