//! A peer that does not follow the protocol gets an error, and nothing into our descriptor table.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streampipe::{Budget, RawChannel, RecvError};
use streampipe_wire::{Header, Kind, MAX_FDS, MAX_PAYLOAD, Malformed, Torn};

use super::peer::{
    Files, HEADER, Peer, are_same, bringing, expect_closed, expect_message, expect_nothing, first,
    pieces, withdrawal,
};
use crate::engines::tests_of_engines;
use crate::support::{Descriptors, FreeDescriptors, skip, tests_alone};

/// A body that is given an end with this error, for good.
fn expect_final(ours: &RawChannel, expected: impl Fn(&RecvError) -> bool) {
    let open = Descriptors::now();
    for _ in 0..2 {
        let error = ours.try_recv().expect_err("the peer does not follow the protocol");
        assert!(expected(&error) && error.is_final(), "{error:?}");
    }
    assert_eq!(Descriptors::now().count(), open.count(), "a descriptor came in");
}

fn expect_unexpected(ours: &RawChannel, due: usize, came: usize) {
    let is_it = |error: &RecvError| matches!(error, RecvError::UnexpectedFds { due: d, came: c } if (*d, *c) == (due, came));
    expect_final(ours, is_it);
}

fn expect_malformed(ours: &RawChannel) {
    expect_final(ours, |error| matches!(error, RecvError::Malformed(_)));
}

fn expect_wrong_length(ours: &RawChannel, claimed: usize, packet: usize) {
    let (claimed, packet) = (claimed as u64, packet as u64);
    let wrong = Malformed::Length { claimed, packet };
    expect_final(ours, |error| matches!(error, RecvError::Malformed(it) if *it == wrong));
}

fn expect_too_large(ours: &RawChannel, fds: u32) {
    let error = ours.try_recv().expect_err("it is beyond the budget");
    assert!(matches!(&error, RecvError::TooLarge(it) if it.fds == fds), "{error:?}");
    assert!(!error.is_final());
}

/// Sends a message of one frame, with descriptors that it does not announce from this byte on.
fn put_with_stray_fds(peer: &Peer, at: usize, fds: &[BorrowedFd<'_>]) {
    let message = &pieces(b"plain", 0)[0].bytes;
    if at > 0 {
        peer.put(&message[..at], &[]);
    }
    peer.put(&message[at..], fds);
}

/// More than enough for two threads to meet.
const MOST_TRIES: u32 = 300_000;

/// Receives the message that may lose its descriptors; whether it did.
fn receive_poor(ours: &RawChannel, fds: &[BorrowedFd<'_>]) -> bool {
    loop {
        match ours.try_recv() {
            Ok(message) => {
                assert!(message.bytes == b"poor" && are_same(&message.fds, fds));
                return false;
            }
            Err(RecvError::NoRoom { needed: 2 }) => {}
            Err(RecvError::FdsLost { sent: 2, came: 0 | 1, .. }) => return true,
            Err(other) => panic!("{other:?}"),
        }
    }
}

tests_of_engines! {
    fn descriptors_on_any_byte_that_were_not_announced_are_refused() {
        let files = Files::new();
        for count in [1, 253] {
            let fds = files.some(0, count);
            let (peer, ours) = Peer::of_packets();
            put_with_stray_fds(&peer, 0, &fds);
            expect_unexpected(&ours, 0, 0);
            for at in 0..HEADER + 5 {
                let (peer, ours) = Peer::of_bytes();
                put_with_stray_fds(&peer, at, &fds);
                expect_unexpected(&ours, 0, 0);
                // And when the bytes before were received before.
                let (peer, ours) = Peer::of_bytes();
                let message = &pieces(b"plain", 0)[0].bytes;
                for (place, byte) in message.iter().enumerate() {
                    peer.put(&[*byte], if place == at { &fds } else { &[] });
                    if place < at {
                        expect_nothing(&ours);
                    }
                }
                expect_unexpected(&ours, 0, 0);
            }
        }
    }

    fn where_descriptors_are_refused_none_can_be_sent() {
        let files = Files::new();
        let fds = files.some(0, 1);
        for (peer, ours) in Peer::of_each_kind() {
            ours.refuse_fds().expect("a socket of ours");
            let [begin, bring] = <[_; 2]>::try_from(pieces(b"text", 1)).ok().expect("two frames");
            peer.put(&begin.bytes, &[]);
            expect_too_large(&ours, 1);
            if let Err(error) = peer.try_put(&bring.bytes, &fds) {
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
                peer.put(&bring.bytes, &[]);
            }
            peer.put_message(b"plain", &[]);
            expect_message(&ours, b"plain", &[]);
            match peer.try_put(&pieces(b"plain", 0)[0].bytes, &fds) {
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
                // A kernel that cannot refuse them: they are closed before they come in.
                Ok(_) => expect_unexpected(&ours, 0, 0),
            }
        }
    }

    fn more_or_fewer_descriptors_than_announced_are_refused() {
        let files = Files::new();
        let fds = files.some(0, 253);
        for (due, sent, came) in [(2, 3, 2), (2, 253, 2), (2, 1, 1), (2, 0, 0), (253, 252, 252)] {
            for (peer, ours) in Peer::of_each_kind() {
                peer.put_frame(first(0, 0, due), b"", &[]);
                peer.put_frame(bringing(due as u16, 0), b"", &fds[..sent]);
                expect_unexpected(&ours, due as usize, came);
            }
        }
        // Of a message that is not wanted, none are.
        for (peer, ours) in Peer::of_each_kind() {
            ours.set_budget(Budget::default().message_fds(1));
            peer.put_frame(first(0, 0, 2), b"", &[]);
            peer.put_frame(bringing(2, 0), b"", &fds);
            peer.put_message(b"next", &fds[..1]);
            expect_too_large(&ours, 2);
            expect_message(&ours, b"next", &fds[..1]);
        }
    }

    fn bombs_of_descriptors_never_enter_our_table() {
        if !rustix::process::geteuid().is_root() {
            return skip("bombs of descriptors", "only the superuser may have so many in flight");
        }
        let files = Files::new();
        let fds = files.some(0, MAX_FDS.into());
        for (peer, ours) in Peer::of_each_kind() {
            // None that comes in goes unnoticed: there is no room for it.
            let full = FreeDescriptors::exactly(0);
            (0..200).for_each(|_| put_with_stray_fds(&peer, 0, &fds));
            let received = ours.try_recv();
            let refused = matches!(received, Err(RecvError::UnexpectedFds { due: 0, came: 0 }));
            assert!(refused, "{received:?}");
            drop(full);
            expect_unexpected(&ours, 0, 0);
        }
        for (peer, ours) in Peer::of_each_kind() {
            ours.set_budget(Budget::small());
            let full = FreeDescriptors::exactly(0);
            for round in 0..200 {
                // One and a half of them at once.
                peer.put_message(b"bomb", &files.some(0, 253 + 100));
                let received = ours.try_recv();
                assert!(matches!(received, Err(RecvError::TooLarge(_))), "{round}: {received:?}");
            }
            peer.put_message(b"after all", &[]);
            expect_message(&ours, b"after all", &[]);
            drop(full);
        }
    }

    fn a_message_whose_descriptors_find_no_room_takes_none_of_it() {
        let files = Files::new();
        for (count, free) in [(1, 0), (4, 3), (5, 4), (253, 252), (254, 253), (600, 300), (600, 599)] {
            for (peer, ours) in Peer::of_each_kind() {
                let fds = files.some(0, count);
                peer.put_message(b"many", &fds);
                let scarce = FreeDescriptors::exactly(free);
                for _ in 0..2 {
                    let received = ours.try_recv();
                    let waits = matches!(received, Err(RecvError::NoRoom { needed }) if needed == count);
                    assert!(waits, "{count} descriptors and room for {free}: {received:?}");
                }
                drop(scarce);
                let open = Descriptors::now().count();
                expect_message(&ours, b"many", &fds);
                // All of them were open for a moment: none stays when the message goes.
                assert_eq!(Descriptors::now().count(), open);
            }
        }
    }

    fn a_message_whose_descriptors_find_room_later_is_waited_for() {
        let files = Files::new();
        for (peer, ours) in Peer::of_each_kind() {
            peer.put_message(b"many", &files.some(0, 300));
            let scarce = FreeDescriptors::exactly(299);
            // However late it is when the first frame has been read, what is behind it is looked at.
            for timeout in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(1)] {
                let received = ours.recv_timeout(timeout);
                let is_so = matches!(received, Err(RecvError::NoRoom { needed: 300 }));
                assert!(is_so, "{timeout:?}: {received:?}");
            }
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| ours.recv_timeout(Duration::from_secs(100)));
                drop(scarce);
                let received = waiting.join().expect("no panic");
                assert_eq!(received.expect("the message").fds.len(), 300);
            });
        }
    }

    /// The room that was there is taken in the instant before they come.
    fn descriptors_that_another_thread_takes_the_room_of_cost_one_message() {
        // With a low limit, those that other tests of this user have in flight count against it.
        if !rustix::process::geteuid().is_root() {
            return skip("room that another takes", "only the superuser may have so many in flight");
        }
        let files = Files::new();
        for (peer, ours) in Peer::of_each_kind() {
            let fds = files.some(0, 2);
            let scarce = FreeDescriptors::exactly(2);
            let is_over = AtomicBool::new(false);
            let mut lost = 0;
            std::thread::scope(|scope| {
                scope.spawn(|| while !is_over.load(Ordering::Relaxed) {
                    drop(fds[0].try_clone_to_owned());
                });
                for _ in 0..MOST_TRIES {
                    peer.put_message(b"poor", &fds);
                    peer.put_message(b"next", &[]);
                    lost += u32::from(receive_poor(&ours, &fds));
                    expect_message(&ours, b"next", &[]);
                    if lost == 5 {
                        break;
                    }
                }
                is_over.store(true, Ordering::Relaxed);
            });
            drop(scarce);
            assert!(lost > 0, "the other thread never took the room");
        }
    }

    fn a_message_can_be_withdrawn_at_every_place() {
        let files = Files::new();
        let fds = files.some(0, 300);
        for (peer, ours) in Peer::of_each_kind() {
            let before = Descriptors::now();
            let payload = vec![7; MAX_PAYLOAD as usize + 10];
            let whole = pieces(&payload, fds.len());
            assert_eq!(whole.len(), 4);
            for count in 1..whole.len() {
                for piece in &whole[..count] {
                    peer.put(&piece.bytes, &fds[piece.fds.clone()]);
                    expect_nothing(&ours);
                }
                peer.put_frame(withdrawal(), b"", &[]);
                expect_nothing(&ours);
                assert_eq!(Descriptors::now(), before, "{count} frames and a withdrawal");
                peer.put_message(b"next", &fds[..2]);
                expect_message(&ours, b"next", &fds[..2]);
            }
            peer.put_message(b"whole", &[]);
            peer.put_frame(withdrawal(), b"", &[]);
            expect_message(&ours, b"whole", &[]);
            expect_malformed(&ours);
        }
    }

    fn a_withdrawal_brings_nothing() {
        let files = Files::new();
        for (peer, ours) in Peer::of_each_kind() {
            peer.put_frame(withdrawal(), b"", &[]);
            expect_malformed(&ours);
        }
        for (peer, ours) in Peer::of_each_kind() {
            peer.put_frame(first(1, 1, 0), b"x", &[]);
            peer.put_frame(Header { id: 1, ..withdrawal() }, b"", &[]);
            expect_malformed(&ours);
        }
        for (rest, rest_fds, came) in [(1, 0, 0), (0, 1, 1), (0, 2, 2), (0, 253, 253)] {
            for (peer, ours) in Peer::of_each_kind() {
                peer.put_frame(first(1, rest, rest_fds), b"x", &[]);
                peer.put_frame(withdrawal(), b"", &files.some(0, 253));
                expect_unexpected(&ours, 0, came);
            }
        }
    }

    fn frames_out_of_turn_are_refused() {
        let begun = Header { id: 0, ..first(1, 9, 2) };
        let nexts = [
            first(9, 1, 2), first(9, 0, 1), first(9, 0, 3), first(0, 9, 2), first(8, 0, 2),
            Header { id: 1, ..first(9, 0, 2) },
            Header { kind: Kind::Request, ..first(9, 0, 2) },
            Header { fds: 1, ..first(9, 0, 1) },
            Header { rest: 9, ..bringing(2, 0) },
            first(0, 0, 0), first(u32::MAX, 0, 0), bringing(2, 0),
        ];
        for next in nexts {
            for (peer, ours) in Peer::of_each_kind() {
                peer.put_frame(begun, b"x", &[]);
                peer.put_frame(next, &vec![0; next.length.min(100) as usize], &[]);
                expect_malformed(&ours);
            }
        }
        // Nor may a message begin like that.
        let firsts = [
            bringing(1, 0), first(0, 1, 0), first(0, u64::MAX, 0), first(MAX_PAYLOAD + 1, 0, 0),
            first(1, u64::MAX, 0), Header { fds: 254, ..first(0, 0, 0) },
            Header { fds: 1, rest_fds: u32::MAX, ..first(1, 0, 0) },
        ];
        for header in firsts {
            for (peer, ours) in Peer::of_each_kind() {
                peer.put_frame(header, &vec![0; header.length.min(100) as usize], &[]);
                expect_malformed(&ours);
            }
        }
    }

    fn headers_with_any_wrong_byte_in_their_fixed_part_are_refused() {
        let header = first(1, 0, 0).to_bytes();
        for at in 0..6 {
            for byte in (0..=255).filter(|&byte| byte != header[at]) {
                let may_be = at == 3 && (2..=4).contains(&byte);
                for (peer, ours) in Peer::of_each_kind().into_iter().filter(|_| !may_be) {
                    let mut frame = [&header[..], b"x"].concat();
                    frame[at] = byte;
                    peer.put(&frame, &[]);
                    expect_malformed(&ours);
                }
            }
        }
    }

    fn a_message_that_never_ends_ends_with_its_peer() {
        for (peer, ours) in Peer::of_each_kind() {
            peer.put_frame(first(3, 100, 7), b"and", &[]);
            expect_nothing(&ours);
            let received = ours.recv_timeout(Duration::from_millis(1));
            assert!(matches!(received, Err(RecvError::TimedOut)), "{received:?}");
            drop(peer);
            let between = Torn { have: 0, need: HEADER as u64 };
            let received = ours.recv();
            assert!(matches!(received, Err(RecvError::Torn(it)) if it == between), "{received:?}");
            expect_closed(&ours);
        }
    }

    /// It closes its end with something of ours unread, which is a reset.
    fn a_reset_inside_of_a_message_is_told_as_the_tear_that_it_is() {
        for (peer, ours) in Peer::of_each_kind() {
            ours.send(b"unread", &[]).expect("room");
            peer.put_frame(first(3, 100, 0), b"and", &[]);
            drop(peer);
            let between = Torn { have: 0, need: HEADER as u64 };
            let received = ours.recv();
            assert!(matches!(received, Err(RecvError::Torn(it)) if it == between), "{received:?}");
            expect_closed(&ours);
        }
        for (peer, ours) in Peer::of_each_kind() {
            ours.send(b"unread", &[]).expect("room");
            peer.put_message(b"whole", &[]);
            drop(peer);
            expect_message(&ours, b"whole", &[]);
            assert!(matches!(ours.recv(), Err(RecvError::Reset)));
            expect_closed(&ours);
        }
    }

    /// How much a call takes whose deadline has passed is shown in `time`.
    fn what_is_not_for_us_is_in_the_way_of_no_call_whose_deadline_has_passed() {
        let answer = |peer: &Peer| peer.put_frame(Header::new(Kind::Answer, 77), b"", &[]);
        let withdrawn = |peer: &Peer| {
            peer.put_frame(first(1, 1, 0), b"x", &[]);
            peer.put_frame(withdrawal(), b"", &[]);
        };
        for flood in [&answer as &dyn Fn(&Peer), &withdrawn] {
            for (peer, ours) in Peer::of_each_kind() {
                (0..100).for_each(|_| flood(&peer));
                peer.put_message(b"at last", &[]);
                let received = ours.recv_timeout(Duration::ZERO);
                assert_eq!(received.expect("it is there").bytes, b"at last");
            }
        }
    }
}

tests_alone! {
    fn packets_of_nothing_are_an_error_and_no_end() {
        let (peer, ours) = Peer::of_packets();
        for _ in 0..278 {
            rustix::net::send(peer.as_fd(), b"", rustix::net::SendFlags::DONTWAIT).expect("room");
        }
        expect_wrong_length(&ours, HEADER, 0);
        drop(peer);
        expect_wrong_length(&ours, HEADER, 0);
        // In front of a message, or of the end: nothing is made of them that was not sent.
        let (peer, ours) = Peer::of_packets();
        rustix::net::send(peer.as_fd(), b"", rustix::net::SendFlags::DONTWAIT).expect("room");
        drop(peer);
        let received = ours.try_recv();
        assert!(matches!(received, Err(RecvError::Malformed(_) | RecvError::Closed)));
    }

    fn packets_that_are_too_short_or_too_long_are_refused() {
        let whole = &pieces(b"seven b", 0)[0].bytes;
        for len in 1..whole.len() {
            let (peer, ours) = Peer::of_packets();
            peer.put(&whole[..len], &[]);
            expect_wrong_length(&ours, if len < HEADER { HEADER } else { whole.len() }, len);
        }
        for more in [1, HEADER, MAX_PAYLOAD as usize, 100_000] {
            let (peer, ours) = Peer::of_packets();
            peer.put(&[&whole[..], &vec![0; more]].concat(), &[]);
            expect_wrong_length(&ours, whole.len(), whole.len() + more);
        }
        // In the middle of a message there is less room.
        for (len, more) in [(10, 0), (10, 1), (9, 1), (11, 0)] {
            let (peer, ours) = Peer::of_packets();
            peer.put_frame(first(1, 10, 0), b"x", &[]);
            peer.put_frame(first(len, 10_u64.saturating_sub(len.into()), 0), &vec![0; len as usize + more], &[]);
            if (len, more) == (10, 0) {
                expect_message(&ours, b"x\0\0\0\0\0\0\0\0\0\0", &[]);
            } else {
                expect_malformed(&ours);
            }
        }
    }
}
