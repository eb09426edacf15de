//! A header's bytes, written out by hand.

use streampipe_wire::{HEADER_LEN, Header, Kind, MAGIC, MAX_FDS, MAX_PAYLOAD, Malformed, VERSION};

use crate::oracle::{self, End};

const KINDS: [Kind; 5] =
    [Kind::Message, Kind::Request, Kind::Answer, Kind::NoAnswer, Kind::Withdrawal];

/// The header that the others are made from.
const PLAIN: Header = Header::new(Kind::Message, 0);

const PLAIN_BYTES: [u8; 32] = [
    0x53, 0x50, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The plain header's bytes, with these from there on.
fn with(at: usize, bytes: &[u8]) -> [u8; 32] {
    let mut golden = PLAIN_BYTES;
    golden[at..at + bytes.len()].copy_from_slice(bytes);
    golden
}

fn counts(header: &Header) -> Malformed {
    let Header { length, fds, rest, rest_fds, .. } = *header;
    Malformed::Counts { length, fds, rest, rest_fds }
}

#[track_caller]
fn refuses(header: Header) {
    assert_eq!(Header::parse(header.to_bytes()), Err(counts(&header)), "{header:?}");
}

#[track_caller]
fn accepts(header: Header) {
    assert_eq!(Header::parse(header.to_bytes()), Ok(header));
}

#[test]
fn the_numbers_of_the_protocol_are_these() {
    assert_eq!((HEADER_LEN, MAGIC, VERSION), (32, [0x53, 0x50], 1));
    assert_eq!((MAX_FDS, MAX_PAYLOAD), (253, 73_728));
}

#[test]
fn a_header_with_something_in_every_field_has_these_bytes() {
    let header = Header {
        kind: Kind::Answer,
        fds: 0xfd,
        length: 0x0001_1fe0,
        rest_fds: 0x1234_5678,
        rest: 0x0123_4567_89ab_cdef,
        id: 0xfedc_ba98_7654_3210,
    };
    let bytes = [
        0x53, 0x50, 0x01, 0x03, 0x00, 0x00, 0xfd, 0x00, //
        0xe0, 0x1f, 0x01, 0x00, 0x78, 0x56, 0x34, 0x12, //
        0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, //
        0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
    ];
    assert_eq!(header.to_bytes(), bytes);
    assert_eq!(Header::parse(bytes), Ok(header));
    assert_eq!(header.frame_len(), 32 + 0x0001_1fe0);
}

#[test]
fn each_byte_of_each_field_is_where_it_belongs() {
    let mut fields = Vec::new();
    for place in 0..8 {
        let byte = 1_u64 << (8 * place);
        if place < 2 {
            fields.push((6 + place, Header { fds: byte as u16, ..PLAIN }));
        }
        if place < 4 {
            fields.push((8 + place, Header { length: byte as u32, ..PLAIN }));
            fields.push((12 + place, Header { rest_fds: byte as u32, ..PLAIN }));
        }
        fields.push((16 + place, Header { rest: byte, ..PLAIN }));
        fields.push((24 + place, Header { id: byte, ..PLAIN }));
    }
    assert_eq!(fields.len(), 26);
    for (at, header) in fields {
        assert_eq!(header.to_bytes(), with(at, &[1]), "{header:?}");
        let is_too_much = header.fds > 253 || header.length > 73_728;
        let expected = if is_too_much { Err(counts(&header)) } else { Ok(header) };
        assert_eq!(Header::parse(with(at, &[1])), expected, "byte {at}");
    }
}

#[test]
fn only_five_kinds_and_no_flags_are_known() {
    for (byte, kind) in (1..).zip(KINDS) {
        let header = Header { kind, ..PLAIN };
        assert_eq!(
            (header.to_bytes(), Header::parse(with(3, &[byte]))),
            (with(3, &[byte]), Ok(header))
        );
    }
    for kind in (0..=255).filter(|it| !(1..=5).contains(it)) {
        let expected = Malformed::Unknown { kind, flags: 0 };
        assert_eq!(Header::parse(with(3, &[kind])), Err(expected));
    }
    for kind in 1..=5 {
        for flags in 1..=u16::MAX {
            let [low, high] = flags.to_le_bytes();
            let expected = Malformed::Unknown { kind, flags };
            assert_eq!(Header::parse(with(3, &[kind, low, high])), Err(expected));
        }
    }
}

#[test]
fn another_beginning_is_another_protocol() {
    for (at, right) in [0x53, 0x50, 1].into_iter().enumerate() {
        for byte in (0..=255).filter(|&it| it != right) {
            let bytes = with(at, &[byte]);
            let found = [bytes[0], bytes[1], bytes[2]];
            assert_eq!(Header::parse(bytes), Err(Malformed::Magic { found }));
        }
    }
}

#[test]
fn a_frame_has_its_limits_and_its_sums_do_not_overflow() {
    let (length, fds) = (MAX_PAYLOAD, MAX_FDS);
    let rest = u64::MAX - u64::from(length);
    let rest_fds = u32::MAX - u32::from(fds);
    let full = Header { length, fds, rest, rest_fds, ..PLAIN };
    accepts(full);
    refuses(Header { length: length + 1, rest: 0, ..full });
    refuses(Header { fds: fds + 1, rest_fds: 0, ..full });
    refuses(Header { rest: rest + 1, ..full });
    refuses(Header { rest_fds: rest_fds + 1, ..full });
    accepts(Header { rest: u64::MAX, rest_fds: u32::MAX, ..PLAIN });
    refuses(Header { rest: u64::MAX, length: 1, ..PLAIN });
    refuses(Header { rest_fds: u32::MAX, fds: 1, ..PLAIN });
}

#[test]
fn a_withdrawal_says_nothing_else() {
    let withdrawal = Header { kind: Kind::Withdrawal, id: 3, ..PLAIN };
    accepts(withdrawal);
    refuses(Header { length: 1, ..withdrawal });
    refuses(Header { fds: 1, ..withdrawal });
    refuses(Header { rest: 1, ..withdrawal });
    refuses(Header { rest_fds: 1, ..withdrawal });
}

#[test]
fn every_combination_at_the_limits_is_judged_as_the_rules_say() {
    let (mut frames, mut legal) = (Vec::new(), 0);
    for round in 0..5 * 6 * 6 * 6 * 6 {
        let header = combination(round);
        let bytes = header.to_bytes();
        // The oracle also knows which headers may come first; that is not asked here.
        let expected = match oracle::decode(&bytes, &mut frames) {
            End::Malformed(malformed @ Malformed::Counts { .. }) => Err(malformed),
            _ => Ok(header),
        };
        assert_eq!(Header::parse(bytes), expected);
        legal += usize::from(expected.is_ok());
    }
    assert!(legal > 500, "{legal} were legal");
}

fn combination(mut round: usize) -> Header {
    let mut pick = |choices: usize| {
        let picked = round % choices;
        round /= choices;
        picked
    };
    let rest = u64::MAX - u64::from(MAX_PAYLOAD);
    Header {
        kind: KINDS[pick(5)],
        length: [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 1 << 31, u32::MAX][pick(6)],
        fds: [0, 1, MAX_FDS, MAX_FDS + 1, 1 << 15, u16::MAX][pick(6)],
        rest: [0, 1, rest, rest + 1, u64::MAX - 1, u64::MAX][pick(6)],
        rest_fds: [0, 1, u32::MAX - 253, u32::MAX - 252, u32::MAX - 1, u32::MAX][pick(6)],
        id: 5,
    }
}

#[test]
fn more_must_follow_while_there_is_a_rest() {
    for (header, has_more) in [
        (PLAIN, false),
        (Header { length: 5, ..PLAIN }, false),
        (Header { rest: 1, ..PLAIN }, true),
        (Header { rest_fds: 1, ..PLAIN }, true),
        (Header { fds: 5, ..PLAIN }, false),
        (Header { rest: 1, rest_fds: 1, ..PLAIN }, true),
    ] {
        assert_eq!(header.has_more(), has_more, "{header:?}");
    }
}
