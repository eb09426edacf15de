//! Arbitrary bytes, arbitrarily cut, say what the oracle of the tests says.
//!
//! The first byte says how many of the next ones are lengths of pieces, taken in turns; the rest is the input.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// The decoder that is plain and slow, and the comparison with it.
#[path = "../../crates/streampipe-wire/tests/it/oracle.rs"]
mod oracle;

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((lengths, wire)) = rest.split_at_checked(count.into()) else { return };
    let mut frames = Vec::new();
    let end = oracle::decode(wire, &mut frames);
    let mut turns = lengths.iter().cycle();
    oracle::compare(wire, &frames, end, || turns.next().map_or(wire.len(), |&it| it.into()));
});
