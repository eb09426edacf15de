//! What a send says, checked against what the peer really got.
//!
//! 1. A call that fails has sent nothing: no byte and no descriptor of it can be read. One that says so many bytes has sent
//!    exactly these. (`write_all`, which makes several calls and does not say how far it came, has not sent all.)
//! 2. What became of what was sent, the reads that follow say: the end if the peer has read all of it, a reset in front of
//!    the end if not.
//!
//! The peer closes at a random moment, in most rounds while it is awake and has just read something: both sides count.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use fastrand::Rng;
use streampipe::{Engine, Stream};

use crate::engines::{engine, pair_with_room, tests_of_engines};

/// How often each way is tried.
const ROUNDS: u64 = 500;

/// Less than what is sent at most: pieces go round the ring.
const ROOM: usize = 4096;

/// What was sent, as far as the calls said: bytes, and how many times descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    bytes: u64,
    batches: u64,
}

/// Sends so many bytes at most, for it does not say how far it came.
const WRITE_ALL: &str = "write_all";
const FEW: usize = 16;

/// One call; how many bytes it took.
type Way = fn(&Stream, &[u8]) -> std::io::Result<usize>;

/// Every call that sends bytes of a stream, and whether it sends descriptors.
const WAYS: [(&str, Way, bool); 7] = [
    ("write", |stream, bytes| { stream }.write(bytes), false),
    (
        "write in parts",
        |stream, bytes| {
            let (one, two) = bytes.split_at(bytes.len() / 3);
            { stream }.write_vectored(&[IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(two)])
        },
        false,
    ),
    (
        WRITE_ALL,
        |stream, bytes| {
            let few = &bytes[..bytes.len().min(FEW)];
            { stream }.write_all(few).map(|()| few.len())
        },
        false,
    ),
    (
        "write that does not wait",
        |stream, bytes| {
            stream.set_nonblocking(true)?;
            let written = match { stream }.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                written => written,
            };
            stream.set_nonblocking(false)?;
            written
        },
        false,
    ),
    (
        "write with a deadline",
        |stream, bytes| {
            stream.set_write_timeout(Some(std::time::Duration::from_millis(2)))?;
            match { stream }.write(bytes) {
                Err(error) if error.kind() == ErrorKind::TimedOut => Ok(0),
                written => written,
            }
        },
        false,
    ),
    ("send_fds", |stream, bytes| stream.send_fds(bytes, &[std::io::stdin().as_fd()]), true),
    (
        "reserve and commit",
        |stream, bytes| {
            let bytes = &bytes[..bytes.len().min(ROOM)];
            if stream.engine() != Engine::Ring {
                return { stream }.write(bytes);
            }
            let mut room = stream.reserve(bytes.len())?;
            room.write_at(0, bytes);
            room.commit(bytes.len()).map(|()| bytes.len())
        },
        false,
    ),
];

/// What the peer does when it has greeted.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Closes behind so many bytes.
    Closes,
    /// Reads no more behind so many bytes, takes what is there, and closes.
    ReadsNoMore,
}

/// The peer: speaks first, reads so much, and ends; what it got.
fn read_and_end(mut stream: Stream, most: u64, ending: Ending, seed: u64) -> Count {
    let mut random = Rng::with_seed(seed);
    stream.write_all(b"who?").expect("somebody listens");
    let mut got = Count::default();
    let mut buffer = vec![0; ROOM];
    let mut take = |got: &mut Count, most: usize| match stream.recv_fds(&mut buffer[..most]) {
        Ok((len, fds)) => {
            assert!(buffer[..len].iter().all(|&byte| byte == 7), "other bytes");
            *got = Count { bytes: got.bytes + len as u64, batches: got.batches + fds.len() as u64 };
            len
        }
        Err(error) => panic!("the peer reads: {error:?}"),
    };
    while got.bytes < most {
        let len = random.usize(1..=ROOM).min((most - got.bytes) as usize);
        if take(&mut got, len) == 0 {
            return got;
        }
    }
    if let Ending::ReadsNoMore = ending {
        stream.shutdown(Shutdown::Read).expect("once");
        while take(&mut got, ROOM) > 0 {}
    }
    got
}

/// Calls until one fails, or it has been enough; what the calls said, and which error it was.
fn send(
    stream: &Stream,
    way: Way,
    sends_fds: bool,
    random: &mut Rng,
) -> (Count, Option<ErrorKind>) {
    let bytes = [7; 5 * ROOM];
    let mut said = Count::default();
    loop {
        let len = if random.u8(0..4) == 0 { random.usize(1..=bytes.len()) } else { 4 };
        match way(stream, &bytes[..len]) {
            Ok(sent) => {
                assert!(sent <= len);
                let batches = said.batches + u64::from(sends_fds && sent > 0);
                said = Count { bytes: said.bytes + sent as u64, batches };
            }
            Err(error) => return (said, Some(error.kind())),
        }
    }
}

/// How reading ends, behind the greeting.
fn rest(stream: &Stream) -> (u32, bool) {
    let (mut resets, mut buffer) = (0, [0; 8]);
    loop {
        match { stream }.read(&mut buffer) {
            Ok(0) => return (resets, true),
            Ok(_) => panic!("the peer has written nothing else"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => resets += 1,
            Err(_) => return (resets, false),
        }
        assert!(resets < 2, "a reset is told of once");
    }
}

fn play(way: usize, ending: Ending) {
    let (name, call, sends_fds) = WAYS[way];
    let mut late = 0;
    for round in 0.. {
        // The control: in some round the peer has all that was sent. When it closes is the scheduler's choice.
        if round >= ROUNDS && late > 0 {
            break;
        }
        let mut random = Rng::with_seed(round);
        let (ours, theirs) = pair_with_room(ROOM).expect("a pair");
        let most = if random.bool() { 4 } else { random.u64(1..3 * ROOM as u64) };
        let peer = std::thread::spawn(move || read_and_end(theirs, most, ending, !round));
        let mut greeting = [0; 4];
        { &ours }.read_exact(&mut greeting).expect("it greets");
        let (said, error) = send(&ours, call, sends_fds, &mut random);
        let got = peer.join().expect("no panic");
        let what =
            format!("{name}, {ending:?}, round {round}: {said:?} said, {got:?} got, {error:?}");
        // The second kind is a socket's, of which a reset was told in a write.
        let gone = [Some(ErrorKind::BrokenPipe), Some(ErrorKind::ConnectionReset)];
        assert!(gone.contains(&error), "{what}");
        let more = if name == WRITE_ALL { FEW as u64 - 1 } else { 0 };
        assert!(got.bytes <= said.bytes + more, "{what}: more was read than was sent");
        assert!(got.batches <= said.batches, "{what}: descriptors of a call that failed");
        late += u64::from(got.bytes == said.bytes);
        let (resets, ended) = rest(&ours);
        assert!(ended, "{what}");
        let told = resets + u32::from(error == Some(ErrorKind::ConnectionReset));
        let expected = match ending {
            Ending::Closes => u32::from(got.bytes < said.bytes),
            // It took all there was, and nothing can come behind that.
            Ending::ReadsNoMore => 0,
        };
        // A write that waits for room when a socket is reset says how far it came, and the kernel tells of it no more.
        let is_known = engine() == Engine::Ring || told > expected;
        assert!(told == expected || !is_known || name == WRITE_ALL, "{what}: {told} resets");
    }
}

tests_of_engines! {
    fn a_write_that_fails_was_not_read() {
        play(0, Ending::Closes);
    }

    fn a_write_in_parts_that_fails_was_not_read() {
        play(1, Ending::Closes);
    }

    fn a_write_of_all_that_fails_was_not_read() {
        play(2, Ending::Closes);
    }

    fn a_write_that_does_not_wait_and_fails_was_not_read() {
        play(3, Ending::Closes);
    }

    fn a_write_with_a_deadline_that_fails_was_not_read() {
        play(4, Ending::Closes);
    }

    fn descriptors_of_a_send_that_fails_were_not_received() {
        play(5, Ending::Closes);
    }

    fn what_is_committed_and_fails_was_not_read() {
        play(6, Ending::Closes);
    }

    /// As a relay does with a direction that nobody takes any more.
    fn a_peer_that_reads_no_more_and_takes_what_is_there_resets_nothing() {
        for way in [0, 2, 5, 6] {
            play(way, Ending::ReadsNoMore);
        }
    }

    fn a_hello_that_fails_was_not_received() {
        let mut told = 0;
        for round in 0..ROUNDS {
            let (ours, theirs) = pair_with_room(ROOM).expect("a pair");
            let peer = std::thread::spawn(move || {
                theirs.attest().expect("an end");
                { &theirs }.write_all(b"who?").expect("somebody listens");
                round % 2 == 0 && theirs.recv_hello().is_ok()
            });
            { &ours }.read_exact(&mut [0; 4]).expect("it greets");
            let said = ours.send_hello();
            let got = peer.join().expect("no panic");
            assert!(said.is_ok() || !got, "round {round}: {said:?}, and it was received");
            told += u32::from(got);
        }
        assert!(told > 0, "never received");
    }

    /// The peer has the whole answer in hand when it closes: nothing else can have gone wrong.
    fn an_answer_that_was_read_was_sent() {
        for round in 0..4 * ROUNDS {
            let (ours, theirs) = pair_with_room(ROOM).expect("a pair");
            let has_it = AtomicU64::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let theirs = theirs;
                    { &theirs }.write_all(b"who?").expect("somebody listens");
                    { &theirs }.read_exact(&mut [0; 4]).expect("an answer");
                    drop(theirs);
                    has_it.store(1, Release);
                });
                { &ours }.read_exact(&mut [0; 4]).expect("it greets");
                let said = { &ours }.write_all(b"me!!");
                assert!(said.is_ok(), "round {round}: {said:?}");
            });
            assert_eq!(has_it.load(Acquire), 1);
            assert_eq!(rest(&ours), (0, true), "round {round}");
        }
        // The control: nobody reads here, which is said.
        let (ours, theirs) = pair_with_room(ROOM).expect("a pair");
        drop(theirs);
        let error = { &ours }.write_all(b"me!!").expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }

    /// Slices that say the same bytes again and again have more of them than a number can count where that has 32 bits.
    fn more_bytes_than_can_be_counted_are_taken_in_part() {
        let (ours, theirs) = pair_with_room(ROOM).expect("a pair");
        ours.set_nonblocking(true).expect("a flag");
        let bytes = vec![7; 8 << 20];
        let parts = vec![IoSlice::new(&bytes); 512];
        let written = { &ours }.write_vectored(&parts).expect("room");
        assert!(written > 0 && written < bytes.len(), "{written}");
        drop(ours);
        let mut all = Vec::new();
        { &theirs }.read_to_end(&mut all).expect("the end");
        assert!(all.len() == written && all.iter().all(|&byte| byte == 7));
    }
}
