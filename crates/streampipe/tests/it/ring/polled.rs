use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use streampipe::{Builder, Engine, Stream};

use crate::support::{readable_within, tests_alone};

const AT_ONCE: Duration = Duration::ZERO;
const SOON: Duration = Duration::from_secs(20);

fn pair() -> (Stream, Stream) {
    let pair = Builder::new().engine(Engine::Ring).capacity(4096).pair().expect("a pair");
    for end in [&pair.0, &pair.1] {
        end.set_nonblocking(true).expect("a flag");
    }
    pair
}

fn would_block<T: std::fmt::Debug>(done: std::io::Result<T>) {
    assert_eq!(done.expect_err("it would have to wait").kind(), ErrorKind::WouldBlock);
}

tests_alone! {
    fn an_end_that_was_never_read_can_be_polled_first() {
        let (mut ours, mut theirs) = pair();
        assert!(!readable_within(theirs.as_fd(), AT_ONCE));
        ours.write_all(b"x").expect("room");
        assert!(readable_within(theirs.as_fd(), SOON));
        assert_eq!(theirs.read(&mut [0; 8]).expect("there"), 1);
    }

    fn after_would_block_the_descriptor_tells_of_bytes() {
        let (mut ours, mut theirs) = pair();
        for _ in 0..100 {
            would_block(theirs.read(&mut [0; 8]));
            assert!(!readable_within(theirs.as_fd(), AT_ONCE), "silent until something comes");
            ours.write_all(b"xy").expect("room");
            assert!(readable_within(theirs.as_fd(), SOON));
            assert_eq!(theirs.read(&mut [0; 1]).expect("there"), 1);
            assert_eq!(theirs.read(&mut [0; 8]).expect("there"), 1);
        }
    }

    fn after_would_block_the_descriptor_tells_of_room() {
        let (mut ours, mut theirs) = pair();
        for _ in 0..100 {
            while ours.write(&[7; 1000]).is_ok() {}
            would_block(ours.write(b"x"));
            assert!(!readable_within(ours.as_fd(), AT_ONCE));
            let mut all = vec![0; 4096];
            theirs.read_exact(&mut all).expect("it was full");
            assert!(readable_within(ours.as_fd(), SOON), "there is room");
        }
    }

    fn whoever_polls_for_both_directions_is_told_of_both() {
        let (mut ours, mut theirs) = pair();
        for turn in 0..200 {
            while ours.write(&[7; 4096]).is_ok() {}
            // Both directions wait now, in either order.
            if turn % 2 == 0 {
                would_block(ours.write(b"x"));
                would_block(ours.read(&mut [0; 8]));
            } else {
                would_block(ours.read(&mut [0; 8]));
                would_block(ours.write(b"x"));
            }
            // What comes for one direction is heard by a call for the other one.
            if turn % 4 < 2 {
                let mut all = vec![0; 4096];
                theirs.read_exact(&mut all).expect("it was full");
                would_block(ours.read(&mut [0; 8]));
                assert!(readable_within(ours.as_fd(), SOON), "who waits for room is told");
                assert!(ours.write(b"x").is_ok());
            } else {
                theirs.write_all(b"x").expect("room");
                would_block(ours.write(b"x"));
                assert!(readable_within(ours.as_fd(), SOON), "who waits for bytes is told");
                assert_eq!(ours.read(&mut [0; 8]).expect("there"), 1);
            }
            // And once told, it is silent again, whether or not somebody came back.
            would_block(theirs.read(&mut [0; 8]).and_then(|_| theirs.read(&mut [0; 4096])).and_then(|_| theirs.read(&mut [0; 4096])));
        }
    }

    fn nobody_is_told_for_ever_of_what_they_do_not_want() {
        let (mut ours, mut theirs) = pair();
        while ours.write(&[7; 4096]).is_ok() {}
        would_block(ours.write(b"x"));
        let mut all = vec![0; 4096];
        theirs.read_exact(&mut all).expect("it was full");
        // There is room, and nobody who asks for it again: a loop that reads must come to rest.
        let mut told = 0;
        while readable_within(ours.as_fd(), AT_ONCE) {
            would_block(ours.read(&mut [0; 8]));
            told += 1;
            assert!(told < 10, "it goes on and on");
        }
    }

    fn the_descriptor_tells_of_the_end() {
        let (ours, mut theirs) = pair();
        would_block(theirs.read(&mut [0; 8]));
        drop(ours);
        assert!(readable_within(theirs.as_fd(), SOON));
        assert_eq!(theirs.read(&mut [0; 8]).expect("the end"), 0);
    }

    fn the_descriptor_tells_of_a_half_that_was_ended() {
        let (mut ours, mut theirs) = pair();
        would_block(theirs.read(&mut [0; 8]));
        ours.shutdown(std::net::Shutdown::Write).expect("once");
        assert!(readable_within(theirs.as_fd(), SOON));
        assert_eq!(theirs.read(&mut [0; 8]).expect("the end"), 0);
        theirs.write_all(b"the other half").expect("it is open");
        let mut heard = [0; 14];
        ours.read_exact(&mut heard).expect("it is open");
    }
}
