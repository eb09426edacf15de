//! Whole messages, cut short, cut in two, and with one bit turned over.

use streampipe_wire::{Decoder, Event, HEADER_LEN, Header, Kind, Malformed, Torn, Want};

use crate::oracle::{self, End};
use crate::samples::{self, Sample};

/// Gives the decoder bytes in one piece; returns its error, if any.
fn feed(decoder: &mut Decoder, mut input: &[u8]) -> Result<(), Malformed> {
    while decoder.next(&mut input)?.is_some() {}
    Ok(())
}

/// What `finish` must say behind so many bytes: counted from the places of the frames alone.
fn torn_at(sample: &Sample, at: usize) -> Result<(), Torn> {
    if at == 0 || at == sample.wire.len() {
        return Ok(());
    }
    let frame = sample.frames.iter().find(|it| it.contains(&at)).expect("inside of a frame");
    let have = at - frame.start;
    // Only a whole header says how long its frame is.
    let need = if have < HEADER_LEN { HEADER_LEN } else { frame.len() };
    Err(Torn { have: have as u64, need: need as u64 })
}

#[test]
fn a_message_cut_short_is_torn_and_says_where() {
    for sample in samples::all() {
        for at in sample.places() {
            let mut decoder = Decoder::new();
            assert_eq!(feed(&mut decoder, &sample.wire[..at]), Ok(()), "{}", sample.name);
            assert_eq!(decoder.finish(), torn_at(&sample, at), "{} at {at}", sample.name);
            // It was incomplete and no more: with the rest it is the message.
            assert_eq!(feed(&mut decoder, &sample.wire[at..]), Ok(()), "{}", sample.name);
            assert_eq!(decoder.finish(), Ok(()), "{}", sample.name);
        }
    }
}

#[test]
fn a_message_that_comes_byte_by_byte_is_torn_until_its_end() {
    for sample in samples::all() {
        let mut decoder = Decoder::new();
        for (at, byte) in sample.wire.iter().enumerate() {
            assert_eq!(decoder.finish(), torn_at(&sample, at), "{} at {at}", sample.name);
            assert_eq!(feed(&mut decoder, &[*byte]), Ok(()), "{}", sample.name);
        }
        assert_eq!(decoder.finish(), Ok(()), "{}", sample.name);
    }
}

#[test]
fn a_message_cut_in_two_says_the_same() {
    let mut frames = Vec::new();
    for sample in samples::all() {
        let end = oracle::decode(&sample.wire, &mut frames);
        assert_eq!((end, frames.len()), (End::Clean, sample.frames.len()), "{}", sample.name);
        for at in 1..sample.wire.len() {
            let mut pieces = [at, sample.wire.len()].into_iter();
            let next_piece = || pieces.next().expect("two are enough");
            oracle::compare(&sample.wire, &frames, end, next_piece);
        }
    }
}

#[test]
fn no_bit_of_a_header_can_be_turned_to_break_a_rule() {
    let mut frames = Vec::new();
    let (mut refused, mut accepted) = (0, 0);
    for mut sample in samples::all() {
        for start in sample.frames.iter().map(|it| it.start) {
            for bit in 0..8 * HEADER_LEN {
                let (at, mask) = (start + bit / 8, 1 << (bit % 8));
                sample.wire[at] ^= mask;
                let end = oracle::decode(&sample.wire, &mut frames);
                for piece in [sample.wire.len(), 20_011] {
                    oracle::compare(&sample.wire, &frames, end, || piece);
                }
                match end {
                    End::Malformed(_) => refused += 1,
                    _ => accepted += 1,
                }
                sample.wire[at] ^= mask;
            }
        }
    }
    assert!(refused > 10_000 && accepted > 500, "{refused} were refused, {accepted} were not");
}

/// Reads what the decoder wants, and part of each payload past it; returns how many bytes went past.
fn read_past(sample: &Sample, part: impl Fn(u32) -> u32) -> usize {
    let (mut decoder, mut frames, mut at, mut past) = (Decoder::new(), Vec::new(), 0, 0);
    oracle::decode(&sample.wire, &mut frames);
    let mut expected = frames.iter().map(|it| (it.header, it.place));
    while at < sample.wire.len() {
        let wanted = match decoder.want() {
            Want::Header(bytes) => bytes,
            Want::Payload(bytes) => {
                let skipped = part(bytes);
                decoder.skip_payload(skipped);
                past += skipped as usize;
                at += skipped as usize;
                assert_eq!(decoder.finish(), torn_at(sample, at), "{} at {at}", sample.name);
                (bytes - skipped) as usize
            }
        };
        let mut input = &sample.wire[at..at + wanted];
        at += wanted;
        while let Some(event) = decoder.next(&mut input).expect("a whole message") {
            match event {
                Event::Header(header, place) => assert_eq!(expected.next(), Some((header, place))),
                Event::Payload(payload) => assert_eq!(payload.len(), wanted),
            }
        }
    }
    assert_eq!((decoder.finish(), expected.next()), (Ok(()), None), "{}", sample.name);
    past
}

#[test]
fn payload_that_is_received_elsewhere_counts_as_if_it_had_come() {
    for sample in samples::all() {
        let payload: usize = sample.frames.iter().map(|it| it.len() - HEADER_LEN).sum();
        assert_eq!(read_past(&sample, |left| left), payload, "{}", sample.name);
        assert_eq!(read_past(&sample, |_| 0), 0, "{}", sample.name);
        read_past(&sample, |left| left / 2);
    }
}

#[test]
fn no_more_payload_can_be_received_elsewhere_than_was_wanted() {
    let header = Header { length: 5, ..Header::new(Kind::Message, 0) };
    let mut decoder = Decoder::new();
    decoder.skip_payload(7);
    assert_eq!((decoder.want(), decoder.is_inside()), (Want::Header(HEADER_LEN), false));
    assert_eq!(feed(&mut decoder, &header.to_bytes()), Ok(()));
    assert_eq!(feed(&mut decoder, b"12"), Ok(()));
    assert_eq!(decoder.want(), Want::Payload(3));
    decoder.skip_payload(u32::MAX);
    assert_eq!((decoder.want(), decoder.finish()), (Want::Header(HEADER_LEN), Ok(())));
}
