use std::io::{ErrorKind, Read, Write};

use streampipe::{Builder, Engine, Stream};

use crate::trusted::trusted;

fn pair(capacity: usize) -> (Stream, Stream) {
    Builder::new().engine(Engine::Ring).capacity(capacity).pair().expect("a pair")
}

#[test]
fn what_is_committed_comes_at_once_and_what_is_not_never() {
    let (ours, mut theirs) = pair(4096);
    theirs.set_nonblocking(true).expect("a flag");
    let mut room = ours.reserve(8).expect("room");
    room.write_at(4, b"body");
    assert_eq!(theirs.read(&mut [0; 8]).expect_err("nothing yet").kind(), ErrorKind::WouldBlock);
    room.write_at(0, b"head");
    drop(room);
    assert_eq!(theirs.read(&mut [0; 8]).expect_err("not committed").kind(), ErrorKind::WouldBlock);

    let mut room = ours.reserve(100).expect("room");
    assert_eq!(room.write(b"head and ").expect("room"), 9);
    assert_eq!(room.write(b"body").expect("room"), 4);
    room.commit(13).expect("somebody reads");
    let mut heard = [0; 64];
    assert_eq!(theirs.read(&mut heard).expect("committed"), 13);
    assert_eq!(&heard[..13], b"head and body");
}

#[test]
fn what_was_read_in_place_is_given_back_and_nothing_else() {
    let (mut ours, mut theirs) = pair(4096);
    ours.write_all(b"onetwothree").expect("room");
    let mut there = theirs.readable().expect("something");
    let mut three = [0; 3];
    there.read_exact(&mut three).expect("there");
    assert_eq!((&three, there.len()), (b"one", 8));
    there.skip(3);
    there.release();
    let there = theirs.readable().expect("something");
    assert_eq!(there.len(), 5);
    drop(there);
    let mut rest = [0; 5];
    theirs.read_exact(&mut rest).expect("there");
    assert_eq!(&rest, b"three");
}

#[test]
fn a_look_in_place_is_at_all_that_has_come_by_then() {
    let (mut ours, theirs) = pair(4096);
    ours.write_all(b"abc").expect("room");
    let mut there = theirs.readable().expect("something");
    there.skip(1);
    ours.write_all(b"d").expect("room");
    assert_eq!(there.len(), 2, "not what comes while it is looked at");
    there.release();
    ours.write_all(b"ef").expect("room");
    let mut there = theirs.readable().expect("something");
    assert_eq!(there.len(), 5);
    let mut rest = [0; 5];
    there.read_exact(&mut rest).expect("there");
    assert_eq!(&rest, b"bcdef");
}

#[test]
fn a_trusted_peers_bytes_are_borrowed_in_two_pieces_around_the_end() {
    let (mut ours, mut theirs) = pair(4096);
    let lens = |[one, two]: [&[u8]; 2]| (one.len(), two.len());
    let bytes: Vec<u8> = (0..200).collect();
    ours.write_all(&[7; 4000]).expect("room");
    theirs.read_exact(&mut [0; 4000]).expect("there");
    ours.write_all(&bytes).expect("room");
    let mut there = theirs.readable().expect("something");
    assert_eq!(lens(there.as_slices(trusted())), (96, 104));
    assert_eq!(there.as_slices(trusted()).concat(), bytes);
    // It was not read by that.
    assert_eq!(there.len(), 200);
    for (skipped, expected) in [(90, (6, 104)), (6, (104, 0)), (4, (100, 0)), (100, (0, 0))] {
        there.skip(skipped);
        assert_eq!(lens(there.as_slices(trusted())), expected, "{skipped} more skipped");
        assert_eq!(there.as_slices(trusted()).concat(), bytes[200 - there.len()..]);
    }
    there.release();
    // All of the ring, from where it is now.
    let bytes: Vec<u8> = (0..4096_u32).map(|at| (at ^ at >> 8) as u8).collect();
    ours.write_all(&bytes).expect("room");
    let there = theirs.readable().expect("something");
    assert_eq!(lens(there.as_slices(trusted())), (4096 - 104, 104));
    assert_eq!(there.as_slices(trusted()).concat(), bytes);
}

#[test]
fn rooms_and_readings_go_around_the_end_of_the_ring() {
    let (ours, theirs) = pair(4096);
    let mut expected = 0_u64;
    for turn in 0..5000_u64 {
        let len = 8 * (1 + turn as usize % 400);
        let mut room = ours.reserve(len).expect("room");
        for at in (0..len).step_by(8) {
            room.write_at(at, &(expected + at as u64).to_le_bytes());
        }
        room.commit(len).expect("somebody reads");
        let mut there = theirs.readable().expect("something");
        assert_eq!(there.len(), len);
        if turn % 2 == 0 {
            let mut all = vec![0; len];
            there.read_exact(&mut all).expect("there");
            for (at, word) in all.chunks(8).enumerate() {
                let word = u64::from_le_bytes(word.try_into().expect("eight"));
                assert_eq!(word, expected + 8 * at as u64);
            }
        } else {
            for at in (0..len).step_by(8) {
                assert_eq!(there.read_u64_le().expect("there"), expected + at as u64);
            }
        }
        there.release();
        expected += len as u64;
    }
}

#[test]
fn more_than_the_ring_holds_is_refused_and_all_of_it_is_not() {
    let (ours, theirs) = pair(4096);
    assert_eq!(ours.reserve(4097).expect_err("too much").kind(), ErrorKind::InvalidInput);
    ours.reserve(4096).expect("all of it").commit(4096).expect("published");
    ours.set_nonblocking(true).expect("a flag");
    assert_eq!(ours.reserve(1).expect_err("full").kind(), ErrorKind::WouldBlock);
    let mut there = theirs.readable().expect("something");
    there.skip(1);
    there.release();
    ours.reserve(1).expect("room again").commit(1).expect("published");
}

#[test]
fn the_end_is_nothing_to_read() {
    let (ours, theirs) = pair(4096);
    drop(ours);
    assert!(theirs.readable().expect("the end").is_empty());
    assert_eq!(theirs.reserve(1).expect_err("nobody reads").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_socket_has_nothing_in_place() {
    let (ours, theirs) = streampipe::pair().expect("a pair");
    assert_eq!(ours.reserve(1).expect_err("a socket").kind(), ErrorKind::Unsupported);
    assert_eq!(theirs.readable().expect_err("a socket").kind(), ErrorKind::Unsupported);
}
