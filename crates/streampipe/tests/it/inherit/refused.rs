use std::ffi::{OsStr, OsString};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use streampipe::os::linux::EndExt;
use streampipe::{NotInherited, Stream, inherited, pair};

use super::{VARIABLE, answer_of, answer_of_foreign, foreign_worker, worker};
use crate::support::tests_alone;

/// A pair whose first end has said all it will, so that who adopts the second does not wait.
pub(super) fn silent_pair() -> (Stream, Stream) {
    let (ours, theirs) = pair().expect("a pair");
    ours.shutdown(Shutdown::Write).expect("its peer is there");
    (ours, theirs)
}

/// What a child answers that finds this socket as its descriptor 3, and this in the variable.
pub(super) fn told(end: &Stream, value: &OsStr) -> String {
    // With its own end on its standard descriptors, the child gets no other variable.
    answer_of(worker("adopt").on_stdio().inherit(end.as_fd(), 3).env(VARIABLE, value))
}

/// One to three changes to the value, or noise.
fn garbled(random: &mut fastrand::Rng, good: &str) -> OsString {
    let mut bytes: Vec<u8> = good.into();
    if random.u8(0..4) == 0 {
        bytes = (0..random.usize(0..200)).map(|_| random.u8(1..)).collect();
    }
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..4) {
            0 => bytes.insert(at, random.u8(b'0'..=b':')),
            1 => bytes.insert(at, random.u8(1..)),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = random.u8(b'0'..=b':'),
            _ => bytes.truncate(at / 2),
        }
    }
    OsString::from_vec(bytes)
}

tests_alone! {
    fn a_process_that_nobody_prepared_anything_for_is_told_so() {
        assert_eq!(inherited().map(drop), Err(NotInherited::NoVariable));
        let told = answer_of_foreign(&mut foreign_worker("adopt"));
        assert_eq!(told, format!("{:?}", NotInherited::NoVariable));
    }

    fn a_malformed_variable_is_shown() {
        let (_ours, theirs) = silent_pair();
        let cookie = theirs.cookie().expect("a socket");
        let good = format!("1:3:stream:{cookie}");
        for value in [
            String::new(),
            "3".to_owned(),
            format!("2:3:stream:{cookie}"),
            format!("1:3:seqpacket:{cookie}"),
            format!("1:03:stream:{cookie}"),
            format!("1:-3:stream:{cookie}"),
            format!("1:4294967299:stream:{cookie}"),
            format!("{good}:"),
            format!(" {good}"),
            format!("{good}\\n"),
        ] {
            let expected = NotInherited::Malformed { value: value.clone() };
            assert_eq!(told(&theirs, OsStr::new(&value)), format!("{expected:?}"));
        }
        // The control: only the form was wrong.
        assert_eq!(told(&theirs, OsStr::new(&good)), "adopted as 3");
    }

    fn a_malformed_variable_is_shown_in_part_only() {
        let (_ours, theirs) = silent_pair();
        let long = "x".repeat(100_000);
        let expected = NotInherited::Malformed { value: "x".repeat(64) };
        assert_eq!(told(&theirs, OsStr::new(&long)), format!("{expected:?}"));
        let no_text = OsString::from_vec(vec![b'1', b':', 0xff]);
        let expected = NotInherited::Malformed { value: "1:\u{fffd}".to_owned() };
        assert_eq!(told(&theirs, &no_text), format!("{expected:?}"));
    }

    fn a_number_that_is_not_open_is_told_from_one_that_is_another_file() {
        let (ours, theirs) = silent_pair();
        let (own, other) = (theirs.cookie().expect("a socket"), ours.cookie().expect("a socket"));
        for (number, cookie, expected) in [
            (4, own, NotInherited::NotOpen { number: 4 }),
            (i32::MAX, own, NotInherited::NotOpen { number: i32::MAX }),
            (0, own, NotInherited::AnotherFile { number: 0 }),
            (2, own, NotInherited::AnotherFile { number: 2 }),
            (3, other, NotInherited::AnotherFile { number: 3 }),
            (3, own + 1, NotInherited::AnotherFile { number: 3 }),
            (3, 0, NotInherited::AnotherFile { number: 3 }),
        ] {
            let value = format!("1:{number}:stream:{cookie}");
            assert_eq!(told(&theirs, OsStr::new(&value)), format!("{expected:?}"), "{value}");
        }
    }

    /// The end is close-on-exec once it is adopted.
    fn a_grandchild_with_a_stale_variable_finds_nothing_under_the_number() {
        for number in [3, 17] {
            let told = answer_of(worker("start a foreign child").fd(number));
            assert_eq!(told, format!("{:?}", NotInherited::NotOpen { number }));
        }
    }

    fn a_grandchild_with_a_stale_variable_leaves_another_file_alone() {
        for what in [
            "a file",
            "a pipe",
            "a socket of the same type",
            "an end of another pair",
            "the other end of another pair",
            "a socket that listens",
            "packets",
            "datagrams",
        ] {
            let told = answer_of(worker(&format!("put in its place: {what}")).fd(6));
            let expected = NotInherited::AnotherFile { number: 6 };
            assert_eq!(told, format!("{expected:?}"), "{what}");
        }
    }

    /// The socket itself lies there: whatever else the variable says, it is not adopted by accident.
    fn no_garbled_variable_leads_to_the_end() {
        let mut random = fastrand::Rng::with_seed(13);
        let (_ours, theirs) = silent_pair();
        let good = format!("1:3:stream:{}", theirs.cookie().expect("a socket"));
        for _ in 0..200 {
            let value = garbled(&mut random, &good);
            if value == *good {
                continue;
            }
            let told = told(&theirs, &value);
            let refused = ["Malformed {", "NotOpen {", "AnotherFile {"];
            assert!(refused.iter().any(|it| told.starts_with(it)), "{value:?}: {told}");
        }
        assert_eq!(told(&theirs, OsStr::new(&good)), "adopted as 3");
    }
}
