//! Arbitrary bytes as notes: what is read is what is written, bit for bit, and nothing else is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streampipe_wire::{MAX_FDS, NOTE_LEN, Note, NumberedNote};

fuzz_target!(|data: &[u8]| {
    for bytes in data.chunks_exact(NOTE_LEN) {
        let bytes: [u8; NOTE_LEN] = bytes.try_into().expect("a chunk of that length");
        match NumberedNote::from_bytes(bytes) {
            Ok(numbered) => {
                assert_eq!(
                    numbered.to_bytes(),
                    bytes,
                    "{numbered:?}: there are two ways to write it"
                );
                match numbered.note {
                    Note::Fds { count, .. } => assert!((1..=MAX_FDS).contains(&count.into())),
                    _ => assert_eq!(numbered.number, 0, "{numbered:?}"),
                }
                let plain = Note::from_bytes(bytes).ok();
                assert_eq!(plain, (numbered.number == 0).then_some(numbered.note));
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
    let may_have_number = bytes[2] == 1 || bytes[4..6] == [0; 2];
    is_right && may_have_number && bytes[..2] == *b"R\x01" && bytes[6..8] == [0; 2]
}
