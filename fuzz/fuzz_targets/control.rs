//! Arbitrary control bytes keep to the rules in the header of `streampipe_sys::cmsg`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streampipe_sys::cmsg::{ControlMessage, ControlMessages, Extent, HEADER, extent};

const WORD: usize = size_of::<usize>();

fuzz_target!(|control: &[u8]| {
    let mut messages = ControlMessages::new(control);
    let mut at = 0;
    // Each has a header of its own, so that there are not more of them than would fit.
    for _ in 0..=control.len() / HEADER {
        let bytes = &control[at..];
        match (messages.next(), claim(bytes)) {
            (Some(message), Some(claimed)) => {
                check_message(&message, bytes, claimed);
                at += check_extent(extent(bytes).expect("there is a message"), bytes, claimed);
            }
            (None, None) => {
                assert_eq!((extent(bytes), messages.next()), (None, None));
                return;
            }
            (found, claimed) => panic!("{found:?} at {at}, where {claimed:?} bytes are claimed"),
        }
    }
    panic!("more messages than headers");
});

/// What the header says, if there is a whole one, and if that is not too little.
fn claim(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER)?;
    let claimed = usize::from_ne_bytes(header[..WORD].try_into().expect("a word"));
    (claimed >= HEADER).then_some(claimed)
}

/// The data are the bytes behind the header: not a copy, none outside, none missing.
fn check_message(message: &ControlMessage<'_>, bytes: &[u8], claimed: usize) {
    let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((message.level, message.kind), (int(WORD), int(WORD + 4)));
    assert_eq!(message.complete, claimed <= bytes.len());
    let data = &bytes[HEADER..claimed.min(bytes.len())];
    assert_eq!(message.data.as_ptr_range(), data.as_ptr_range());
    let whole = (0..data.len() / 4).map(|number| int(HEADER + 4 * number));
    assert!(message.numbers().eq(whole.filter(|&it| it >= 0)), "{message:?}");
}

/// Returns how far it is to the next header: always some way, and never beyond the end.
fn check_extent(extent: Extent, bytes: &[u8], claimed: usize) -> usize {
    let Extent { there, next, .. } = extent;
    assert_eq!((extent.claimed, there), (claimed, claimed.min(bytes.len())));
    assert!(next >= there && next - there < WORD && next <= bytes.len(), "{extent:?}");
    assert!(next % WORD == 0 || next == bytes.len(), "{extent:?}");
    next
}
