//! A note's bytes, written out by hand, and what is none.

use streampipe_wire::{BadNote, MAX_FDS, NOTE_LEN, Note, NumberedNote};

/// A note of each kind, and its bytes.
const GOLDEN: [(Note, [u8; 16]); 4] = [
    (Note::Bell, [b'R', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (
        Note::Fds { count: 253, at: 0x0123_4567_89ab_cdef },
        [b'R', 1, 1, 253, 0, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01],
    ),
    (Note::Hello, [b'R', 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (Note::Memory { capacity: 0x10_0000 }, [b'R', 1, 3, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0]),
];

/// What the bytes are by the protocol's words, one rule after the other.
fn by_the_rules(bytes: [u8; NOTE_LEN]) -> Option<Note> {
    let number = (8..16).rev().fold(0, |number, at| number << 8 | u64::from(bytes[at]));
    let is_note = bytes[0] == b'R' && bytes[1] == 1 && bytes[4..8] == [0; 4];
    match (is_note, bytes[2], bytes[3], number) {
        (true, 0, 0, 0) => Some(Note::Bell),
        (true, 1, count @ 1..=253, at) => Some(Note::Fds { count, at }),
        (true, 2, 0, 0) => Some(Note::Hello),
        (true, 3, 0, capacity) => Some(Note::Memory { capacity }),
        _ => None,
    }
}

/// Reads bytes, and sees that they are a note exactly if they are one by the rules, and the only bytes for it.
#[track_caller]
fn judge(bytes: [u8; NOTE_LEN]) -> bool {
    let note = Note::from_bytes(bytes);
    assert_eq!(note, by_the_rules(bytes).ok_or(BadNote { bytes }));
    if let Ok(note) = note {
        assert_eq!(note.to_bytes(), bytes, "{note:?}");
    }
    note.is_ok()
}

#[test]
fn the_numbers_of_a_note_are_these() {
    assert_eq!((NOTE_LEN, MAX_FDS), (16, 253));
}

#[test]
fn a_note_of_each_kind_has_these_bytes() {
    for (note, bytes) in GOLDEN {
        assert_eq!(note.to_bytes(), bytes, "{note:?}");
        assert_eq!(Note::from_bytes(bytes), Ok(note));
    }
}

#[test]
fn a_note_with_one_byte_changed_is_another_note_or_none() {
    for (note, golden) in GOLDEN {
        let mut notes = 0;
        for at in 0..NOTE_LEN {
            for byte in (0..=u8::MAX).filter(|&byte| byte != golden[at]) {
                let mut bytes = golden;
                bytes[at] = byte;
                notes += usize::from(judge(bytes));
                assert_ne!(Note::from_bytes(bytes), Ok(note));
            }
        }
        // Other numbers, other counts, other kinds with the same number and count.
        let expected = match note {
            Note::Bell | Note::Hello => 2,
            Note::Fds { .. } => 8 * 255 + 252,
            _ => 8 * 255,
        };
        assert_eq!(notes, expected, "{note:?}");
    }
}

#[test]
fn every_kind_with_every_count_is_judged_as_the_rules_say() {
    for kind in 0..=u8::MAX {
        for count in 0..=u8::MAX {
            for number in [0, 1, 4096, u64::MAX] {
                let mut bytes = [b'R', 1, kind, count, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                bytes[8..].copy_from_slice(&number.to_le_bytes());
                judge(bytes);
            }
        }
    }
}

#[test]
fn random_bytes_are_a_note_only_if_they_are_one() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut notes = 0;
    for _ in 0..1_000_000 {
        let mut bytes = [0; NOTE_LEN];
        random.fill(&mut bytes);
        // Most begin as a note, or nobody would look at the rest.
        if random.u8(0..8) > 0 {
            bytes[..2].copy_from_slice(b"R\x01");
            bytes[2] %= 5;
            for at in [3, 4, 5, 6, 7] {
                bytes[at] *= random.u8(0..16) / 15;
            }
        }
        if random.bool() {
            bytes[8..].fill(0);
        }
        notes += u32::from(judge(bytes));
    }
    assert!((100_000..900_000).contains(&notes), "{notes} were notes");
}

#[test]
fn what_is_no_note_is_told_in_bytes() {
    let error = Note::from_bytes([0xab; NOTE_LEN]).unwrap_err();
    assert_eq!(error, BadNote { bytes: [0xab; NOTE_LEN] });
    let text = format!("what came over the lifeline is no note: [{}ab]", "ab, ".repeat(15));
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_number_is_two_bytes_of_a_note_with_descriptors() {
    let note = Note::Fds { count: 2, at: 0x11 };
    let golden = [b'R', 1, 1, 2, 0xcd, 0xab, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(note.numbered(0xabcd).to_bytes(), golden);
    for number in [0, 1, 0xabcd, u16::MAX] {
        let bytes = note.numbered(number).to_bytes();
        assert_eq!(NumberedNote::from_bytes(bytes), Ok(NumberedNote { note, number }));
        // Whoever knows no numbers sees none but 0.
        assert_eq!(Note::from_bytes(bytes).is_ok(), number == 0);
    }
}

#[test]
fn no_other_note_has_a_number() {
    for (note, golden) in GOLDEN {
        assert_eq!(NumberedNote::from_bytes(golden), Ok(note.numbered(0)));
        let may = matches!(note, Note::Fds { .. });
        for at in 4..8 {
            let mut bytes = golden;
            bytes[at] = 1;
            let read = NumberedNote::from_bytes(bytes);
            assert_eq!(read.is_ok(), may && at < 6, "{note:?}, byte {at}");
            match read {
                Ok(numbered) => assert_eq!(numbered.to_bytes(), bytes),
                Err(bad) => assert_eq!(bad, BadNote { bytes }),
            }
        }
    }
}
