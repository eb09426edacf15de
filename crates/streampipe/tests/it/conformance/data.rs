//! R2: what is written is read.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

use rustix::net::SendFlags;
use streampipe::PacketError;

use super::{
    Datagram, End, Heard, NOTHING, RESET, SHORT, SeqPacket, Stream, hand, hear, hears,
    hears_no_more, inside, refused, say, seqpacket, stream, take, tests_of_types,
};
use crate::engines::tests_of_engines;
use crate::support::{file_with, tests_alone};

/// What [`PacketError`] is, by kind.
const NOT_HANDED_OVER: Heard<'static> = Err(ErrorKind::InvalidData);

/// Why a receive of a packet failed.
#[track_caller]
fn packet_error<T: std::fmt::Debug>(received: io::Result<T>) -> PacketError {
    let error = received.expect_err("no packet that could be handed over");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    inside(&error)
}

/// Checks that the next receive says that a packet was empty.
#[track_caller]
fn hears_an_empty_packet(end: &SeqPacket) {
    assert_eq!(packet_error(end.recv(&mut [0; 64])), PacketError::Empty);
}

/// Sends an empty packet, as a program without this library can.
fn say_nothing(end: &SeqPacket) {
    assert_eq!(rustix::net::send(end, b"", SendFlags::NOSIGNAL), Ok(0));
}

tests_of_types! {
    fn data_keep_their_order_in_both_directions<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for number in 0_u32..50 {
            say(&a, &number.to_ne_bytes());
            say(&b, &(number + 1000).to_ne_bytes());
        }
        let mut buffer = [0; 4];
        for number in 0_u32..50 {
            assert_eq!(b.recv(&mut buffer).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(buffer), number);
            assert_eq!(a.recv(&mut buffer).unwrap(), 4);
            assert_eq!(u32::from_ne_bytes(buffer), number + 1000);
        }
        hears_no_more(&a);
        hears_no_more(&b);
    }

    /// Also for a buffer that has room for both: one packet is enough to return.
    fn a_packet_is_one_send_and_one_recv<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"one");
        say(&a, b"two");
        hears(&b, &[Ok(b"one"), Ok(b"two")]);
        hears_no_more(&b);
    }

    /// The kernel cuts it off without a word, unless asked for `MSG_TRUNC`.
    fn a_packet_longer_than_the_buffer_is_an_error_with_both_lengths<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"0123456789");
        say(&a, b"next");
        let mut buffer = [b'-'; 4];
        let expected = PacketError::TooLong { packet: 10, buffer: 4, fds_closed: 0 };
        assert_eq!(packet_error(b.recv(&mut buffer)), expected);
        assert_eq!(&buffer, b"0123", "the start is in the buffer");
        hears(&b, &[Ok(b"next")]);

        say(&a, b"0123456789");
        say(&a, b"next");
        assert_eq!(packet_error(b.recv_fds(&mut [0; 4])), expected);
        hears(&b, &[Ok(b"next")]);
    }

    fn a_packet_of_the_buffers_length_or_less_is_whole<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"four");
        say(&a, b"two");
        let mut buffer = [b'-'; 4];
        assert_eq!(b.recv(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"four");
        assert_eq!(b.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"twor", "nothing is written behind a packet");
    }

    /// The kernel returns 0, and the packet is gone without a word.
    fn a_buffer_of_0_bytes_takes_a_packet_and_says_so<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"four");
        say(&a, b"next");
        let expected = PacketError::TooLong { packet: 4, buffer: 0, fds_closed: 0 };
        assert_eq!(packet_error(b.recv(&mut [])), expected);
        hears(&b, &[Ok(b"next")]);
    }

    fn a_buffer_of_0_bytes_would_wait_for_a_packet<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        b.set_nonblocking(true);
        let kind = |received: io::Result<usize>| received.expect_err("nothing is there").kind();
        assert_eq!(kind(b.recv(&mut [])), ErrorKind::WouldBlock);
        assert_eq!(b.recv_fds(&mut []).expect_err("no fds").kind(), ErrorKind::WouldBlock);
        b.set_nonblocking(false);
        b.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(kind(b.recv(&mut [])), ErrorKind::TimedOut);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
    }

    fn recv_fds_without_descriptors_is_a_receive<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"plain");
        hand(&b, b"no descriptors", &[]);
        let (bytes, fds) = take(&b);
        assert_eq!((&bytes[..], fds.len()), (&b"plain"[..], 0));
        hears(&a, &[Ok(b"no descriptors")]);
        b.set_nonblocking(true);
        let error = b.recv_fds(&mut [0; 8]).expect_err("nothing is there");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

tests_of_engines! {
    fn a_stream_joins_what_was_written_and_cuts_it_where_the_reader_wants() {
        let (a, b) = stream();
        say(&a, b"ab");
        say(&a, b"cd");
        say(&a, b"ef");
        let mut buffer = [0; 3];
        assert_eq!(b.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer, b"abc");
        hears(&b, &[Ok(b"def")]);
        hears_no_more(&b);
    }

    fn a_read_of_a_stream_takes_what_has_come_since_the_one_before() {
        let (a, b) = stream();
        for turn in 0..3000_u32 {
            let [one, two, three, four] = turn.to_ne_bytes();
            say(&a, &[one, two]);
            let mut buffer = [0; 8];
            assert_eq!(b.recv(&mut buffer[..1]).unwrap(), 1);
            say(&a, &[three, four]);
            assert_eq!(b.recv(&mut buffer[1..]).unwrap(), 3, "all that there is");
            assert_eq!(buffer[..4], turn.to_ne_bytes());
        }
        hears_no_more(&b);
    }

    fn a_stream_never_counts_beyond_the_buffer() {
        let (a, b) = stream();
        say(&a, b"0123456789");
        let mut buffer = [0; 4];
        assert_eq!(b.recv(&mut buffer).unwrap(), 4);
        let (len, fds) = b.recv_fds(&mut buffer).unwrap();
        assert_eq!((len, fds.len()), (4, 0));
        assert_eq!(&buffer, b"4567");
        hears(&b, &[Ok(b"89")]);
    }

    fn a_stream_gathers_and_scatters() {
        let (mut a, mut b) = stream();
        let pieces = [&b"ab"[..], b"", b"cde"].map(IoSlice::new);
        assert_eq!(a.write_vectored(&pieces).unwrap(), 5);
        let (mut one, mut none, mut four) = ([0; 1], [0; 0], [b'-'; 5]);
        let into = &mut [&mut one[..], &mut none, &mut four].map(IoSliceMut::new);
        assert_eq!(b.read_vectored(into).unwrap(), 5);
        assert_eq!((&one, &four), (b"a", b"bcde-"));
        assert_eq!(a.write_vectored(&[]).unwrap(), 0);
        assert_eq!(b.read_vectored(&mut []).unwrap(), 0);
        hears_no_more(&b);
    }

    /// As in std; the kernel refuses more than 1024 at once.
    fn a_stream_takes_any_number_of_pieces() {
        let (mut a, mut b) = stream();
        let bytes = [b'x'; 2000];
        let pieces: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        let sent = a.write_vectored(&pieces).expect("some of them");
        assert!(0 < sent && sent <= 2000);
        let mut buffer = [0; 2000];
        let mut into: Vec<IoSliceMut<'_>> = buffer.chunks_mut(1).map(IoSliceMut::new).collect();
        let heard = b.read_vectored(&mut into).expect("some of them");
        assert!(0 < heard && heard <= sent);
        assert!(buffer[..heard].iter().all(|&byte| byte == b'x'));
    }

    fn a_write_of_0_bytes_delivers_nothing() {
        let (a, b) = stream();
        say(&a, b"");
        hand(&a, b"", &[]);
        hears_no_more(&b);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
    }

    fn a_read_into_0_bytes_returns_0_and_takes_nothing() {
        let (a, b) = stream();
        assert_eq!(b.recv(&mut []).unwrap(), 0, "nothing there, and no wait");
        say(&a, b"x");
        assert_eq!(b.recv(&mut []).unwrap(), 0);
        hears(&b, &[Ok(b"x")]);
        a.shutdown(Shutdown::Write).unwrap();
        assert_eq!(b.recv(&mut []).unwrap(), 0);
        hears(&b, &[NOTHING]);
    }

    /// The kernel hands over the descriptors and no byte; so `(0, [])` would not be the end.
    fn recv_fds_into_0_bytes_of_a_stream_is_refused() {
        let (a, b) = stream();
        hand(&a, b"x", &[]);
        let error = b.recv_fds(&mut []).expect_err("no room for a byte");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        hears(&b, &[Ok(b"x")]);
    }

    /// What `MSG_WAITALL` is for.
    fn read_exact_waits_for_the_whole_buffer() {
        let (a, mut b) = stream();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for piece in [&b"ab"[..], b"c", b"defg"] {
                    say(&a, piece);
                }
            });
            let mut buffer = [0; 6];
            b.read_exact(&mut buffer).expect("seven bytes come");
            assert_eq!(&buffer, b"abcdef");
        });
        hears(&b, &[Ok(b"g")]);
    }

    /// Unlike std's, a failed one consumes nothing.
    fn read_exact_ends_with_the_stream_the_timeout_or_the_wait_that_is_not_allowed() {
        let (a, mut b) = stream();
        say(&a, b"ab");
        b.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(b.read_exact(&mut [0; 3]).unwrap_err().kind(), ErrorKind::TimedOut);
        b.set_nonblocking(true).unwrap();
        assert_eq!(b.read_exact(&mut [0; 3]).unwrap_err().kind(), ErrorKind::WouldBlock);
        say(&a, b"cd");
        drop(a);
        assert_eq!(b.read_exact(&mut [0; 5]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let mut buffer = [0; 4];
        b.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"abcd");
        hears(&b, &[NOTHING]);
    }

    fn a_send_of_0_bytes_to_a_closed_peer_still_fails() {
        let (a, _) = stream();
        assert_eq!(refused(&a, b""), ErrorKind::BrokenPipe);
        let error = a.send_fds(b"", &[]).expect_err("the peer is gone");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let (a, _) = Datagram::pair().unwrap();
        assert_eq!(refused(&a, b""), ErrorKind::ConnectionRefused);
    }
}

tests_alone! {
    fn every_empty_datagram_arrives_by_itself() {
        let (a, b) = Datagram::pair().unwrap();
        for packet in [&b""[..], b"", b"x", b""] {
            say(&a, packet);
        }
        let mut buffer = [b'-'; 4];
        assert_eq!(b.recv(&mut buffer).unwrap(), 0);
        assert_eq!(&buffer, b"----");
        hears(&b, &[NOTHING, Ok(b"x")]);
        assert_eq!(b.recv(&mut []).unwrap(), 0, "it fits");
        hears_no_more(&b);
    }

    /// The kernel sends it, and the reader takes it for the end.
    fn seqpacket_refuses_to_send_an_empty_packet() {
        let (a, b) = seqpacket();
        let check = || {
            for error in [a.send(b"").unwrap_err(), a.send_fds(b"", &[]).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(inside::<PacketError>(&error), PacketError::Empty);
            }
        };
        check();
        hears_no_more(&b);
        say(&a, b"x");
        hears(&b, &[Ok(b"x")]);
        drop(b);
        check();
    }

    fn an_empty_packet_from_elsewhere_is_an_error_and_not_the_end() {
        let (a, b) = seqpacket();
        say(&a, b"one");
        say_nothing(&a);
        say_nothing(&a);
        say(&a, b"two");
        hears(&b, &[Ok(b"one")]);
        hears_an_empty_packet(&b);
        assert_eq!(packet_error(b.recv_fds(&mut [0; 8])), PacketError::Empty);
        hears(&b, &[Ok(b"two")]);
        hears_no_more(&b);
    }

    // Once the peer has hung up, the kernel's 0 may also be a mistake (GOTCHAS.md): what follows is
    // delivered, and an empty packet in front of it is passed over.

    fn an_empty_packet_is_not_the_end_if_a_packet_follows_and_the_peer_closes() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say(&a, b"two");
        drop(a);
        hears(&b, &[Ok(b"two"), NOTHING, NOTHING]);
    }

    fn an_empty_packet_is_not_the_end_if_the_peer_then_writes_no_more() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say(&a, b"two");
        a.shutdown(Shutdown::Write).unwrap();
        hears(&b, &[Ok(b"two"), NOTHING]);
        say(&b, b"the other direction");
        hears(&a, &[Ok(b"the other direction")]);
    }

    /// Behind them there is nothing but the end, so the end is true (GOTCHAS.md).
    fn empty_packets_directly_in_front_of_the_end_are_the_end() {
        let (a, b) = seqpacket();
        say(&a, b"one");
        say_nothing(&a);
        drop(a);
        hears(&b, &[Ok(b"one"), NOTHING, NOTHING]);
    }

    fn two_empty_packets_are_not_the_end_if_a_packet_follows_and_the_peer_closes() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say_nothing(&a);
        say(&a, b"three");
        drop(a);
        hears(&b, &[Ok(b"three"), NOTHING]);
    }

    fn two_empty_packets_are_not_the_end_if_descriptors_alone_follow() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say_nothing(&a);
        hand(&a, b"", &[file_with(b"").as_fd()]);
        drop(a);
        assert_eq!(take(&b).1.len(), 1);
        hears(&b, &[NOTHING]);
    }

    fn an_empty_packet_does_not_hide_a_packet_that_is_too_long() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say(&a, b"0123456789");
        drop(a);
        let mut buffer = [0; 4];
        let expected = PacketError::TooLong { packet: 10, buffer: 4, fds_closed: 0 };
        assert_eq!(packet_error(b.recv(&mut buffer)), expected);
        hears(&b, &[NOTHING]);
    }

    fn an_empty_packet_does_not_hide_the_descriptors_that_follow() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        let file = file_with(b"content");
        hand(&a, b"file", &[file.as_fd()]);
        drop(a);
        let (bytes, fds) = take(&b);
        assert_eq!((&bytes[..], fds.len()), (&b"file"[..], 1));
        hears(&b, &[NOTHING]);
    }

    fn an_empty_packet_does_not_hide_the_data_and_the_reset() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        say(&a, b"two");
        say(&b, b"never read");
        drop(a);
        hears(&b, &[Ok(b"two"), RESET, NOTHING]);
    }

    fn the_end_is_no_error_with_a_buffer_of_0_bytes() {
        let (a, b) = seqpacket();
        say(&a, b"x");
        a.shutdown(Shutdown::Write).unwrap();
        hears(&b, &[Ok(b"x")]);
        assert_eq!(b.recv(&mut []).unwrap(), 0);
        assert_eq!(hear(&b), Ok(Vec::new()));

        let (a, b) = Datagram::pair().unwrap();
        a.shutdown(Shutdown::Write).unwrap();
        b.set_nonblocking(true).unwrap();
        assert_eq!(b.recv(&mut []).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    fn a_packet_error_is_the_kind_of_error_that_bad_data_are() {
        let (a, b) = seqpacket();
        say_nothing(&a);
        hears(&b, &[NOT_HANDED_OVER]);
    }

    /// Engine probe, and all there is of R7: the library neither sends nor takes such bytes.
    fn an_out_of_band_byte_from_elsewhere_is_left_out_of_the_stream() {
        let (a, b) = stream();
        let sent = rustix::net::send(&a, b"abc!", SendFlags::OOB | SendFlags::NOSIGNAL);
        if sent == Err(rustix::io::Errno::OPNOTSUPP) {
            return crate::support::skip("out-of-band bytes", "this kernel has none on a pair");
        }
        assert_eq!(sent, Ok(4));
        hears(&b, &[Ok(b"abc")]);
        say(&a, b"def");
        drop(a);
        hears(&b, &[Ok(b"def"), NOTHING]);
    }

    /// Engine probe: R7 again.
    fn packets_have_no_out_of_band_bytes() {
        let (packets, peer) = seqpacket();
        let (datagrams, _peer) = Datagram::pair().unwrap();
        let flags = SendFlags::OOB | SendFlags::NOSIGNAL;
        let refused = Err(rustix::io::Errno::OPNOTSUPP);
        assert_eq!(rustix::net::send(&packets, b"x", flags), refused);
        assert_eq!(rustix::net::send(&datagrams, b"x", flags), refused);
        hears_no_more(&peer);
    }
}
