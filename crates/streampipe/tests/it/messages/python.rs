//! A peer in another language, written from the document.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use streampipe::{Child, Command, Message, RawChannel, RecvError, SeqPacket, Stream};
use streampipe_wire::{Frames, HEADER_LEN, Header, Kind, Totals};

use super::{borrowed, files, number_in};
use crate::support::{has_program, tests_alone};

/// How frames are carried.
const CARRIERS: [&str; 2] = ["packets", "stream"];

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/echo.py")
}

/// Starts the peer with its end of a new channel.
fn start(carrier: &str, task: &str) -> (RawChannel, Child) {
    let mut command = Command::new("python3");
    // No file is left beside the sources.
    command.arg("-B").arg(script());
    if carrier == "stream" {
        let mut child = command.args(["3", task]).spawn().expect("python3 starts");
        let stream = child.take_stream().expect("its end");
        return (RawChannel::from(stream), child);
    }
    let (ours, theirs) = SeqPacket::pair().expect("a pair");
    let child = command.args(["4", task]).inherit(theirs, 4).spawn().expect("python3 starts");
    (RawChannel::from(ours), child)
}

/// Ends our direction, hears the last word, and sees that the peer found nothing wrong.
fn finish(carrier: &str, channel: &RawChannel, mut child: Child) {
    channel.shutdown(Shutdown::Write).expect("a socket");
    let last = channel.recv().expect("the other direction goes on");
    assert_eq!(last.bytes, b"that was all", "{carrier}");
    assert!(matches!(channel.recv(), Err(RecvError::Closed)), "{carrier}");
    let status = child.wait().expect("it is ours");
    assert!(status.success(), "{carrier}: {status}");
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

/// Sends a message and hears the same.
fn there_and_back(channel: &RawChannel, len: usize, count: usize) {
    let payload = payload(len);
    let fds = files(count, 0);
    channel.send(&payload, &borrowed(&fds)).expect("room for it");
    drop(fds);
    is_echo(channel.recv().expect("the echo"), &payload, count);
}

fn is_echo(message: Message, payload: &[u8], count: usize) {
    let what = format!("{} bytes, {count} descriptors", payload.len());
    assert!(message.bytes == payload, "{what}");
    let numbers: Vec<_> = message.fds.into_iter().map(number_in).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{what}");
}

/// Sends frames by hand.
fn put(stream: &Stream, kind: Kind, id: u64, payload: &[u8], fds: &[OwnedFd]) {
    let totals = Totals { bytes: payload.len() as u64, fds: fds.len() as u32 };
    for frame in Frames::new(kind, id, totals) {
        let bytes = [&frame.header.to_bytes()[..], &payload[frame.bytes]].concat();
        stream.send_fds(&bytes, &borrowed(&fds[frame.fds])).expect("room for it");
    }
}

/// Receives a small message by hand.
fn get(stream: &mut Stream) -> (Kind, u64, Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = [0; HEADER_LEN];
    stream.read_exact(&mut bytes).expect("a header without descriptors");
    let first = Header::parse(bytes).expect("a header");
    let mut payload = vec![0; first.length as usize];
    stream.read_exact(&mut payload).expect("a payload without descriptors");
    let mut fds = Vec::new();
    while fds.len() < first.rest_fds as usize {
        let (len, came) = stream.recv_fds(&mut bytes).expect("a header with descriptors");
        let next = Header::parse(bytes).expect("a header");
        assert_eq!((len, usize::from(next.fds)), (HEADER_LEN, came.len()));
        fds.extend(came);
        assert_eq!(next.rest_fds as usize, first.rest_fds as usize - fds.len());
    }
    (first.kind, first.id, payload, fds)
}

tests_alone! {
    fn a_peer_in_python_sends_back_messages_of_all_sizes() {
        if !has_program("python3", "a peer in Python") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, child) = start(carrier, "echo");
            for len in [0, 1, 31, 32, 33, 1024, 4096, 73_727, 73_728, 73_729, 200_000, 3_000_000] {
                there_and_back(&channel, len, 0);
            }
            for count in [1, 2, 252, 253, 254, 506, 507, 600] {
                there_and_back(&channel, 0, count);
                there_and_back(&channel, 5, count);
                there_and_back(&channel, 80_000, count);
            }
            finish(carrier, &channel, child);
        }
    }

    fn a_peer_in_python_may_cut_a_payload_anywhere() {
        if !has_program("python3", "a peer in Python that cuts payloads") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, child) = start(carrier, "cut");
            for (len, count) in [(0, 0), (999, 1), (1000, 254), (1001, 0), (300_000, 3)] {
                there_and_back(&channel, len, count);
            }
            finish(carrier, &channel, child);
        }
    }

    fn what_a_peer_in_python_withdraws_does_not_arrive() {
        if !has_program("python3", "a peer in Python that withdraws") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, child) = start(carrier, "withdraw");
            for (len, count) in [(0, 0), (1, 1), (100_000, 254)] {
                there_and_back(&channel, len, count);
            }
            finish(carrier, &channel, child);
        }
    }

    fn a_peer_in_python_hears_nothing_of_what_is_withdrawn() {
        if !has_program("python3", "withdrawals to a peer in Python") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, child) = start(carrier, "echo");
            for (len, count) in [(2_000_000, 0), (3_000_000, 2), (1, 1)] {
                // Longer than there is room for, and no peer is so fast: parts of it are sent and withdrawn. One that
                // is sent all the same comes back.
                let fds = files(count, 0);
                let large = payload(len);
                let sent = channel.try_send(&large, &borrowed(&fds));
                drop(fds);
                if sent.is_ok() {
                    is_echo(channel.recv().expect("the echo"), &large, count);
                }
                there_and_back(&channel, len % 1000, count);
            }
            finish(carrier, &channel, child);
        }
    }

    fn many_messages_to_and_from_a_peer_in_python_keep_their_order() {
        if !has_program("python3", "many messages with a peer in Python") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, child) = start(carrier, "echo");
            thread::scope(|scope| {
                scope.spawn(|| {
                    let fds: Vec<OwnedFd> = files(3, 0);
                    for round in 0..2000_usize {
                        let given = &borrowed(&fds)[..round % 4];
                        channel.send(&payload(round), given).expect("room for it");
                    }
                });
                for round in 0..2000_usize {
                    is_echo(channel.recv().expect("the echo"), &payload(round), round % 4);
                }
            });
            finish(carrier, &channel, child);
        }
    }

    fn a_peer_in_python_takes_the_end_of_everything_for_the_end() {
        if !has_program("python3", "the end for a peer in Python") {
            return;
        }
        for carrier in CARRIERS {
            let (channel, mut child) = start(carrier, "echo");
            there_and_back(&channel, 10, 1);
            channel.shutdown(Shutdown::Read).expect("a socket");
            drop(channel);
            // It cannot say its last word to anybody.
            let status = child.wait().expect("it is ours");
            assert!(!status.success(), "{carrier}");
        }
    }

    fn a_peer_in_python_answers_requests_and_asks() {
        if !has_program("python3", "requests to a peer in Python") {
            return;
        }
        let mut command = Command::new("python3");
        let mut child = command.arg("-B").arg(script()).args(["3", "echo"]).spawn().unwrap();
        let mut stream = child.take_stream().expect("its end");
        let fds = files(255, 0);
        put(&stream, Kind::Request, 1, b"one", &[]);
        put(&stream, Kind::Request, 7, b"seven", &fds);
        put(&stream, Kind::Request, u64::MAX, b"no answer", &fds[..1]);
        // Answers that nobody waits for.
        put(&stream, Kind::Answer, 3, b"late", &[]);
        put(&stream, Kind::NoAnswer, 4, b"", &[]);
        put(&stream, Kind::Message, 0, b"ask", &fds[..2]);
        drop(fds);
        let expected = [
            (Kind::Answer, 1, &b"one"[..], 0),
            (Kind::Answer, 7, b"seven", 255),
            (Kind::NoAnswer, u64::MAX, b"", 0),
            (Kind::Request, 1, b"what?", 2),
        ];
        for (kind, id, payload, count) in expected {
            let (came_kind, came_id, bytes, fds) = get(&mut stream);
            assert_eq!((came_kind, came_id, &bytes[..]), (kind, id, payload));
            let numbers: Vec<_> = fds.into_iter().map(number_in).collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
        finish("stream", &stream.into(), child);
    }
}
