//! R5: descriptors that travel.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, FdFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::thread::CapabilitySet;
use streampipe::os::linux::EndExt;
use streampipe::{FdError, PacketError};

use super::{
    Canary, Datagram, End, LONG, NOTHING, SHORT, SeqPacket, SocketStream, Stream, datagram, fill,
    hand, has_kernel, hears, hears_no_more, inside, say, seqpacket, stream, take, tests_of_types,
    with_child,
};
use crate::engines::{Receives, tests_of_engines};
use crate::support::{FreeDescriptors, file_with, identity, tests_alone};

/// The most descriptors one send carries.
const MOST: usize = 253;

/// More than any send buffer here holds.
const LOTS: usize = 2 << 20;

/// Why descriptors were not taken or handed over.
#[track_caller]
fn fd_error<T: std::fmt::Debug>(done: io::Result<T>, kind: ErrorKind) -> FdError {
    let error = done.expect_err("descriptors that cannot go this way");
    assert_eq!(error.kind(), kind, "{error}");
    inside(&error)
}

/// So many canaries and their writing ends.
fn canaries(count: usize) -> (Vec<Canary>, Vec<OwnedFd>) {
    (0..count).map(|_| Canary::new()).unzip()
}

/// Hands over the writing ends of so many pipes and keeps none of them.
#[track_caller]
fn hand_canaries(end: &impl End, bytes: &[u8], count: usize) -> Vec<Canary> {
    let (canaries, writers) = canaries(count);
    let borrowed: Vec<BorrowedFd<'_>> = writers.iter().map(AsFd::as_fd).collect();
    hand(end, bytes, &borrowed);
    canaries
}

/// Receives one message and its descriptors, and checks which bytes and how many they are.
#[track_caller]
fn takes(end: &impl End, bytes: &[u8], count: usize) -> Vec<OwnedFd> {
    let (heard, fds) = take(end);
    assert_eq!((&heard[..], fds.len()), (bytes, count), "{end:?}");
    fds
}

/// Checks what the next receives bring, where that is known only here.
#[track_caller]
fn hears_all(end: &impl End, expected: &[Vec<u8>]) {
    expected.iter().for_each(|bytes| hears(end, &[Ok(bytes)]));
}

/// Checks that these are the writing ends of those pipes, in this order.
#[track_caller]
fn are_heard(fds: &[OwnedFd], canaries: &[Canary]) {
    assert_eq!(fds.len(), canaries.len());
    for (fd, canary) in fds.iter().zip(canaries) {
        canary.hears(fd);
    }
}

/// Sends these blocks of descriptors in one call, as a program without this library can.
fn send_blocks(end: impl AsFd, bytes: &[u8], blocks: &[&[BorrowedFd<'_>]]) {
    let mut space = [MaybeUninit::uninit(); 256];
    let mut control = SendAncillaryBuffer::new(&mut space);
    for block in blocks {
        assert!(control.push(SendAncillaryMessage::ScmRights(block)), "room for all blocks");
    }
    let flags = SendFlags::NOSIGNAL;
    let sent = rustix::net::sendmsg(end, &[IoSlice::new(bytes)], &mut control, flags);
    assert_eq!(sent, Ok(bytes.len()));
}

tests_of_types! {
    fn a_descriptor_arrives_as_the_same_open_file<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let mut file = file_with(b"abcdef");
        hand(&a, b"file", &[file.as_fd()]);
        let mut arrived = File::from(takes(&b, b"file", 1).remove(0));
        assert_eq!(identity(&arrived), identity(&file));
        let mut two = [0; 2];
        arrived.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ab");
        file.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"cd", "the offset is shared");
        file.seek(SeekFrom::Start(1)).unwrap();
        assert_eq!(arrived.stream_position().unwrap(), 1);
    }

    /// Engine probe: descriptor numbers. Never 0, 1 or 2, where the kernel would take those, too.
    fn a_descriptor_arrives_at_the_lowest_free_number<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let file = file_with(b"");
        let mut taken: Vec<File> = (0..6).map(|_| file.try_clone().expect("room")).collect();
        hand(&a, b"x", &[file.as_fd(), file.as_fd()]);
        let numbers = [taken[1].as_raw_fd(), taken[4].as_raw_fd()];
        drop((taken.remove(4), taken.remove(1)));
        let arrived = takes(&b, b"x", 2);
        assert_eq!(arrived.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers);
    }

    /// The kernel wants `MSG_CMSG_CLOEXEC` for this.
    fn a_descriptor_arrives_close_on_exec_whatever_it_was<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (inherited, private) = (file_with(b""), file_with(b""));
        rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
        hand(&a, b"x", &[inherited.as_fd(), private.as_fd()]);
        for fd in takes(&b, b"x", 2) {
            assert_eq!(rustix::io::fcntl_getfd(&fd), Ok(FdFlags::CLOEXEC));
        }
        assert_eq!(rustix::io::fcntl_getfd(&inherited), Ok(FdFlags::empty()));
    }

    fn a_descriptor_arrives_though_its_sender_closed_all<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"x", 1);
        drop(a);
        assert!(!canaries[0].is_gone(), "in flight is open");
        let arrived = takes(&b, b"x", 1);
        are_heard(&arrived, &canaries);
        drop(arrived);
        assert!(canaries[0].is_gone());
    }

    fn descriptors_keep_their_order_within_and_across_sends<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let first = hand_canaries(&a, b"x", 3);
        let second = hand_canaries(&a, b"y", 2);
        are_heard(&takes(&b, b"x", 3), &first);
        are_heard(&takes(&b, b"y", 2), &second);
    }

    fn one_descriptor_may_be_given_twice<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (canary, writer) = Canary::new();
        hand(&a, b"x", &[writer.as_fd(), writer.as_fd()]);
        drop(writer);
        let mut arrived = takes(&b, b"x", 2);
        assert_ne!(arrived[0].as_raw_fd(), arrived[1].as_raw_fd());
        drop(arrived.remove(0));
        canary.hears(&arrived[0]);
    }

    fn descriptors_travel_in_both_directions<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let there = hand_canaries(&a, b"there", 1);
        let back = hand_canaries(&b, b"back", 1);
        are_heard(&takes(&b, b"there", 1), &there);
        are_heard(&takes(&a, b"back", 1), &back);
    }

    /// Engine probe: the child's end is made of a descriptor.
    fn a_descriptor_outlives_the_process_that_sent_it<E: SocketStream | SeqPacket | Datagram>() {
        with_child(
            |end: E, child| {
                assert!(child.wait().expect("our child").success());
                let [reader, writer] = takes(&end, b"a pipe", 2).try_into().expect("two");
                let canary = Canary { reader };
                canary.hears(&writer);
                assert!(!canary.is_gone());
                drop(writer);
                assert!(canary.is_gone());
            },
            |end: E| {
                let (canary, writer) = Canary::new();
                hand(&end, b"a pipe", &[canary.reader.as_fd(), writer.as_fd()]);
            },
        );
    }

    fn both_kinds_of_receive_keep_the_order_of_data_and_descriptors<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        say(&a, b"before");
        let canaries = hand_canaries(&a, b"with", 1);
        say(&a, b"after");
        hears(&b, &[Ok(b"before")]);
        are_heard(&takes(&b, b"with", 1), &canaries);
        hears(&b, &[Ok(b"after")]);
    }

    /// In the kernel a read that takes their data closes them without a word.
    fn a_plain_receive_that_meets_descriptors_loses_nothing<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let again = b.try_clone().expect("room");
        let canaries = hand_canaries(&a, b"with", 2);
        say(&a, b"after");
        let Receives { with, after, .. } = Receives::of(b"", b"with", b"after");
        let waiting = FdError::Waiting { count: 2, bytes: with.len() };
        for end in [&b, &b, &again] {
            assert_eq!(fd_error(end.recv(&mut [0; 16]), ErrorKind::InvalidData), waiting);
        }
        are_heard(&takes(&again, &with, 2), &canaries);
        hears_all(&b, &after);
        assert!(canaries.iter().all(Canary::is_gone));
    }

    fn descriptors_that_wait_are_closed_with_the_end<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"with", 1);
        fd_error(b.recv(&mut [0; 8]), ErrorKind::InvalidData);
        assert!(!canaries[0].is_gone());
        drop(b);
        assert!(canaries[0].is_gone());
    }

    fn descriptors_that_were_met_come_before_the_end<E: Stream | SeqPacket>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"with", 1);
        drop(a);
        fd_error(b.recv(&mut [0; 8]), ErrorKind::InvalidData);
        are_heard(&takes(&b, b"with", 1), &canaries);
        hears(&b, &[NOTHING]);
    }

    fn as_many_as_253_descriptors_travel_together<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (canary, writer) = Canary::new();
        hand(&a, b"x", &[writer.as_fd(); MOST]);
        drop(writer);
        let arrived = takes(&b, b"x", MOST);
        canary.hears(&arrived[MOST - 1]);
        drop(arrived);
        assert!(canary.is_gone());
    }

    /// The kernel says `EINVAL`, as it does for much else.
    fn more_than_253_descriptors_are_refused_and_not_sent<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (canary, writer) = Canary::new();
        let sent = a.send_fds(b"x", &[writer.as_fd(); MOST + 1]);
        let expected = FdError::TooMany { given: 254, limit: 253 };
        assert_eq!(fd_error(sent, ErrorKind::InvalidInput), expected);
        hears_no_more(&b);
        drop(writer);
        assert!(canary.is_gone());
    }

    /// Engine probe: Linux merges what comes in several control messages.
    fn several_blocks_of_one_message_arrive_as_one<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (canaries, writers) = canaries(3);
        let (one, two) = ([writers[0].as_fd()], [writers[1].as_fd(), writers[2].as_fd()]);
        send_blocks(&a, b"x", &[&one, &two]);
        drop(writers);
        are_heard(&takes(&b, b"x", 3), &canaries);
    }

    /// The kernel delivers those that fit. Here it is all or none; the bytes stay either way.
    fn descriptors_without_room_are_lost_and_the_bytes_stay<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        for room in 0..3 {
            let canaries = hand_canaries(&a, b"with", 3);
            say(&a, b"after");
            let Receives { with, after, .. } = Receives::of(b"", b"with", b"after");
            let starved = FreeDescriptors::exactly(room);
            let received = b.recv_fds(&mut [0; 16]);
            drop(starved);
            let expected = FdError::Lost { arrived: room, bytes: with.len() };
            assert_eq!(fd_error(received, ErrorKind::Other), expected);
            assert!(canaries.iter().all(Canary::is_gone), "none is left open");
            match room {
                0 => hears(&b, &[Ok(&with)]),
                _ => drop(takes(&b, &with, 0)),
            }
            hears_all(&b, &after);
        }
        let (canaries, arrived) = hand_and_take(&a, &b, 2);
        are_heard(&arrived, &canaries);
    }

    fn just_enough_room_is_enough<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"with", 3);
        let starved = FreeDescriptors::exactly(3);
        let arrived = takes(&b, b"with", 3);
        drop(starved);
        are_heard(&arrived, &canaries);
    }

    fn a_plain_receive_without_room_says_what_is_lost<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"with", 2);
        let starved = FreeDescriptors::exactly(1);
        let received = b.recv(&mut [0; 8]);
        drop(starved);
        let expected = FdError::Lost { arrived: 1, bytes: 4 };
        assert_eq!(fd_error(received, ErrorKind::Other), expected);
        assert!(canaries.iter().all(Canary::is_gone));
        hears(&b, &[Ok(b"with")]);
        let (canaries, arrived) = hand_and_take(&a, &b, 2);
        are_heard(&arrived, &canaries);
    }

    fn an_end_that_refuses_descriptors_fails_their_sender<E: Stream | SeqPacket | Datagram>() {
        if !has_kernel(6, 16, "the kernel's refusal of descriptors") {
            return;
        }
        let (a, b) = E::pair();
        b.refuse_fds();
        let (canary, writer) = Canary::new();
        let error = a.send_fds(b"x", &[writer.as_fd()]).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        drop(writer);
        assert!(canary.is_gone());
        hears_no_more(&b);
        say(&a, b"bytes");
        hears(&b, &[Ok(b"bytes")]);
        hand(&a, b"none", &[]);
        assert!(takes(&b, b"none", 0).is_empty());
        let back = hand_canaries(&b, b"back", 1);
        are_heard(&takes(&a, b"back", 1), &back);
    }

    fn descriptors_queued_before_a_refusal_are_closed<E: Stream | SeqPacket | Datagram>() {
        for plainly in [true, false] {
            let (a, b) = E::pair();
            let canaries = hand_canaries(&a, b"with", 2);
            say(&a, b"after");
            b.refuse_fds();
            let received = match plainly {
                true => b.recv(&mut [0; 16]),
                false => b.recv_fds(&mut [0; 16]).map(|(len, _)| len),
            };
            let Receives { with, after, .. } = Receives::of(b"", b"with", b"after");
            let expected = FdError::Refused { arrived: 2, bytes: with.len() };
            assert_eq!(fd_error(received, ErrorKind::InvalidData), expected);
            assert!(canaries.iter().all(Canary::is_gone));
            hears(&b, &[Ok(&with)]);
            hears_all(&b, &after);
        }
    }

    fn an_end_is_not_sent_over_its_own_pair_unasked<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (file, again) = (file_with(b""), b.try_clone().expect("room"));
        for own in [a.as_fd(), b.as_fd(), again.as_fd()] {
            let sent = a.send_fds(b"x", &[file.as_fd(), own]);
            let expected = FdError::OverItself { index: 1 };
            assert_eq!(fd_error(sent, ErrorKind::InvalidInput), expected);
        }
        hears_no_more(&b);
    }

    /// Engine probe: what the kernel does unasked, and an end made of a descriptor.
    fn an_end_sent_over_its_own_pair_is_that_end<E: SocketStream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        a.allow_self();
        hand(&a, b"x", &[a.as_fd(), b.as_fd()]);
        let mut arrived = takes(&b, b"x", 2);
        let (b2, a2) = (arrived.remove(1), arrived.remove(0));
        assert_eq!((identity(&a2), identity(&b2)), (identity(&a), identity(&b)));
        drop((a, b));
        let (a2, b2) = (E::try_from(a2).expect("an end"), E::try_from(b2).expect("an end"));
        say(&a2, b"still a pair");
        hears(&b2, &[Ok(b"still a pair")]);
    }

    fn descriptors_in_flight_are_closed_with_both_ends<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let mut canaries = hand_canaries(&a, b"x", 2);
        canaries.extend(hand_canaries(&b, b"y", 1));
        drop(a);
        assert!(!canaries[0].is_gone(), "the receiver can still take it");
        drop(b);
        assert!(canaries.iter().all(Canary::goes));
    }

    /// As the next ones: ends that only other queued ends keep alive, which the kernel collects.
    fn an_end_queued_in_itself_is_collected<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let (canary, writer) = Canary::new();
        a.allow_self();
        hand(&a, b"x", &[b.as_fd(), writer.as_fd()]);
        drop((a, writer));
        assert!(!canary.is_gone());
        drop(b);
        assert!(canary.goes());
    }

    fn ends_queued_in_a_ring_are_collected<E: Stream | SeqPacket | Datagram>() {
        for length in [2, 3, 7] {
            let pairs: Vec<(E, E)> = (0..length).map(|_| E::pair()).collect();
            let (canaries, writers) = canaries(length);
            for (at, writer) in writers.iter().enumerate() {
                let next = &pairs[(at + 1) % length].1;
                hand(&pairs[at].0, b"x", &[next.as_fd(), writer.as_fd()]);
            }
            drop(writers);
            assert!(!canaries.iter().any(Canary::is_gone));
            drop(pairs);
            assert!(canaries.iter().all(Canary::goes), "a ring of {length}");
        }
    }

    fn rings_that_share_an_end_and_their_tail_are_collected<E: Stream | SeqPacket | Datagram>() {
        let [one, two, three, tail] = [E::pair(), E::pair(), E::pair(), E::pair()];
        let canaries = hand_canaries(&tail.0, b"x", 1);
        for (from, to) in [(&one, &two), (&two, &one), (&two, &three), (&three, &two)] {
            hand(&from.0, b"x", &[to.1.as_fd()]);
        }
        hand(&three.0, b"x", &[tail.1.as_fd()]);
        drop(tail);
        assert!(!canaries[0].is_gone());
        drop((one, two, three));
        assert!(canaries[0].goes());
    }

    /// Engine probe: the end that arrives is made of a descriptor.
    fn a_ring_that_somebody_can_still_receive_is_not_collected<E: SocketStream | SeqPacket | Datagram>() {
        let [held, other, garbage] = [E::pair(), E::pair(), E::pair()];
        let (canary, writer) = Canary::new();
        hand(&held.0, b"x", &[other.1.as_fd()]);
        hand(&other.0, b"x", &[held.1.as_fd(), writer.as_fd()]);
        garbage.0.allow_self();
        let (gone, garbage_writer) = Canary::new();
        hand(&garbage.0, b"x", &[garbage.1.as_fd(), garbage_writer.as_fd()]);
        let (_a, b) = held;
        drop((other, writer, garbage, garbage_writer));
        assert!(gone.goes(), "the collector has run");
        assert!(!canary.is_gone());
        let other = E::try_from(takes(&b, b"x", 1).remove(0)).expect("an end");
        canary.hears(&takes(&other, b"x", 2)[1]);
    }

    /// Its 0 bytes are told of with the error, so that they are no end afterwards.
    fn a_packet_of_0_bytes_that_lost_its_descriptors_is_over<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"", 2);
        say(&a, b"after");
        let starved = FreeDescriptors::exactly(1);
        let received = b.recv_fds(&mut [0; 8]);
        drop(starved);
        let expected = FdError::Lost { arrived: 1, bytes: 0 };
        assert_eq!(fd_error(received, ErrorKind::Other), expected);
        assert!(canaries.iter().all(Canary::is_gone));
        hears(&b, &[Ok(b"after")]);
    }

    fn descriptors_of_a_packet_too_long_are_closed_and_counted<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let expected = PacketError::TooLong { packet: 10, buffer: 4, fds_closed: 2 };
        for plainly in [true, false] {
            let canaries = hand_canaries(&a, b"0123456789", 2);
            let received = match plainly {
                true => b.recv(&mut [0; 4]),
                false => b.recv_fds(&mut [0; 4]).map(|(len, _)| len),
            };
            let error = received.expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(inside::<PacketError>(&error), expected);
            assert!(canaries.iter().all(Canary::is_gone));
        }
        hears_no_more(&b);
    }

    fn a_packet_that_waits_is_not_lost_to_a_short_buffer<E: SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let canaries = hand_canaries(&a, b"0123456789", 1);
        fd_error(b.recv(&mut [0; 10]), ErrorKind::InvalidData);
        let error = b.recv_fds(&mut [0; 4]).expect_err("too long");
        let expected = PacketError::Waiting { packet: 10, buffer: 4 };
        assert_eq!(inside::<PacketError>(&error), expected);
        are_heard(&takes(&b, b"0123456789", 1), &canaries);
    }

    fn a_full_pipe_takes_no_descriptors_either<E: Stream | SeqPacket | Datagram>() {
        let (a, b) = E::pair();
        let queued = fill(&a, b"four");
        let (canary, writer) = Canary::new();
        a.set_nonblocking(true);
        let error = a.send_fds(b"four", &[writer.as_fd()]).expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        a.set_nonblocking(false);
        a.set_write_timeout(Some(SHORT)).unwrap();
        let error = a.send_fds(b"four", &[writer.as_fd()]).expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(writer);
        assert!(canary.is_gone());
        for _ in 0..queued {
            assert_eq!(b.recv(&mut [0; 4]).unwrap(), 4);
        }
        hears_no_more(&b);
    }

    /// Engine probe: the kernel's limit for who has no privileges, over all processes of the user.
    fn too_many_descriptors_in_flight_are_refused<E: SocketStream | SeqPacket | Datagram>() {
        let own = rustix::thread::capabilities(None).expect("of this thread");
        let mut fewer = own;
        fewer.effective -= CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE;
        rustix::thread::set_capabilities(None, fewer).expect("fewer are always allowed");
        let (a, b) = E::pair();
        let (canary, writer) = Canary::new();
        let limit = FreeDescriptors::exactly(10);
        let mut sent = 0;
        let error = loop {
            match a.send_fds(b"x", &[writer.as_fd()]) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 200, "no limit is known that is as high");
        };
        assert_eq!(error.raw_os_error(), Some(Errno::TOOMANYREFS.raw_os_error()));
        drop(limit);
        rustix::thread::set_capabilities(None, own).expect("they are still permitted");
        drop(writer);
        for _ in 0..sent {
            canary.hears(&take(&b).1[0]);
        }
        hears_no_more(&b);
        assert!(canary.is_gone());
    }
}

/// One message with so many descriptors, there and taken.
fn hand_and_take<E: End>(a: &E, b: &E, count: usize) -> (Vec<Canary>, Vec<OwnedFd>) {
    let canaries = hand_canaries(a, b"once more", count);
    let arrived = takes(b, b"once more", count);
    (canaries, arrived)
}

tests_of_engines! {
    /// 4 bytes, 1 byte with a descriptor, 4 bytes: 5 with the descriptor and 4, or 4 and 5 with it.
    fn a_stream_hands_over_descriptors_with_their_first_byte_and_its_neighbours() {
        let (a, b) = stream();
        say(&a, b"0123");
        let canaries = hand_canaries(&a, b"4", 1);
        say(&a, b"5678");
        let Receives { before, with, after } = Receives::of(b"0123", b"4", b"5678");
        for bytes in &before {
            takes(&b, bytes, 0);
        }
        are_heard(&takes(&b, &with, 1), &canaries);
        hears_all(&b, &after);
    }

    fn a_stream_never_joins_two_sends_with_descriptors() {
        let (a, b) = stream();
        let one = hand_canaries(&a, b"one", 1);
        let two = hand_canaries(&a, b"two", 2);
        are_heard(&takes(&b, b"one", 1), &one);
        are_heard(&takes(&b, b"two", 2), &two);
    }

    fn a_stream_joins_sends_of_no_descriptors() {
        let (a, b) = stream();
        say(&a, b"one");
        hand(&a, b"two", &[]);
        say(&a, b"three");
        hears(&b, &[Ok(b"onetwothree")]);
    }

    fn descriptors_come_with_the_first_of_their_bytes_and_only_then() {
        let (a, b) = stream();
        let canaries = hand_canaries(&a, b"0123456789", 1);
        let mut buffer = [0; 4];
        let (len, arrived) = b.recv_fds(&mut buffer).unwrap();
        assert_eq!((len, &buffer), (4, b"0123"));
        are_heard(&arrived, &canaries);
        assert_eq!(b.recv_fds(&mut buffer).unwrap().1.len(), 0);
        hears(&b, &[Ok(b"89")]);
    }

    fn a_read_of_a_stream_that_meets_descriptors_keeps_the_earlier_bytes_too() {
        let (a, mut b) = stream();
        say(&a, b"0123");
        let canaries = hand_canaries(&a, b"4", 1);
        say(&a, b"5678");
        let (mut two, mut many) = ([0; 2], [0; 8]);
        let into = &mut [&mut two[..], &mut many].map(IoSliceMut::new);
        let Receives { before, with, after } = Receives::of(b"0123", b"4", b"5678");
        for bytes in &before {
            assert_eq!(b.read_vectored(into).unwrap(), bytes.len());
        }
        let waiting = FdError::Waiting { count: 1, bytes: with.len() };
        assert_eq!(fd_error(b.read_vectored(into), ErrorKind::InvalidData), waiting);
        assert_eq!(b.read(&mut []).unwrap(), 0, "no bytes are asked for");
        are_heard(&takes(&b, &with, 1), &canaries);
        hears_all(&b, &after);
    }

    fn a_stream_hands_over_what_waits_piece_by_piece() {
        let (a, b) = stream();
        let canaries = hand_canaries(&a, b"0123456789", 1);
        say(&a, b"after");
        fd_error(b.recv(&mut [0; 10]), ErrorKind::InvalidData);
        let mut buffer = [0; 4];
        let (len, arrived) = b.recv_fds(&mut buffer).unwrap();
        assert_eq!((len, &buffer), (4, b"0123"));
        are_heard(&arrived, &canaries);
        assert_eq!(b.recv(&mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"4567");
        let Receives { with, after, .. } = Receives::of(b"", b"89", b"after");
        hears(&b, &[Ok(&with)]);
        hears_all(&b, &after);
    }

    /// The kernel sends nothing, closes nothing, and says that all is well.
    fn descriptors_without_bytes_are_refused_on_a_stream() {
        let (a, b) = stream();
        let (canary, writer) = Canary::new();
        let sent = a.send_fds(b"", &[writer.as_fd(); 3]);
        assert_eq!(fd_error(sent, ErrorKind::InvalidInput), FdError::NoBytes { given: 3 });
        drop(writer);
        assert!(canary.is_gone());
        hears_no_more(&b);
    }

    fn a_scattered_read_of_0_bytes_returns_0_while_descriptors_wait() {
        let (a, mut b) = stream();
        let canaries = hand_canaries(&a, b"x", 1);
        assert_eq!(b.read_vectored(&mut []).unwrap(), 0);
        fd_error(b.recv(&mut [0]), ErrorKind::InvalidData);
        assert_eq!(b.read_vectored(&mut []).unwrap(), 0);
        are_heard(&takes(&b, b"x", 1), &canaries);
    }

    /// The kernel hands over the descriptors with no byte; here both wait.
    fn a_receive_of_0_bytes_of_a_stream_leaves_descriptors_where_they_are() {
        let (a, b) = stream();
        let canaries = hand_canaries(&a, b"x", 1);
        assert_eq!(b.recv(&mut []).unwrap(), 0);
        let error = b.recv_fds(&mut []).expect_err("no room for a byte");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        are_heard(&takes(&b, b"x", 1), &canaries);
    }

    fn descriptors_of_a_large_send_arrive_exactly_once() {
        for timeout in [None, Some(LONG)] {
            let (a, b) = stream();
            a.set_write_timeout(timeout).unwrap();
            let (canary, writer) = Canary::new();
            let bytes = vec![b'x'; LOTS];
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| a.send_fds(&bytes, &[writer.as_fd()]));
                let mut buffer = vec![0; 5000];
                let (mut len, arrived) = b.recv_fds(&mut buffer).unwrap();
                canary.hears(&arrived[0]);
                while len < LOTS {
                    let (more, none) = b.recv_fds(&mut buffer).unwrap();
                    assert!(more > 0 && none.is_empty(), "{more} bytes, {} fds", none.len());
                    len += more;
                }
                assert_eq!(sender.join().unwrap().expect("all"), LOTS);
            });
        }
    }

    fn a_large_send_that_cannot_be_finished_has_sent_its_descriptors_once() {
        for nonblocking in [true, false] {
            let (a, b) = stream();
            a.set_nonblocking(nonblocking).unwrap();
            a.set_write_timeout(Some(SHORT)).unwrap();
            let (canary, writer) = Canary::new();
            let taken = a.send_fds(&vec![b'x'; LOTS], &[writer.as_fd()]).expect("a part");
            assert!(0 < taken && taken < LOTS);
            drop(writer);
            assert_eq!(b.fds_queued(), Some(1));
            canary.hears(&take(&b).1[0]);
            assert_eq!((b.fds_queued(), b.bytes_queued().unwrap()), (Some(0), taken as u64 - 64));
        }
    }

    fn a_send_cut_short_by_a_close_returns_what_was_taken() {
        let (a, b) = stream();
        let (canary, writer) = Canary::new();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| a.send_fds(&vec![b'x'; LOTS], &[writer.as_fd()]));
            canary.hears(&b.recv_fds(&mut [0]).unwrap().1[0]);
            drop(b);
            let taken = sender.join().unwrap().expect("a part, with the descriptor");
            assert!(0 < taken && taken < LOTS);
        });
        drop(writer);
        assert!(canary.is_gone());
    }

    fn descriptors_to_a_peer_that_reads_no_more_are_not_kept() {
        let (a, b) = stream();
        b.shutdown(Shutdown::Read).unwrap();
        let (canary, writer) = Canary::new();
        let error = a.send_fds(b"x", &[writer.as_fd()]).expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        drop(writer);
        assert!(canary.is_gone());
    }
}

tests_alone! {
    fn a_packet_of_0_bytes_carries_descriptors() {
        let (a, b) = datagram();
        let canaries = hand_canaries(&a, b"", 1);
        are_heard(&takes(&b, b"", 1), &canaries);
        let canaries = hand_canaries(&a, b"", 2);
        let waiting = FdError::Waiting { count: 2, bytes: 0 };
        assert_eq!(fd_error(b.recv(&mut []), ErrorKind::InvalidData), waiting);
        are_heard(&takes(&b, b"", 2), &canaries);
        hears_no_more(&b);
    }

    fn a_packet_of_0_bytes_with_descriptors_is_not_the_end() {
        let (a, b) = seqpacket();
        let canaries = hand_canaries(&a, b"", 1);
        are_heard(&takes(&b, b"", 1), &canaries);
        let canaries = hand_canaries(&a, b"", 2);
        drop(a);
        let waiting = FdError::Waiting { count: 2, bytes: 0 };
        assert_eq!(fd_error(b.recv(&mut [0; 8]), ErrorKind::InvalidData), waiting);
        are_heard(&takes(&b, b"", 2), &canaries);
        hears(&b, &[NOTHING]);
    }
}
