//! Defects that were found in other libraries, each named after what went wrong there, and shown
//! not to be here. Two that belong to the cellar stand in its tests: `SCM_PIDFD` leaked (rustix,
//! uds, sendfd, nix) in `message.rs`, and a failed exec that was reported as a success and wrote
//! into the user's pipe (command-fds) in `spawn.rs`.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::FdFlags;
use streampipe::{FdError, SeqPacket};

use crate::engines::{Receives, pair, pair_with_room, tests_of_engines};
use crate::support::{self, Descriptors, FreeDescriptors, tests_alone};

fn fd_error(error: &std::io::Error) -> FdError {
    *error.get_ref().and_then(|inside| inside.downcast_ref()).expect("our own kind inside")
}

fn is_close_on_exec(fd: impl AsFd) -> bool {
    rustix::io::fcntl_getfd(fd).expect("open").contains(FdFlags::CLOEXEC)
}

tests_of_engines! {
    /// rustix 1.1.6: draining some of the received descriptors and dropping the rest leaks them,
    /// and reads beyond a slice.
    fn descriptors_taken_in_part_are_closed_in_whole() {
        let (a, b) = pair().unwrap();
        a.send_fds(b"x", &[std::io::stderr().as_fd(); 5]).unwrap();
        let before = Descriptors::now().count();
        let (_, fds) = b.recv_fds(&mut [0]).unwrap();
        let first = fds.into_iter().next();
        assert_eq!(Descriptors::now().count(), before + 1);
        drop(first);
    }

    /// nix 0.31.3: a truncated receive is an error, and what did arrive stays open for ever.
    fn a_starved_receive_closes_what_arrived_and_keeps_the_data() {
        for free in 0..5 {
            let (a, b) = pair().unwrap();
            a.send_fds(b"data", &[std::io::stderr().as_fd(); 5]).unwrap();
            let before = Descriptors::now();
            let limit = FreeDescriptors::exactly(free);
            let error = b.recv_fds(&mut [0; 16]).unwrap_err();
            drop(limit);
            assert_eq!(fd_error(&error), FdError::Lost { arrived: free, bytes: 4 });
            let text = error.to_string();
            assert!(text.contains(&format!("at least {} descriptors", free + 1)), "{text}");
            let left = Descriptors::now();
            assert_eq!(before.count(), left.count());
            let mut data = [0; 16];
            assert_eq!((&b).read(&mut data).unwrap(), 4);
            a.send_fds(b"more", &[std::io::stderr().as_fd()]).unwrap();
            assert_eq!(b.recv_fds(&mut data).unwrap().1.len(), 1, "the stream goes on");
        }
    }

    /// tokio-unix-ipc 0.4.0, Bun: a partial send is repeated with its descriptors, which then
    /// arrive twice, or a receive in pieces loses them.
    fn a_send_in_pieces_carries_its_descriptors_once() {
        let (a, b) = pair_with_room(4096).unwrap();
        // With a deadline the pieces are ours, without one the kernel's.
        a.set_write_timeout(Some(std::time::Duration::from_secs(100))).unwrap();
        let large: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8).collect();
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let (mut bytes, mut count, mut buffer) = (Vec::new(), 0, [0; 1000]);
                loop {
                    let (n, fds) = b.recv_fds(&mut buffer).unwrap();
                    if n == 0 {
                        return (bytes, count);
                    }
                    assert!(fds.is_empty() || bytes.is_empty(), "not with the first byte");
                    bytes.extend_from_slice(&buffer[..n]);
                    count += fds.len();
                }
            });
            assert_eq!(a.send_fds(&large, &[std::io::stderr().as_fd(); 3]).unwrap(), large.len());
            drop(a);
            let (bytes, count) = receiver.join().unwrap();
            assert!(bytes == large && count == 3, "{} bytes, {count} descriptors", bytes.len());
        });
    }

    /// The same without waiting: the caller goes on with plain writes.
    fn a_partial_send_without_waiting_carries_its_descriptors_once() {
        let (a, b) = pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let large = vec![7; 1_000_000];
        let sent = a.send_fds(&large, &[std::io::stderr().as_fd()]).unwrap();
        assert!(sent < large.len(), "it was to be partial");
        assert!(a.send_fds(&large, &[std::io::stderr().as_fd()]).is_err(), "full: nothing is sent");
        let (mut bytes, mut count, mut buffer) = (0, 0, vec![0; 1 << 16]);
        while bytes < sent {
            let (n, fds) = b.recv_fds(&mut buffer).unwrap();
            (bytes, count) = (bytes + n, count + fds.len());
        }
        assert_eq!((bytes, count), (sent, 1));
        (&a).write_all(&large[..1000]).unwrap();
        assert_eq!(b.recv_fds(&mut buffer).unwrap().1.len(), 0, "sent with the rest once more");
    }

    /// interprocess 2.4.7 (pipes), zbus 6.2.1, sendfd, vmm-sys-util (received descriptors): without
    /// close-on-exec, so the next child inherits them.
    fn everything_is_close_on_exec() {
        let (a, b) = pair().unwrap();
        let clone = a.try_clone().unwrap();
        a.send_fds(b"x", &[b.as_fd(), std::io::stderr().as_fd()]).unwrap_err();
        a.send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap();
        let (_, fds) = b.recv_fds(&mut [0]).unwrap();
        assert!(is_close_on_exec(&a) && is_close_on_exec(&b) && is_close_on_exec(&clone));
        assert!(fds.iter().all(is_close_on_exec));
        let (reader, writer) = streampipe::socketpair(streampipe::Family::LOCAL, streampipe::Type::DGRAM, 0).unwrap();
        assert!(is_close_on_exec(reader) && is_close_on_exec(writer));
    }

    /// Everybody: a plain read takes the bytes and the kernel closes the descriptors in silence.
    fn a_plain_read_that_meets_descriptors_loses_neither() {
        let (a, b) = pair().unwrap();
        (&a).write_all(b"plain ").unwrap();
        a.send_fds(b"with", &[std::io::stderr().as_fd(); 2]).unwrap();
        let mut buffer = [0; 64];
        let Receives { before, with, .. } = Receives::of(b"plain ", b"with", b"");
        for bytes in before {
            assert_eq!((&b).read(&mut buffer).unwrap(), bytes.len());
        }
        for _ in 0..3 {
            let error = (&b).read(&mut [0; 64]).unwrap_err();
            assert_eq!(fd_error(&error), FdError::Waiting { count: 2, bytes: with.len() });
        }
        let (n, fds) = b.recv_fds(&mut buffer).unwrap();
        assert_eq!((&buffer[..n], fds.len()), (&with[..], 2));
        (&a).write_all(b"on").unwrap();
        assert_eq!((&b).read(&mut buffer).unwrap(), 2);
    }

    /// A descriptor queued by number may be another file by the time it is sent.
    fn what_was_sent_is_what_was_open_then() {
        let (a, b) = pair().unwrap();
        let file = support::file_with(b"first");
        let identity = support::identity(&file);
        let number = file.as_raw_fd();
        a.send_fds(b"x", &[file.as_fd()]).unwrap();
        drop(file);
        let other = support::file_with(b"second");
        assert_eq!(other.as_raw_fd(), number, "the number is in use again");
        let (_, fds) = b.recv_fds(&mut [0]).unwrap();
        assert_eq!(support::identity(&fds[0]), identity);
    }

    fn an_end_of_the_pair_itself_is_refused_in_every_guise() {
        let (a, b) = pair().unwrap();
        let clone = b.try_clone().unwrap();
        for (index, given) in [a.as_fd(), b.as_fd(), clone.as_fd()].into_iter().enumerate() {
            let stderr = std::io::stderr();
            let mut fds = vec![stderr.as_fd(); index];
            fds.push(given);
            assert_eq!(fd_error(&a.send_fds(b"x", &fds).unwrap_err()), FdError::OverItself { index });
        }
        // Another pair's end may go, and a number that was an end once is no end for ever.
        let (other, _theirs) = pair().unwrap();
        let number = clone.as_raw_fd();
        drop(clone);
        let file: OwnedFd = support::file_with(b"").into();
        assert_eq!(file.as_raw_fd(), number);
        assert_eq!(a.send_fds(b"x", &[other.as_fd(), file.as_fd()]).unwrap(), 1);
        drop(b.recv_fds(&mut [0]).unwrap());
        a.allow_self();
        assert_eq!(a.send_fds(b"x", &[b.as_fd()]).unwrap(), 1);
        assert_eq!(b.recv_fds(&mut [0]).unwrap().1.len(), 1);
    }

    fn more_than_253_descriptors_are_refused_with_both_numbers() {
        let (a, b) = pair().unwrap();
        let error = a.send_fds(b"x", &[std::io::stderr().as_fd(); 254]).unwrap_err();
        assert_eq!(fd_error(&error), FdError::TooMany { given: 254, limit: 253 });
        assert!(error.to_string().contains("254") && error.to_string().contains("253"), "{error}");
        a.send_fds(b"x", &[std::io::stderr().as_fd(); 253]).unwrap();
        assert_eq!(b.recv_fds(&mut [0]).unwrap().1.len(), 253);
    }
}

tests_alone! {
    /// vmm-sys-util 0.15.0 and passfd 0.1.6: the padding of a control buffer admits one descriptor
    /// more than was asked for, which nobody owns.
    fn every_count_arrives_and_none_is_left_in_the_padding() {
        let (a, b) = SeqPacket::pair().unwrap();
        for count in 0..=253 {
            let before = Descriptors::now().count();
            a.send_fds(b"x", &vec![std::io::stderr().as_fd(); count]).unwrap();
            let (_, fds) = b.recv_fds(&mut [0; 4]).unwrap();
            assert_eq!(fds.len(), count);
            assert_eq!(Descriptors::now().count(), before + count);
        }
    }

    /// tokio-unix-ipc 0.4.0: two senders on one end mix their messages.
    fn messages_of_two_senders_stay_whole() {
        let (a, b) = SeqPacket::pair().unwrap();
        let files = [support::file_with(b"0"), support::file_with(b"1")];
        std::thread::scope(|scope| {
            for (index, file) in files.iter().enumerate() {
                let a = &a;
                scope.spawn(move || {
                    for _ in 0..200 {
                        a.send_fds(&vec![index as u8; 5000], &[file.as_fd()]).unwrap();
                    }
                });
            }
            let mut buffer = vec![0; 8192];
            for _ in 0..400 {
                let (n, fds) = b.recv_fds(&mut buffer).unwrap();
                let index = buffer[0];
                assert!(n == 5000 && buffer[..n].iter().all(|&byte| byte == index));
                assert_eq!(support::identity(&fds[0]), support::identity(&files[index as usize]));
            }
        });
    }

    /// ipc-channel 0.23.1: 24 bytes of a stranger's make the receiver panic.
    fn no_bytes_of_a_peer_make_a_receive_panic() {
        let mut random = fastrand::Rng::with_seed(24);
        let (a, b) = SeqPacket::pair().unwrap();
        for round in 0..20_000 {
            let mut packet = vec![0; random.usize(1..64)];
            random.fill(&mut packet);
            let stderr = std::io::stderr();
            let fds = vec![stderr.as_fd(); if round % 7 == 0 { random.usize(0..4) } else { 0 }];
            a.send_fds(&packet, &fds).unwrap();
            let mut buffer = vec![0; random.usize(0..64)];
            let got = if round % 2 == 0 {
                b.recv_fds(&mut buffer).map(|(n, _)| n)
            } else {
                b.recv(&mut buffer)
            };
            match got {
                Ok(n) => assert_eq!(buffer[..n], packet),
                // Too long, or with descriptors; what is left of it goes, so that the next is next.
                Err(_) => drain(&b),
            }
        }
    }
}

/// Takes what an earlier error left.
fn drain(end: &SeqPacket) {
    end.set_nonblocking(true).unwrap();
    while end.recv_fds(&mut [0; 64]).is_ok() {}
    end.set_nonblocking(false).unwrap();
}
